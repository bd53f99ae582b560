# SPDX-License-Identifier: Apache-2.0
"""Runs a command, and waits for all processes that it leaves behind, while a licence is held."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Final, NoReturn

from tmr.cli import descendants
from tmr.cli.service_manager import signals_all

NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
"""Exit codes of a command that could not be started, as shells have them."""

_FORWARDED: Final = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT")
_FROM_KEYBOARD: Final = ("SIGINT", "SIGQUIT")
_ENDING: Final = ("SIGINT", "SIGTERM", "SIGHUP")


class NotStarted(Exception):
    """The command could not be started; `code`: the exit code that says so."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def end_on_signals() -> None:
    """From now on a signal ends this process in good order: places in queues and seats are given back.

    A second one does not break that off. While a command runs, signals are its business (`run`).
    """

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        finish()
        sys.exit(128 + number)

    for number in _numbers(_ENDING):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


def finish() -> None:
    """From now on signals do not keep this process from giving back what it holds; that takes seconds."""
    for number in _numbers((*_FORWARDED, *_FROM_KEYBOARD)):
        signal.signal(number, _nothing)


def run(command: Sequence[str], tell: Callable[[str], None], *, main_only: bool = False) -> int:
    """Run `command` with this process's terminal, until it and all that it left behind have ended.

    `main_only`: until the command itself has ended. Signals are passed on. Gives the command's exit code,
    128 + n if signal n ended it. `tell` is given what a person should know. Raises NotStarted. After it
    signals do nothing (`finish`).
    """
    waits = not main_only and descendants.keep()
    with _Signals(tell) as signals:
        try:
            process = subprocess.Popen(command)
        except FileNotFoundError:
            raise NotStarted(f"{command[0]}: no such command", NOT_FOUND) from None
        except OSError as error:
            raise NotStarted(f"{command[0]}: {error.strerror}", NOT_EXECUTABLE) from None
        signals.pass_to(process)
        code = descendants.wait_for(process) if waits else process.wait()
        if waits and (left := descendants.children()):
            signals.pass_to_all()
            names = ", ".join(f"{name}[{pid}]" for pid, name in left.items())
            tell(f"{command[0]} has ended; the licence is held for what it left running: {names}")
            descendants.wait_for_all()
    return 128 - code if code < 0 else code


class _Signals:
    """Keeps signals for the command until it runs, and then passes them on.

    What is typed at the terminal (Ctrl-C) reaches the command by itself, because it is in the same process
    group: passed on, it would come twice. So would the first SIGTERM of a service manager that signals all
    processes of a service.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._all = False
        self._early: list[int] = []
        self._manager_signals_all = signals_all()

    def __enter__(self) -> "_Signals":
        for number in _numbers((*_FORWARDED, *_FROM_KEYBOARD)):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        finish()

    def pass_to(self, process: "subprocess.Popen[bytes]") -> None:
        """From now on the command gets the signals."""
        self._process = process
        for number in self._early:
            self._send(number)

    def pass_to_all(self) -> None:
        """The command has ended: from now on what it left behind gets the signals."""
        self._all = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if signal.Signals(number).name in _FROM_KEYBOARD and not self._all and _at_terminal():
            return
        if signal.Signals(number) is signal.SIGTERM and self._manager_signals_all:
            self._manager_signals_all = False
            self._tell("SIGTERM: the service manager has sent it to the command, too; another is passed on")
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        if self._all:
            for pid in descendants.children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        elif self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _numbers(names: Sequence[str]) -> Iterator[int]:
    """Numbers of those of the signals that this system has."""
    for name in names:
        number = getattr(signal, name, None)
        if number is not None:
            yield number


def _nothing(number: int, frame: FrameType | None) -> None:
    """Handler of a signal that comes too late to change anything."""


if sys.platform == "win32":

    def _at_terminal() -> bool:
        return False

else:

    def _at_terminal() -> bool:
        """Tells whether this process belongs to the foreground of a terminal."""
        for descriptor in _terminals():
            with contextlib.suppress(OSError):
                return os.tcgetpgrp(descriptor) == os.getpgrp()
        return False

    def _terminals() -> Iterator[int]:
        for stream in (sys.__stdin__, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None and stream.isatty():
                    yield stream.fileno()
