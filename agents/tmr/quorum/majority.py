# SPDX-License-Identifier: Apache-2.0
"""Majority of the replicas: the value that so many of them have reached (etcd/raft calls it a quorum index).

Of what the replicas confirm, the least that a majority shares counts: a single replica that is wrong, or far
ahead, changes nothing. Pure arithmetic.
"""

from collections.abc import Iterable, Sized
from typing import TypeVar

from tmr.licensing.redundancy import MAJORITY, REPLICAS

__all__ = ["ALL", "MAJORITY", "REPLICAS", "is_all", "is_majority", "reached"]

ALL = tuple(range(REPLICAS))
"""Positions of the replicas."""

Value = TypeVar("Value", int, float)


def is_majority(replicas: Sized) -> bool:
    """These are enough to decide."""
    return len(replicas) >= MAJORITY


def is_all(replicas: Sized) -> bool:
    """These are all replicas: no other can know more."""
    return len(replicas) == REPLICAS


def reached(values: Iterable[Value], otherwise: Value) -> Value:
    """The greatest value that a majority has reached; `otherwise` where fewer replicas have any."""
    best = sorted(values, reverse=True)
    return best[MAJORITY - 1] if len(best) >= MAJORITY else otherwise
