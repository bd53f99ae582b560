# SPDX-License-Identifier: Apache-2.0
"""Following: a passive proposer mirrors what is committed, and hears which twin's lease lives.

One replica sends it entries, the others only report the lease. When twin and replica are at the same entry,
their ledgers are compared. If a majority contradicts the twin's ledger, the twin drops it and mirrors that
majority anew.
"""

from typing import Final

from tmr.quorum import formats, founding
from tmr.quorum.entries import FIRST, Entry, Snapshot
from tmr.quorum.journal_check import JournalCheck
from tmr.quorum.majority import is_all, is_majority, reached
from tmr.quorum.messages import Subscribe, Subscribed
from tmr.quorum.outputs import Send
from tmr.quorum.progress import NEVER, Progress
from tmr.quorum.term import Setup, Term

FEED_PAUSE: Final = 0.02
"""Seconds that a passive twin leaves between two messages with entries: the next one has more of them."""


class Following(Term):
    """Layer of the proposer that mirrors the journal."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.dropped = 0
        """Times that the ledger was dropped, because a majority had another."""
        self.journal_check = JournalCheck()
        self._sources = frozenset[int]()
        """Replicas that had another ledger: the next is mirrored from these alone. Empty: from all."""
        self._unread: dict[int, str] = {}
        """Replicas that sent what this version cannot apply → why."""
        self._fed_at = NEVER
        """Time at which entries came last from the replica that feeds this proposer."""
        self._served_epoch = 0
        """Epoch of its last term."""

    def _follow(self, now: float) -> None:
        """Send a poll to each replica that has none. Called by `tick` alone, never after an answer.

        A replica ends a poll as soon as a newer poll of the same run comes. If an answer started the next
        poll, two processes with a copy of one memory would end each other's polls without pause.
        """
        feeding = any(
            progress.subscribed and progress.with_entries and progress.reachable for progress in self.replicas
        )
        feeding = feeding or self._undecided()
        if not feeding and now - self._fed_at < FEED_PAUSE:
            return  # with the next tick
        idle = [replica for replica, progress in enumerate(self.replicas) if not progress.subscribed]
        # One that does not answer is asked again and again: it must not take the feed from one that does.
        idle.sort(key=lambda replica: not self.replicas[replica].reachable)
        for replica in idle:
            progress = self.replicas[replica]
            feeds = not feeding and self._may_feed(replica)
            progress.subscribed, progress.with_entries = True, feeds
            progress.subscribed_at = now
            self._outputs.append(Send(replica, self._follow_request(replica, entries=feeds), now))
            feeding = feeding or feeds

    def _follow_request(self, replica: int, *, entries: bool) -> Subscribe:
        progress = self.replicas[replica]
        return Subscribe(
            owner=self.owner,
            have_index=self.commit,
            have_epoch=self.log.epoch_at(self.commit) or 0,
            known_holder="?" if progress.holder is None else progress.holder,
            known_epoch=progress.holder_epoch,
            entries=entries,
            format=self.newest,
        )

    def _undecided(self) -> bool:
        """This twin knows no founding, and two replicas do not state one yet: it takes no entries."""
        return not self.founding and not founding.confirmed(self._stated())

    def awaits(self, progress: Progress) -> bool:
        """The lease that this replica reported is the other twin's: its end starts an election at once.

        A lease from before this twin's own term does not count, because it polled no replica in that term:
        the term that it gave back is for the other twin to take.
        """
        other = progress.holder not in ("", None, self.owner.name)
        return other and progress.holder_epoch > self._served_epoch

    @property
    def outdated(self) -> str:
        """Reason why this version cannot apply what is committed, for people; empty: it can.

        Two replicas must say so: a single wrong replica keeps no twin from an election.
        """
        needed = reached([one.state.needs for one in self.replicas if one.state is not None], FIRST)
        if needed > self.newest:
            return formats.too_new(needed, self.newest)
        return next(iter(self._unread.values())) if is_majority(self._unread) else ""

    def _mirror(
        self, now: float, replica: int, snapshot: Snapshot | None, entries: tuple[Entry, ...]
    ) -> None:
        """Take over committed entries, or remember that this version cannot."""
        if newer := self.newer(entries, snapshot):
            self._unread[replica] = newer
            return
        if snapshot is not None:
            if snapshot.index < self.commit:
                return
            self._restore(snapshot)
            self.anchors.mirrored(self.log, now)
        fresh = [entry for entry in entries if entry.index > self.log.last]
        if fresh and fresh[0].index == self.log.last + 1:
            self.log.extend(fresh)
            self.commit = self.log.last
            self._apply()
            self.anchors.mirrored(self.log, now)
            self._forget()

    def _compare_mirrored(self, now: float, replica: int, reply: Subscribed) -> None:
        """Compare a passive twin's ledger with a replica's, where they are at the same entry."""
        comparable = self.applied == reply.state.commit and reply.digest and self.is_member(replica)
        if self.role != "passive" or not comparable:
            return
        if reply.digest == self._machine.digest():
            self.agreement.agrees(replica, now)
            if self.agreement.compared:
                self._sources = frozenset()
            return
        self.agreement.differs(replica, now)
        if self.agreement.outvoted:
            self._drop_ledger()
            self.agreement.begin_term()

    def _compare_entry(self, replica: int, request: Subscribe, reply: Subscribed) -> None:
        """Compare the entry that a passive twin's poll named; mirror anew where two replicas contradict it.

        An operator gave up what this twin still knows, or a replica fed it entries that no majority has.
        """
        compares = self.role in ("passive", "pre-candidate")  # a promise continues what a candidate has
        if not compares or request.have_index > self.commit or not self._is_current(replica):
            return
        self.journal_check.compare(replica, self.log, request.have_index, reply)
        self.anchors.confirm(self.journal_check.confirmed)
        if sources := self.journal_check.outvoted:
            self._mirror_anew(sources)
            self.agreement.begin_term()

    def _drop_ledger(self) -> None:
        """Mirror anew from two replicas that have another ledger."""
        self.dropped += 1
        self._mirror_anew(self.agreement.differing)

    def _mirror_anew(self, sources: frozenset[int]) -> None:
        """Forget journal and ledger, as after a start, but not what a majority is known to have committed."""
        self._sources = sources
        self.anchors.kept = self.confirmed_anchor
        self.journal_check.begin()
        self._clear()
        for progress in self.replicas:
            progress.subscribed = False  # polls that are under way ask for what followed the former one

    def _is_source(self, replica: int) -> bool:
        """The replica may be mirrored: it does not have the ledger that was dropped."""
        return not self._sources or replica in self._sources

    def _may_feed(self, replica: int) -> bool:
        """The replica may be mirrored, and its term is no older than the newest that a majority has taken.

        A replica of an older term may count entries as committed that operators gave up: it was away when two
        old copies were accepted. Of two known terms the newer counts: a majority has taken each term.
        """
        return replica not in self._unread and self._is_source(replica) and self._is_current(replica)

    def _is_current(self, replica: int) -> bool:
        """The term that the replica has taken is no older than the newest that a majority has taken."""
        states = [one.state for one in self.replicas if one.state is not None and not one.foreign]
        terms = [state.term for state in states if state.voting]  # a new store knows of no term
        state = self.replicas[replica].state
        if state is None or not is_majority(terms):
            return False
        return state.term >= (reached(terms, 0) if is_all(terms) else max(terms))
