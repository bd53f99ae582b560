# SPDX-License-Identifier: Apache-2.0
"""Runs a command for as long as a licence is held."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final, NoReturn

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Exit codes of a command that could not be started, as shells have them."""

_FORWARDED: Final = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
_FROM_KEYBOARD: Final = ("SIGINT", "SIGQUIT")


class NotStarted(Exception):
    """The command could not be started; `code`: the exit code that says so."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def end_on_signals() -> None:
    """From now on a signal ends this process in good order: places in queues and seats are given back.

    While a command runs, signals are its business (`run`).
    """

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def run(command: Sequence[str]) -> int:
    """Run `command` with this process's terminal; signals are passed on to it.

    Gives its exit code, 128 + n if signal n ended it. Raises NotStarted.
    """
    with _Signals() as signals:
        try:
            process = subprocess.Popen(command)
        except FileNotFoundError:
            raise NotStarted(f"{command[0]}: no such command", NOT_FOUND) from None
        except OSError as error:
            raise NotStarted(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE) from None
        signals.pass_to(process)
        code = process.wait()
    return 128 - code if code < 0 else code


class _Signals:
    """Keeps signals for the command until it runs, and then passes them on.

    What is typed at the terminal (Ctrl-C) reaches the command by itself, because it is in the same process
    group: passed on, it would come twice.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, object] = {}

    def __enter__(self) -> "_Signals":
        for name in (*_FORWARDED, *_FROM_KEYBOARD):
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def pass_to(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        for number in self._early:
            self._send(number)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if signal.Signals(number).name in _FROM_KEYBOARD and _at_terminal():
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _at_terminal() -> bool:
    """Tells whether this process belongs to the foreground of a terminal."""
    for descriptor in _terminals():
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False


def _terminals() -> Iterator[int]:
    if not hasattr(os, "tcgetpgrp"):
        return
    for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(OSError, ValueError):
            if stream is not None and stream.isatty():
                yield stream.fileno()
