# SPDX-License-Identifier: Apache-2.0
"""Agreement of the active twin's ledger with those of the replicas, by their digests. No I/O, no clock.

No machine decides alone that its ledger is right. A twin serves once two replicas have the same ledger. It
drops its own where two replicas have another. A replica gets the twin's ledger in place of its own if both
other replicas have the twin's; if one of them does not answer, it cannot be known which ledger is right.
"""

from collections.abc import Mapping

from tmr.quorum.majority import is_majority


class Agreement:
    """Answers of the replicas to the digests of one term."""

    def __init__(self) -> None:
        self._agreed = set[int]()
        """Replicas whose ledger was the twin's when it was compared last."""
        self._differing = set[int]()
        self._refusing = set[int]()
        """Of these, replicas that refused the twin's ledger in place of their own."""
        self._since = float("-inf")
        """Time at which the last new difference was heard of: an earlier question says nothing about it."""
        self.differences: dict[int, float] = {}
        """Replicas that are not known to agree since they differed → when they did last, in whatever term."""

    def begin_term(self) -> None:
        """A term begins: nothing has been compared."""
        self._agreed, self._differing, self._refusing = set(), set(), set()
        self._since = float("-inf")

    def agrees(self, replica: int, sent_at: float) -> None:
        """The replica has the twin's ledger, as it was asked at `sent_at`."""
        if sent_at < self._since:
            return
        self._agreed.add(replica)
        self.installed(replica)

    def differs(self, replica: int, now: float) -> None:
        """The replica has another ledger, also after it made its own anew."""
        if replica not in self._differing:
            self._agreed, self._since = set(), now
        self._differing.add(replica)
        self.differences[replica] = now

    def installed(self, replica: int) -> None:
        """The replica took the twin's ledger."""
        self._differing.discard(replica)
        self._refusing.discard(replica)
        self.differences.pop(replica, None)

    def refused(self, replica: int) -> None:
        """The replica refused the twin's ledger: it is not sent again in this term."""
        if replica in self._differing:
            self._refusing.add(replica)

    @property
    def agreed(self) -> frozenset[int]:
        """Replicas that have the twin's ledger."""
        return frozenset(self._agreed)

    @property
    def differing(self) -> frozenset[int]:
        """Replicas that have another ledger."""
        return frozenset(self._differing)

    @property
    def compared(self) -> bool:
        """Two replicas have the twin's ledger: it may serve."""
        return is_majority(self._agreed)

    @property
    def outvoted(self) -> bool:
        """Two replicas have another ledger than the twin."""
        return is_majority(self._differing)

    def may_install(self, replica: int) -> bool:
        """The twin's ledger may be sent to this replica: others confirm it, both of them if it differs."""
        others = len(self._agreed - {replica})
        if replica in self._differing:
            return others == 2 and replica not in self._refusing
        return others >= 1


def unresolved(differences: Mapping[int, float], now: float, seconds: float) -> list[int]:
    """Replicas that differed in the last `seconds`, and are not known to agree since."""
    return sorted(replica for replica, at in differences.items() if now - at < seconds)
