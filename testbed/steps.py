# SPDX-License-Identifier: Apache-2.0
"""The demo's output: steps with what was expected, what was seen and how long it took."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WIDTH = 100
_LABEL = 10
_PAUSE_S = 0.05


class StepFailed(Exception):
    """A step does not hold; the message says what was seen instead."""


def wait_for(look: Callable[[], str], timeout_s: float, what: str, *, pause_s: float = _PAUSE_S) -> float:
    """Return when `look` has nothing to complain about; seconds that it took. It looks every `pause_s`.

    `look` gives an empty string when the condition holds, otherwise what it saw: that is in the StepFailed
    that is raised after `timeout_s`.
    """
    started = time.monotonic()
    while True:
        seen = look()
        took = time.monotonic() - started
        if not seen:
            return took
        if took > timeout_s:
            raise StepFailed(f"{what}: not within {timeout_s:.0f} s; last seen: {seen}")
        time.sleep(pause_s)


def check(holds: bool, otherwise: str) -> None:
    """Raise StepFailed with `otherwise` unless it `holds`."""
    if not holds:
        raise StepFailed(otherwise)


@dataclass
class Step:
    """One step while it runs: what was seen is added to it, to be printed when it ends."""

    seen: list[str] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)

    def see(self, text: str) -> None:
        self.seen.append(text)

    def quote(self, text: str) -> None:
        """Output of a program, as a user sees it."""
        self.quotes.append(text)


class Board:
    """Numbers the steps and prints them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0

    @contextmanager
    def step(self, title: str, expected: str) -> Iterator[Step]:
        """One step: it holds if the block ends without an error. Any error ends the demo."""
        self.number += 1
        print()
        entry(f"step {self.number}/{self.total}", title, indent=0)
        entry("expected", expected)
        step = Step()
        started = time.monotonic()
        verdict = "FAILED"
        try:
            yield step
            verdict = "OK"
        except StepFailed as failure:
            step.see(str(failure))
            raise
        finally:
            for text in step.seen:
                entry("seen", text)
            for text in step.quotes:
                quote(text)
            took = f"{time.monotonic() - started:.1f} s"
            print(f"  {'time':{_LABEL}}{took:{WIDTH - _LABEL - 2 - len(verdict)}}{verdict}", flush=True)


def entry(label: str, text: str, indent: int = 2) -> None:
    """A label and a text in aligned columns."""
    width = _LABEL + 2 - indent
    lines = textwrap.wrap(text, WIDTH - _LABEL - 2, break_on_hyphens=False) or [""]
    print(f"{'':{indent}}{label:<{width}}{lines[0]}")
    for line in lines[1:]:
        print(f"{'':{_LABEL + 2}}{line}")
    print(end="", flush=True)


def quote(text: str) -> None:
    """Output of a program, set off by a bar."""
    for line in text.rstrip().splitlines():
        print(f"{'':{_LABEL + 2}}| {line}")


def table(rows: list[tuple[str, ...]]) -> None:
    """Rows in aligned columns; the first row is the head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        print("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        if index == 0:
            print("  " + "  ".join("-" * width for width in widths))
