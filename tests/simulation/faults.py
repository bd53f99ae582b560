# SPDX-License-Identifier: Apache-2.0
"""Faults of a run. A run is repeated by its seed, or by its seed and the list of its faults, or part of
that.
"""

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong. Which fields mean something depends on `kind`, see `Nemesis`."""

    kind: str
    at: float = 0.0
    """True time in seconds. Faults of single messages have a `number` instead."""
    who: tuple[str, ...] = ()
    """Machines; of a message its sender and receiver."""
    seconds: float = 0.0
    """How long it lasts, or how late a message comes."""
    point: str = ""
    """The named point of its work at which the machine is struck; empty: at once."""
    value: float = 0.0
    number: int = 0
    """The message is the so many-th that this machine sends to that one."""

    def __str__(self) -> str:
        link = len(self.who) == 2 and self.kind in ("lost", "twice", "late")
        parts = [f"message {self.number}" if link else f"{self.at:.3f} s", self.kind]
        parts.append((" to " if link else ", ").join(self.who))
        if self.point:
            parts.append(f"when {self.point}")
        if self.seconds:
            parts.append(f"for {self.seconds:.2f} s")
        return " ".join(part for part in parts if part)
