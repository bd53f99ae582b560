# SPDX-License-Identifier: Apache-2.0
"""Sizes, rates and durations of the measurements."""

from __future__ import annotations

import msgspec

SESSIONS = 100_000
"""Goal of the project: held at a time."""


class Plan(msgspec.Struct, frozen=True):
    """Of one run of `python -m bench.scale`. Times in seconds."""

    sessions: int = SESSIONS
    few_sessions: int = 100
    licences: int = 5_000
    few_licences: int = 100
    commands: int = 1_000_000
    """Commands committed for a long journal."""
    churn: int = 120_000
    """Commands before memory is measured: outcomes remembered, and lines of the journal, are then at their
    limits."""
    rounds: int = 5
    seconds: float = 6.0
    window: float = 60.0
    minutes: float = 2.0
    kills: int = 15
    clients: int = 16
    lanes: int = 8
    """Connections that open sessions, or commit commands, as fast as it goes."""

    @property
    def patience(self) -> float:
        """In which any preparation must be done: 300 commands a second are far less than ever seen."""
        return 120.0 + (self.sessions + self.commands + self.churn) / 300


SHORT = Plan(
    sessions=2_000,
    licences=200,
    commands=20_000,
    churn=2_000,
    rounds=1,
    seconds=1.0,
    window=5.0,
    minutes=0.1,
    kills=1,
)
"""To see that it works, not to judge."""
