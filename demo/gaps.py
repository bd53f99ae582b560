"""From a log of answers to the pause that a client sees. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One answer of the active twin at the virtual address. `at_ns`: CLOCK_MONOTONIC, when it came."""

    at_ns: int
    twin: str


def read(lines: Iterable[str]) -> list[Answer]:
    """The log `NANOSECONDS TWIN`, one answer a line; a last line that is still being written is left out."""
    return [
        Answer(int(words[0]), words[1])
        for line in lines
        if line.endswith("\n") and len(words := line.split()) == 2
    ]


def gap_ms(answers: Sequence[Answer], since_ns: int, successor: str) -> float | None:
    """Milliseconds between the last answer of the former twin and the first of `successor`.

    `since_ns`: when the fault was begun. None: the successor has not answered since.
    """
    last: Answer | None = None
    for answer in answers:
        if answer.twin == successor and answer.at_ns >= since_ns:
            return (answer.at_ns - last.at_ns) / 1e6 if last else None
        last = answer
    return None
