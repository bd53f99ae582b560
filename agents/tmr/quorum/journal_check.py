# SPDX-License-Identifier: Apache-2.0
"""Check of a passive twin's mirrored journal against the replicas, entry by entry. No I/O, no clock.

One replica feeds a passive twin. Each poll names the last entry that the twin has, and each of the three
replicas answers with the checksum of its own entry there. So no single replica decides what the twin takes
for committed: two replicas confirm an entry, and two that have another one contradict the twin.
"""

from tmr.quorum import forks
from tmr.quorum.anchor import Anchor, at
from tmr.quorum.log import Log
from tmr.quorum.majority import MAJORITY, is_majority
from tmr.quorum.messages import Subscribed


class JournalCheck:
    """Answers of the replicas about the entries that the twin has mirrored."""

    def __init__(self) -> None:
        self._confirmed: dict[int, Anchor] = {}
        """Replica → the last entry that it was seen to have, too."""
        self._other = set[int]()
        """Replicas that have another committed entry at an index of the mirror."""
        self.contradicted: Anchor | None = None
        """Entry of the mirror that two replicas had another one for, since this twin started."""

    def compare(self, replica: int, log: Log, index: int, reply: Subscribed) -> None:
        """Compare the mirrored entry at `index` with the replica's, by its answer to a poll that named it."""
        own = at(log, index)
        if own is None:
            return
        told = bool(own.checksum and reply.have_sum)
        if forks.superseded(log, index, reply.state) or (told and own.checksum != reply.have_sum):
            self._other.add(replica)
            self.contradicted = own if self.outvoted else self.contradicted
        elif told:
            self._other.discard(replica)
            self._confirmed[replica] = own

    @property
    def confirmed(self) -> Anchor | None:
        """Highest entry that two replicas have committed, as far as they were asked."""
        anchors = sorted(self._confirmed.values(), key=lambda anchor: anchor.position)
        return anchors[-MAJORITY] if len(anchors) >= MAJORITY else None

    @property
    def outvoted(self) -> frozenset[int]:
        """Replicas that contradict the mirror, if they are a majority; else empty."""
        return frozenset(self._other) if is_majority(self._other) else frozenset()

    def begin(self) -> None:
        """The mirror is made anew: nothing has been compared."""
        self._confirmed, self._other = {}, set()
