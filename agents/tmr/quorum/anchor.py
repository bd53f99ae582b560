# SPDX-License-Identifier: Apache-2.0
"""Anchor of a twin: the highest committed position that it knows, compared with the journals of an election.

A majority of replicas that was put back to copies of one moment agrees with itself. The twins keep an
anchor on their own disks, and what a majority shows must contain it. Pure; the reasons are in decision 23.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from tmr.quorum.entries import Count, Name
from tmr.quorum.founding import differ, prevailing
from tmr.quorum.log import Log
from tmr.quorum.majority import MAJORITY, is_all
from tmr.quorum.messages import ReplicaState


class Anchor(msgspec.Struct, frozen=True):
    """A position of the journal that is known to be committed.

    `checksum`: of its entry, not of the ledger: one twin's wrong memory must not outvote three journals.
    Empty where the twin does not know it.
    """

    epoch: Count
    index: Count
    time_ms: Count
    """Certified time of the entry, Unix milliseconds."""
    checksum: bytes = b""
    founding: Name = ""
    """Founding that the journal is of; empty: not known."""

    @property
    def position(self) -> tuple[int, int]:
        """Epoch first, as journals are compared."""
        return self.epoch, self.index


Kind = Literal["short", "other", "active", "founded", "new"]
NEW: Final = "new"
"""Stands for the founding of stores that have none yet, in the id of an objection."""


class AnchorMismatch(msgspec.Struct, frozen=True):
    """A journal that does not contain the anchor: to serve with it would take back what was answered."""

    anchor: Anchor
    kind: Kind
    """`short`: it ends before the anchor. `other`: another entry stands there. `active`: a later term has
    committed entries without it. `founded`: the journal is of another founding. `new`: there is no journal,
    all stores are new."""
    shown: Mapping[int, tuple[int, int]]
    """Replicas that showed it → epoch and index of their last entries."""
    since: float
    """Time at which this was first seen, by the twin's clock."""
    other: str = ""
    """The other founding."""

    @property
    def best(self) -> tuple[int, int]:
        """Epoch and index of the last entry of the journal that would be adopted."""
        return max(self.shown.values(), default=(0, 0))

    @property
    def id(self) -> str:
        """Identifies what an operator accepts: the loss of what lies between these two positions, or of all
        that the former founding had."""
        if self.kind in ("founded", "new"):
            return f"founding-{self.anchor.founding}-{self.other or NEW}"
        epoch, index = self.best
        return f"journal-{self.anchor.epoch}.{self.anchor.index}-{epoch}.{index}"


def at(log: Log, index: int) -> Anchor | None:
    """The anchor at a committed index of this log; None before the first entry."""
    epoch = log.epoch_at(index)
    if not index or epoch is None:
        return None
    return Anchor(epoch, index, log.time_at(index), log.sum_at(index), log.founding_at(index))


def contains(log: Log, anchor: Anchor) -> bool:
    """The journal has the anchor's entry, as far as can be told: below its base nothing can be compared."""
    if differ(log.founding_at(log.last), anchor.founding):
        return False
    if (log.last_epoch, log.last) < anchor.position or log.last < anchor.index:
        return False
    if anchor.index < log.base:
        return True
    if log.epoch_at(anchor.index) != anchor.epoch:
        return False
    known = log.sum_at(anchor.index)
    return not (known and anchor.checksum) or known == anchor.checksum


class AnchorCheck:
    """Check of a journal that is to be adopted. `kept`: the anchor from the twin's disk, if any."""

    def __init__(self, kept: Anchor | None = None) -> None:
        self.kept = kept
        """Read from the disk, and not seen in the journal since."""
        self.objection: AnchorMismatch | None = None
        self.confirmed = kept
        """Highest position that this twin's own term, or two replicas, confirmed. Its epoch never falls."""
        self._asked: Anchor | None = None
        """The anchor when this election began: no answer shows what was committed after the question."""

    def current(self, log: Log, commit: int) -> Anchor | None:
        """The anchor to be kept now, for a twin that knows `log` to be committed up to `commit`."""
        return self.kept or at(log, commit)

    def confirm(self, anchor: Anchor | None) -> None:
        """A majority has this entry as committed."""
        if anchor is not None and (self.confirmed is None or anchor.position > self.confirmed.position):
            self.confirmed = anchor

    @property
    def founding(self) -> str:
        """Founding by the kept anchor; empty: not known."""
        return "" if self.kept is None else self.kept.founding

    def mirrored(self, log: Log, now: float) -> None:
        """Look at a journal of committed entries: it has the anchor, or was continued without it."""
        if self.kept is None or contains(log, self.kept):
            self.kept, self.objection = None, None
        elif log.last_epoch > self.kept.epoch:
            self._object(self.kept, "active", {}, now)

    def begin(self, log: Log, commit: int) -> None:
        """An election begins."""
        self._asked = self.current(log, commit)

    def shorter(self, shown: Mapping[int, ReplicaState], now: float) -> bool:
        """The journals that these replicas show end before the anchor: the twin objects.

        A twin that has the anchor in its own memory objects to two replicas, but not to all three: no other
        machine can have more than these and the twin itself.
        """
        anchor = self._asked
        if anchor is None or (is_all(shown) and self.kept is None):
            return False
        ends = _ends(shown)
        best = max(ends.values())
        if best >= anchor.position and best[1] >= anchor.index:
            if self.objection is not None and self.objection.kind == "short":
                self.objection = None
            return False
        self._object(anchor, "short", ends, now)
        return True

    def differs(self, adopted: Log, shown: Mapping[int, ReplicaState], now: float) -> bool:
        """The journal that would be adopted has another entry where the kept anchor is: the twin objects."""
        if self.kept is None or contains(adopted, self.kept):
            return False
        ends = _ends(shown)
        self._object(self.kept, "other", ends, now)
        return True

    def contradicted(self, anchor: Anchor | None, shown: Mapping[int, ReplicaState], now: float) -> None:
        """The journal that would be adopted has another entry than this twin knows: it objects."""
        if anchor is not None:
            self._object(anchor, "other", _ends(shown), now)

    def foreign(self, anchor: Anchor | None, shown: Mapping[int, ReplicaState], now: float) -> None:
        """Replicas whose journals are of another founding than the anchor: from two on, object."""
        if anchor is not None and anchor.founding and len(shown) >= MAJORITY:
            stated = [state.founding for state in shown.values()]
            self._object(anchor, "founded", _ends(shown), now, prevailing(stated) or stated[0])
        elif self.objection is not None and self.objection.kind == "founded":
            self.objection = None

    def unfounded(self, anchor: Anchor | None, shown: Mapping[int, ReplicaState], now: float) -> bool:
        """All stores are new, or of a founding without a journal; the twin objects if it knows another."""
        if anchor is None or not anchor.founding:
            return False
        self._object(anchor, "new", _ends(shown), now)
        return True

    def elected(self) -> None:
        """The twin is active: what it adopted is the journal from now on."""
        self.kept, self.objection = None, None

    def _object(
        self,
        anchor: Anchor,
        kind: Kind,
        shown: Mapping[int, tuple[int, int]],
        now: float,
        other: str = "",
    ) -> None:
        since = now if self.objection is None else self.objection.since
        self.objection = AnchorMismatch(anchor, kind, shown, since, other)


def _ends(shown: Mapping[int, ReplicaState]) -> dict[int, tuple[int, int]]:
    """Epoch and index of the last entry that each replica shows."""
    return {replica: (state.last_epoch, state.last_index) for replica, state in shown.items()}
