# SPDX-License-Identifier: Apache-2.0
"""Invariants of proposer and acceptor: what holds after each step, whatever was received.

Each layer of the two states its own in `check_invariants`. The simulation calls it after every step.
"""


class InvariantViolation(AssertionError):
    """Something that must always hold does not: a mistake of the program."""


def require(holds: bool, what: str) -> None:
    """Raise InvariantViolation unless it holds."""
    if not holds:
        raise InvariantViolation(what)
