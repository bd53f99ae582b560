# SPDX-License-Identifier: Apache-2.0
"""The finding of a rule."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Proof:
    """One rule: what it promises, how many facts it was held against, and what broke it."""

    rule: str
    promise: str
    facts: int = 0
    broken: list[str] = field(default_factory=list)

    def violated(self, at: float | None, text: str) -> None:
        """Add a violation, with the time in the campaign where there is one."""
        when = "" if at is None else f"at {at:.3f} s: "
        self.broken.append(f"{self.rule}: {when}{text}")
