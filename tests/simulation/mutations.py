# SPDX-License-Identifier: Apache-2.0
"""The protocol with one rule taken away at a time: each must be caught, or the simulation is blind."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from tests.simulation.fault_profile import FaultProfile
from tests.simulation.rules import Rules
from tmr.ledger import BatchOutcome, Borrowed, Command, Consume, Consumed, Free, Grant, Ledger, Outcome
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.agreement import Agreement
from tmr.quorum.anchor import Anchor
from tmr.quorum.consensus_clock import CertifiedClock
from tmr.quorum.durable import Answer, Durable, RecordWrite, SnapshotWrite, VotingWrite, Write
from tmr.quorum.entries import FIRST, Entry, ProposerId, Snapshot, encode_membership
from tmr.quorum.lease import DRIFT, Timing
from tmr.quorum.message_order import MessageOrder
from tmr.quorum.messages import (
    Acquire,
    Append,
    Install,
    Promise,
    Release,
    ReplicaState,
    Reply,
    Request,
    Subscribed,
)
from tmr.quorum.outputs import NotActive, Serving
from tmr.quorum.pause import PauseDetector
from tmr.quorum.progress import Progress
from tmr.quorum.proposer import Proposer
from tmr.quorum.read_index import ReadIndex
from tmr.quorum.steady_clock import SteadyClock
from tmr.service.container_view import ContainerView, UpstreamState
from tmr.service.in_flight import InFlight
from tmr.service.liveness import LivenessTable

# -- the upstream --------------------------------------------------------------------------------------------


class NoFencing(Acceptor):
    """An upstream takes the appends of a term that is over."""

    def fences(self, message: Append | Install) -> bool:
        return False


class GrantsToAnybody(Acceptor):
    """An upstream grants the lease although another twin's lives."""

    def blocked(self, now: float, asker: Any) -> bool:
        return False


class TakesTheNameForTheTwin(Acceptor):
    """The lease of a twin is no obstacle to another process of the same name."""

    def blocked(self, now: float, asker: Any) -> bool:
        return super().blocked(now, asker) and self.holder is not None and self.holder.name != asker.name


class ForgetsItsLease(Acceptor):
    """An upstream that restarts takes it that it granted nobody a lease."""

    def __init__(self, durable: Durable, *rest: Any) -> None:
        super().__init__(durable, *rest)
        self.holder, self.holder_until = None, float("-inf")


class ForgetsTheRelease(Acceptor):
    """An upstream that restarts takes it that the lease lives which was given back to it."""

    def __init__(self, durable: Durable, *rest: Any) -> None:
        super().__init__(replace(durable, released=False), *rest)


class FencesItsCandidate(Acceptor):
    """A candidate that has not heard the promise which it was given is answered that it is too late."""

    def promised_to(self, message: Acquire) -> bool:
        return False


class ForgetsHowLong(Acceptor):
    """An upstream that restarts takes it that it granted what its setting is now."""

    def __init__(self, durable: Durable, machine: Any, now: float, max_ttl: float, *rest: Any) -> None:
        super().__init__(durable, machine, now, max_ttl, *rest)
        if self.holder is not None:
            self.holder_until = now + max_ttl


class ShortensALease(Acceptor):
    """A lease ends when what was granted last does, although a longer one was granted before."""

    def _grant(self, now: float, message: Acquire | Append | Install) -> list[Write]:
        if self.holder == message.owner:
            self.holder_until = now
        return super()._grant(now, message)


class LateReleaseCounts(Acceptor):
    """A lease is given back by a release of an earlier term of its holder."""

    def _release(self, wall_ms: int, message: Release) -> Answer:
        return super()._release(wall_ms, replace(message, epoch=self.promised))


class PromisesInMemory(Acceptor):
    """A promise is not written."""

    def _grant(self, now: float, message: Acquire | Append | Install) -> list[Write]:
        super()._grant(now, message)
        return []


class RevivesALease(Acceptor):
    """A lease that was given back is renewed by an append that was still under way."""

    def _release(self, wall_ms: int, message: Release) -> Answer:
        answer = super()._release(wall_ms, message)
        self._given_back = None
        return answer


class KeepsItsTail(Acceptor):
    """What an upstream has at an index stays, whatever the active has there."""

    def _store(self, entries: tuple[Entry, ...]) -> list[Write]:
        return super()._store(tuple(entry for entry in entries if entry.index > self.log.last))


class ForgetsItsTail(Acceptor):
    """A snapshot deletes the entries behind it, which were acknowledged."""

    def _install(self, now: float, wall_ms: int, message: Install) -> Answer:
        answer = super()._install(now, wall_ms, message)
        for number, write in enumerate(answer.writes):
            if isinstance(write, SnapshotWrite):
                answer.writes[number] = SnapshotWrite(write.snapshot, keep_tail=False)
                self.log.cut(write.snapshot.index)
        return answer


class CommitsWhatItHas(Acceptor):
    """The commit index counts for entries that the append did not compare."""

    def _append(self, now: float, wall_ms: int, message: Append) -> Answer:
        if self.voting and not self.fences(message) and message.commit > self.commit:
            self.commit = min(message.commit, self.log.last)
            self._apply()
        return super()._append(now, wall_ms, message)


class TrustsItsLedger(Acceptor):
    """A ledger that differs from the active's is not noticed."""

    def _agrees(self, digest: bytes) -> bool:
        return True


class BelievesTheTwin(Acceptor):
    """A member whose ledger differs from the active twin's gives up its vote on that twin's word."""

    def _differing(self, wall_ms: int, writes: list[Write]) -> Answer:
        self.voting, self.diverged = False, True
        answer = super()._differing(wall_ms, writes)
        answer.writes.append(VotingWrite(voting=False))
        return answer


class LinesAfterTheSnapshot(Acceptor):
    """A snapshot deletes journal entries whose lines of the record are not kept."""

    def handle(self, now: float, wall_ms: int, message: Request) -> Answer:
        answer = super().handle(now, wall_ms, message)
        if any(isinstance(write, SnapshotWrite) for write in answer.writes):
            answer.writes = [write for write in answer.writes if not isinstance(write, RecordWrite)]
        return answer


class VotesAtOnce(Acceptor):
    """A new disk votes as soon as the active speaks to it, before it has the journal."""

    def handle(self, now: float, wall_ms: int, message: Request) -> Answer:
        if isinstance(message, Append | Acquire) and message.epoch > 2 and self.log.membership is None:
            self.voting = True
        return super().handle(now, wall_ms, message)


class TakesLateMessages(Acceptor):
    """A message counts although a later one of the same run came before."""

    def is_late(self, message: Acquire | Append | Install) -> bool:
        return False


class NeverForgets(MessageOrder):
    """One late message is enough for a run to give nothing back any more."""

    def __init__(self) -> None:
        super().__init__()
        self._ever = set[ProposerId]()

    def is_late(self, message: Acquire | Append | Install) -> bool:
        late = super().is_late(message)
        if late:
            self._ever.add(message.owner)
        return late

    def may_be_two(self, release: Release) -> bool:
        return release.owner in self._ever


class SuspectsForEver(Acceptor):
    """An upstream takes no release of a run that a message was late of, whatever that was."""

    def __init__(self, durable: Durable, *rest: Any) -> None:
        super().__init__(durable, *rest)
        self._order = NeverForgets()


class ComparesEpochsAlone(Acceptor):
    """An entry of the same epoch is taken for the same entry."""

    def _forked(self, index: int, known: bytes) -> bool:
        return False


def signs_whatever_is_applied(acceptor: Acceptor, _now: float, _asked: ReadIndex) -> str | None:
    """An upstream signs what its ledger says, whoever asks, and however far others have committed."""
    return None if acceptor.voting else "not-voting"


class TakesWhatIsNewer(Acceptor):
    """An upstream takes entries and snapshots of a format that its version does not know."""

    def newer(self, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> str:
        return ""


class DeniesTheUnknown(Ledger):
    """A command that a version does not know is taken, and denied."""

    def unreadable(self, body: bytes, entry_format: int = FIRST) -> str:
        return ""


# -- the twin ------------------------------------------------------------------------------------------------


class LeaseFromTheAnswer(Proposer):
    """The lease is computed from when the answer came."""

    def receive(self, now: float, replica: int, sent_at: float, request: Request, reply: Reply) -> None:
        self._answered_at = now
        super().receive(now, replica, sent_at, request, reply)

    def _granted(self, progress: Progress, sent_at: float, granted_ms: int) -> None:
        super()._granted(progress, self._answered_at, granted_ms)


class LeaseOfItsOwnLength(Proposer):
    """A twin counts with its own setting, whatever an upstream says that it granted."""

    def _granted(self, progress: Progress, sent_at: float, granted_ms: int) -> None:
        super()._granted(progress, sent_at, round(self.timing.ttl * 1000))


class NoDriftAllowance(Timing, frozen=True):
    """A lease is used for as long as it was granted, less the guard."""

    def usable_of(self, granted: float) -> float:
        return min(granted, self.ttl) - self.margin


class NoGuard(Timing, frozen=True):
    """A lease is used until it ends, though the kernel removes the address late."""

    def usable_of(self, granted: float) -> float:
        return super().usable_of(granted) + self.margin


class NoticesNoPause(Proposer):
    """The upstreams' clocks are not compared with one's own."""

    def _paused(self, member: ReplicaState, sent_at: float, now: float) -> bool:
        return False


class AdoptsAFork(Proposer):
    """Of journals that differ within one epoch the best is adopted, whatever a majority has."""

    def _contradicted(self, promises: Mapping[int, Promise]) -> frozenset[int] | None:
        return frozenset()


class WaitsForTheThird(Proposer):
    """Of two entries of one epoch none counts, though a replica knows one of them to be committed."""

    def _without_committed(self, promises: Mapping[int, Promise]) -> frozenset[int]:
        return frozenset()


class AsksAgainAtOnce(Proposer):
    """The answer to a poll starts the next one."""

    def _followed(self, now: float, replica: int, reply: Subscribed) -> None:
        super()._followed(now, replica, reply)
        if self.role == "passive":
            self._follow(now)


class OwnClockAlone(SteadyClock):
    """What the upstreams' clocks show is not held against one's own."""

    def _take_off(self, now: float) -> None:
        pass


class GoesByItsOwnClock(Proposer):
    """See OwnClockAlone."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self.steady = OwnClockAlone()


class LeaseOfOne(Proposer):
    """One upstream's grant makes a lease."""

    @property
    def deadline(self) -> float:
        granted = [progress.granted_until for progress in self.replicas if progress.granted_until is not None]
        return max(granted, default=float("-inf"))


class KeepsItsLedger(Proposer):
    """A twin keeps the ledger that two upstreams contradict."""

    def _drop_ledger(self) -> None:
        pass


class KeepsItsMirror(Proposer):
    """A passive twin keeps entries that two upstreams contradict."""

    def _mirror_anew(self, sources: frozenset[int]) -> None:
        pass


class AnchorsWhatItIsTold(Proposer):
    """A passive twin's anchor is what one upstream told."""

    @property
    def confirmed_anchor(self) -> Anchor | None:
        return self.anchor


class ConfirmedByNobody(Agreement):
    """Any ledger may be sent in place of another."""

    def may_install(self, replica: int) -> bool:
        return True


class SendsItsLedger(Proposer):
    """A twin sends its ledger to upstreams that have another one, although nobody confirms it."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self.agreement = ConfirmedByNobody()


class KeepsWhatItWasGranted(Proposer):
    """A candidate that gives up tries anew, and gives nothing back."""

    def _persist(self, now: float) -> None:
        self._turn("not elected in time", "no majority answered in time")
        self._try_election(now)


class ThrowsVotesAway(Proposer):
    """An upstream that fails in an election is asked again with the next one, for which all are asked."""

    def _ask_again(self, now: float) -> None:
        pass

    def _persist(self, now: float) -> None:
        self._candidacy_ends = now
        super()._persist(now)


class WaitsForARenewal(Timing, frozen=True):
    """An upstream that fails is asked again with the next renewal, or the next election."""

    @property
    def again(self) -> float:
        return self.ttl


class _NoAllowance(PauseDetector):
    """Clocks are taken to go at one rate."""

    def observe(self, replica: str, reading: float, sent_at: float, now: float) -> float:
        if (known := self._most.get(replica)) is not None:
            self._most[replica] = known[0], now
        return super().observe(replica, reading, sent_at, now)


class TakesDriftForAPause(Proposer):
    """Clocks that differ in rate are taken for a pause, once they have come apart by a little."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self._pauses = _NoAllowance(self.timing.pause / 4, self.timing.ttl)


class LeapsWithTheClocks(CertifiedClock):
    """Certified time follows each step forward that the clocks take, also within a term."""

    def read(self, now_ms: float, floor_ms: int) -> int:
        self._anchored = False
        return super().read(now_ms, floor_ms)


class FollowsEachStep(Proposer):
    """See LeapsWithTheClocks."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self.certified = LeapsWithTheClocks()


class TakesItBack(Proposer):
    """A lease of which a twin heard before its own term, and no more since, has ended only now."""

    def awaits(self, progress: Progress) -> bool:
        self._served_epoch = 0
        return super().awaits(progress)


class LongestJournal(Proposer):
    """The longest journal is adopted, whatever its epoch."""

    @staticmethod
    def rank_of(promise: Promise) -> tuple[int, int]:
        return promise.state.last_index, promise.state.last_epoch


class OneVoteIsEnough(Proposer):
    """An entry counts as committed when one upstream stored it."""

    def _advance(self) -> bool:
        for replica in self._member_replicas():
            self.replicas[replica].match_index = max(progress.match_index for progress in self.replicas)
        return super()._advance()


class BelievesAnOldCopy(Proposer):
    """An upstream counts, whatever it confirmed before and no longer has."""

    def _distrust(self, replica: int, now: float) -> None:
        pass


class CountsOlderEpochs(Proposer):
    """Entries of older epochs are counted for commitment."""

    def counts(self, index: int) -> bool:
        return True


class ServesAtOnce(Proposer):
    """A twin serves before its term is committed."""

    def _begin_term(self, now: float, granted: dict[int, float]) -> None:
        super()._begin_term(now, granted)
        self.serving = True
        self._outputs.append(Serving(self.epoch))


class ReadmitsTheRetired(Proposer):
    """A disk that was replaced is admitted like a new one."""

    def _join(self, now: float, replica: int, replica_id: str, sent_at: float) -> None:
        membership = self.log.membership
        if membership is None or replica_id not in membership.retired or not self.holds(now):
            super()._join(now, replica, replica_id, sent_at)
        elif not self._membership_pending():
            self._add("members", encode_membership(membership.replacing(replica, replica_id)), now)
            self._replicate(now)


class AdmitsAtOnce(Proposer):
    """A new disk gets the snapshot, and with it the vote, before its admission is committed."""

    def _join(self, now: float, replica: int, replica_id: str, sent_at: float) -> None:
        membership = self.log.membership
        if membership is None or membership.replica_ids[replica] != replica_id or self.replicas[replica].busy:
            super()._join(now, replica, replica_id, sent_at)
        elif self.holds(now):
            self._send(replica, self._installation(), now)

    def _installation(self) -> Install:
        install = super()._installation()
        return replace(install, snapshot=replace(install.snapshot, membership=self.log.membership))


class AdmitsOnOneAnswer(Proposer):
    """A new disk is admitted on its first answer, however old that is."""

    def _stays(self, now: float, replica: int, replica_id: str, sent_at: float) -> bool:
        return True


class NewestClock(CertifiedClock):
    """Certified time is what the clock says that is furthest ahead."""

    def _agreed(self, now_ms: float) -> float | None:
        fresh = [offset for offset, at, _ in self._offsets.values() if now_ms - at <= self._fresh_ms]
        return max(fresh) + now_ms if len(fresh) >= 2 else None


class FollowsClocks(CertifiedClock):
    """Certified time takes each step that the clocks take, and the journal's last time does not hold it."""

    def read(self, now_ms: float, floor_ms: int) -> int:
        self._anchored, self._value = False, None
        agreed = self._agreed(now_ms)
        return super().read(now_ms, floor_ms) if agreed is None else int(agreed)


class JumpsAtOnce(CertifiedClock):
    """Certified time follows clocks that agree, however far they are ahead."""

    def doubtful(self, agreed: float, known: float, now_ms: float) -> bool:
        return False


class OneSourceIsEnough(CertifiedClock):
    """One clock that a time source keeps confirms a jump."""

    def doubtful(self, agreed: float, known: float, now_ms: float) -> bool:
        return super().doubtful(agreed, known, now_ms) and not self._synchronised(agreed, now_ms)


class FollowsAJump(Proposer):
    """See JumpsAtOnce."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self.certified = JumpsAtOnce()


class BelievesOneSource(Proposer):
    """See OneSourceIsEnough."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self.certified = OneSourceIsEnough()


class FormatBeforeMembers(Proposer):
    """The next format begins before all members have announced it."""

    @staticmethod
    def known_to_replicas(members: Sequence[ReplicaState]) -> int:
        return max(member.format for member in members)


class FormatBeforeTwins(Proposer):
    """The next format begins before the other twin has announced it."""

    def known_to_twins(self, members: Sequence[ReplicaState]) -> int:
        return self.newest


class TakesTheNewestClock(Proposer):
    """See NewestClock."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self.certified = NewestClock()


class TimeIsNotClamped(Proposer):
    """See FollowsClocks."""

    def __init__(self, *all_of_it: Any) -> None:
        super().__init__(*all_of_it)
        self.certified = FollowsClocks()


# -- the ledger, and who is heard ----------------------------------------------------------------------------


class ForgetsRequests(Ledger):
    """A retry is a new request."""

    def _carry_out(self, command: Command) -> Outcome:
        if isinstance(command, Grant):
            self._ledger_state.memory.drop(command.client, command.request_id)
        return super()._carry_out(command)

    def remembered(self, client: str, request_id: str) -> None:
        return None


class SpendsAgain(Ledger):
    """A retry takes its units again."""

    def remembered(self, client: str, request_id: str) -> Any:
        known = super().remembered(client, request_id)
        return None if known is not None and isinstance(known.outcome, Consumed) else known

    def _carry_out(self, command: Command) -> Outcome:
        if isinstance(command, Consume):
            self._ledger_state.memory.drop(command.client, command.request_id)
        return super()._carry_out(command)


class AgesWithTheClocks(Ledger):
    """Outcomes are forgotten by certified time, which leaps."""

    def apply(
        self, index: int, time_ms: int, body: bytes, entry_format: int = FIRST
    ) -> Outcome | BatchOutcome:
        self._ledger_state.memory.steady_ms += max(0, time_ms - self._ledger_state.time_ms)
        return super().apply(index, time_ms, body, entry_format)


class KeepsThemWaiting(Ledger):
    """A seat that comes free is not given to whoever waits."""

    def _carry_out(self, command: Command) -> Outcome:
        queues = self._ledger_state.queues
        if not isinstance(command, Free) or command.session in queues.places:
            return super()._carry_out(command)
        waiting, queues.by_product = queues.by_product, {}
        outcome = super()._carry_out(command)
        queues.by_product = waiting
        return outcome


class LastComesFirst(Ledger):
    """The seat goes to the one that came last."""

    def _carry_out(self, command: Command) -> Outcome:
        queues = self._ledger_state.queues
        if not isinstance(command, Free):
            return super()._carry_out(command)
        for product, queue in queues.by_product.items():
            queues.by_product[product] = dict(reversed(queue.items()))
        outcome = super()._carry_out(command)
        for product, queue in queues.by_product.items():
            queues.by_product[product] = dict(reversed(queue.items()))
        return outcome


class OneForAll(Ledger):
    """All commands of an entry have the outcome of the first."""

    def apply(
        self, index: int, time_ms: int, body: bytes, entry_format: int = FIRST
    ) -> Outcome | BatchOutcome:
        outcome = super().apply(index, time_ms, body, entry_format)
        if isinstance(outcome, BatchOutcome):
            return BatchOutcome(outcome.outcomes[:1] * len(outcome.outcomes))
        return outcome


class LendsForNothing(Ledger):
    """A borrowed seat is not counted."""

    def _carry_out(self, command: Command) -> Outcome:
        outcome = super()._carry_out(command)
        if isinstance(outcome, Borrowed) and outcome.borrow in self.borrowings:
            self._ledger_state.seats.take_back(self.borrowings[outcome.borrow])
        return outcome


class CountsWhatIsRemembered(ContainerView):
    """What an upstream's container stated counts while the upstream answers, with whatever container."""

    def counting(self, upstreams: Iterable[UpstreamState]) -> frozenset[str]:
        return frozenset(one.name for one in upstreams if one.counts)


class NoFreshTime(LivenessTable):
    """A new active takes it that nobody was heard for a time to live."""

    def begin_term(self, now: float, sessions: Iterable[tuple[str, int]]) -> None:
        lives = list(sessions)
        super().begin_term(now - max((ttl for _, ttl in lives), default=0), lives)


class ExpiresToTheSecond(LivenessTable):
    """A session ends when its time to live is over by the twin's clock, though its client's may be slow."""

    def granted(self, now: float, session: str, ttl: int) -> None:
        super().granted(now, session, ttl * (1 - DRIFT) / (1 + DRIFT))  # type: ignore[arg-type]


class PatienceDecides(InFlight):
    """Who has waited too long for a command takes it for one that will not be carried out."""

    def lose_patience(self, now: float) -> None:
        for submission in list(self):
            if now - submission.since >= self.patience:
                submission.decide(NotActive())
        super().lose_patience(now)


class IgnoresThoseGoneBack(Proposer):
    """The readiness of an upstream that was rolled back never counts, though all three are ready."""

    def _count_pre_votes(self, now: float) -> None:
        self._pre_votes = {
            replica: one for replica, one in self._pre_votes.items() if not self.replicas[replica].rolled_back
        }
        super()._count_pre_votes(now)


class TakesAnyFounding(Proposer):
    """A journal of another founding is taken like the own one."""

    def is_foreign(self, member: ReplicaState) -> bool:
        return False


class FoundsAnyway(Proposer):
    """Three new stores are founded, whatever system the twin knows."""

    def may_found(self, members: Sequence[ReplicaState], now: float) -> bool:
        return True


CUT_OFF = FaultProfile(drop=0.02, slow=0.02, crash=0.4, partition=1.5, pause=0.1)
"""Twins that lose sight of upstreams, again and again."""
FROZEN = FaultProfile(slow=0.05, partition=0.3, pause=1.5)
"""Machines that stop for seconds and go on as if nothing had happened."""
FLAPPING = FaultProfile(flapping=0.5, hand_over=0.3)
"""Upstreams whose processes die in turn, within a lease, while twins take turns."""
PARTED = FaultProfile(partition=1.5, drift=0.5)
"""Links that are cut, and else a quick network: leases end, and the next begins at once."""
APART = FaultProfile(partition=1.5, drift=0.5, setting=0.5)
"""The same with longer leases, too: drift adds up."""
ALONE = FaultProfile(lonely=3.0, drift=0.5)
"""Clients that are cut off for about a time to live."""
LATE = FaultProfile(slow=0.2, lonely=2.0)
"""Clients that are cut off for about a time to live, and messages that come late."""
UNLIKE = FaultProfile(slow=0.05, partition=0.6, pause=0.8, setting=1.5)
"""Machines that start again with another length of the lease, while links are cut."""
STOPPED = FaultProfile(slow=0.02, partition=0.3, host=1.5)
"""Machines that their hosts pause for seconds, and their clocks with them."""
MEMORY = FaultProfile(memory=1.0, drop=0.05, crash=0.3, partition=0.8)
"""Twins whose memory runs twice, or is put back, while links are cut."""
RACING = FaultProfile(race=0.8, lonely=2.0)
"""Twins whose clocks run fast, and clients that are cut off for about a time to live."""
HANDED = FaultProfile(drop=0.05, crash=0.3, partition=0.6, hand_over=1.0)
"""Terms that are handed over, while links are cut."""
FLICKER = FaultProfile(drop=0.02, slow=0.05, crash=1.5, partition=1.0, downtimes=(0.05,))
"""Processes that die and are back at once, while links are cut."""
CLONED = FaultProfile(partition=0.3, crash=0.2, clone=0.6)
"""Copies of twins' machines that run beside these."""
NEW_DISKS = FaultProfile(drop=0.05, crash=0.4, partition=0.6, wipe=0.6, replace=0.6)
"""Disks that are lost, machines that are replaced."""
FULL = FaultProfile(drop=0.02, crash=0.5, full=1.0, partition=0.3)
"""Disks that are full."""
WRONG = FaultProfile(clock=1.0, drift=0.5, partition=0.3, crash=0.3)
"""Clocks that jump."""
ODD = FaultProfile(drop=0.02, crash=0.2, blackout=0.1, twins=0.5, hand_over=0.6, partition=0.2, diverge=0.8)
"""Ledgers that differ, while twins take turns and the power fails."""

SETTING = FaultProfile(leap=1.0)
"""Clocks that are set again and again within a term."""
DRIFTING = FaultProfile(drift=1.0)
"""Clocks whose rates change, and else nothing."""
SLOW = FaultProfile(slowed=2.0, lonely=2.0, patience=0.1)
"""Commands that take longer than a client waits, while clients come back at the end of their time to live."""
SET = FaultProfile(drop=0.25, crash=0.8, hand_over=0.8, leap=1.0)
"""Clocks that are set while twins take turns, and answers that are lost."""
RESTORED = FaultProfile(drop=0.1, slow=0.05, crash=0.4, partition=0.8, pause=0.1, restore=1.0)
"""Old copies are put back while machines come and go."""

ROT = FaultProfile(drop=0.02, rot=0.5)
"""Bits of journals that change while the power is off."""
LOST = FaultProfile(drop=0.02, crash=0.2, partition=0.2, wipe=0.2, sole=0.4)
"""Stores that are lost, and then another machine."""
COPIES = FaultProfile(drop=0.02, crash=0.2, old_majority=1.0)
"""Old copies of one moment are put back on two upstreams."""
RENEWED = FaultProfile(drop=0.02, crash=0.2, partition=0.2, upgrade=1.5)
"""Machines get another version, one after the other."""

FOREIGN = FaultProfile(drop=0.02, crash=0.6, foreign=1.0)
"""Stores of another founding are put in place."""
EXCHANGED = FaultProfile(drop=0.02, crash=0.2, exchange=0.6)
"""New stores are put in place of all three."""
BOOTED = FaultProfile(drop=0.02, crash=0.2, boot=0.3)
"""Sites that lose their power, and whose clocks show another time afterwards."""

MUTATIONS: dict[str, Rules] = {
    "a container that is gone counts": Rules(view=CountsWhatIsRemembered, withdraw_after=4.0, profile=LOST),
    "a return is signed past": Rules(obstacle=signs_whatever_is_applied),
    "a statement stays in the journal": Rules(withdraw_after=math.inf, profile=LOST),
    "no fencing": Rules(acceptor=NoFencing, profile=FROZEN),
    "lease computed after the answer": Rules(twin=LeaseFromTheAnswer, profile=FROZEN),
    "one grant is a lease": Rules(twin=LeaseOfOne, profile=CUT_OFF),
    "longest journal adopted": Rules(twin=LongestJournal, profile=CUT_OFF),
    "older epochs counted": Rules(twin=CountsOlderEpochs, profile=CUT_OFF),
    "serves before its term is committed": Rules(twin=ServesAtOnce, profile=CUT_OFF),
    "uncommitted tail kept": Rules(acceptor=KeepsItsTail, profile=CUT_OFF),
    "acknowledged tail forgotten": Rules(acceptor=ForgetsItsTail),
    "commit index believed blindly": Rules(acceptor=CommitsWhatItHas, profile=CUT_OFF),
    "a damaged row is believed": Rules(believe_damaged_rows=True, profile=ROT),
    "disk lost without readmission": Rules(vote_with_an_empty_disk=True, profile=NEW_DISKS),
    "votes before it is whole": Rules(acceptor=VotesAtOnce, profile=NEW_DISKS),
    "vote before its admission is committed": Rules(twin=AdmitsAtOnce, profile=NEW_DISKS),
    "a new disk admitted on one answer": Rules(twin=AdmitsOnOneAnswer, profile=EXCHANGED),
    "retired disk readmitted": Rules(twin=ReadmitsTheRetired, profile=NEW_DISKS),
    "expiry races a renewal": Rules(renew_while_expiring=True, profile=LATE),
    "no fresh time to live after a failover": Rules(sessions=NoFreshTime),
    "answer before fsync": Rules(answer_before_fsync=True),
    "promise kept in memory": Rules(acceptor=PromisesInMemory, profile=FLICKER),
    "torn write believed": Rules(believe_torn_writes=True, profile=FLICKER),
    "full disk swallowed": Rules(swallow_full_disk=True, profile=FULL),
    "answers without a lease": Rules(answer_without_lease=True),
    "answer before commitment": Rules(answer_before_commit=True),
    "lease granted while another lives": Rules(acceptor=GrantsToAnybody),
    "lease taken over from the same name": Rules(acceptor=TakesTheNameForTheTwin, profile=CLONED),
    "lease forgotten in a restart": Rules(acceptor=ForgetsItsLease, profile=FLICKER),
    "answers what is not proved": Rules(answer_unproved=True, profile=STOPPED),
    "a pause by the host is not noticed": Rules(twin=NoticesNoPause, profile=STOPPED),
    "late messages count": Rules(acceptor=TakesLateMessages, profile=MEMORY),
    "entries are compared by epoch alone": Rules(acceptor=ComparesEpochsAlone, profile=MEMORY),
    "a fork is adopted": Rules(twin=AdoptsAFork, profile=MEMORY),
    "a commit settles no fork": Rules(twin=WaitsForTheThird),
    "one late message, no release": Rules(acceptor=SuspectsForEver),
    "an answer starts the next poll": Rules(twin=AsksAgainAtOnce, profile=MEMORY),
    "a fast clock is believed": Rules(twin=GoesByItsOwnClock, profile=RACING),
    "a release forgotten in a restart": Rules(acceptor=ForgetsTheRelease, profile=FLAPPING),
    "a promise that was not heard is lost": Rules(acceptor=FencesItsCandidate, profile=FLAPPING),
    "an upstream that failed is asked later": Rules(timing=WaitsForARenewal, profile=FLAPPING),
    "a candidate gives nothing back": Rules(twin=KeepsWhatItWasGranted, profile=FLAPPING),
    "votes are thrown away": Rules(twin=ThrowsVotesAway, profile=FLAPPING),
    "a late release counts": Rules(acceptor=LateReleaseCounts),
    "a lease of its own length": Rules(twin=LeaseOfItsOwnLength, profile=UNLIKE),
    "a restart forgets how long it granted": Rules(acceptor=ForgetsHowLong, profile=UNLIKE),
    "a lease is shortened": Rules(acceptor=ShortensALease, profile=UNLIKE),
    "no drift allowance for a lease": Rules(timing=NoDriftAllowance, profile=APART),
    "no drift allowance for a session": Rules(sessions=ExpiresToTheSecond, profile=ALONE),
    "no time for the kernel": Rules(timing=NoGuard, profile=PARTED),
    "one vote commits": Rules(twin=OneVoteIsEnough),
    "differing ledger not noticed": Rules(acceptor=TrustsItsLedger, profile=ODD),
    "digest believed one-sided": Rules(acceptor=BelievesTheTwin, profile=ODD),
    "a contradicted ledger is kept": Rules(twin=KeepsItsLedger, profile=ODD),
    "a contradicted mirror is kept": Rules(twin=KeepsItsMirror),
    "an anchor on the word of one": Rules(twin=AnchorsWhatItIsTold),
    "an unconfirmed ledger is sent": Rules(twin=SendsItsLedger, profile=ODD),
    "newest clock is the time": Rules(twin=TakesTheNewestClock, profile=WRONG),
    "a jump of the clocks counts at once": Rules(twin=FollowsAJump, profile=BOOTED),
    "one synchronised clock confirms a jump": Rules(twin=BelievesOneSource, profile=BOOTED),
    "time not clamped": Rules(twin=TimeIsNotClamped, profile=WRONG),
    "retries are new requests": Rules(ledger=ForgetsRequests),
    "retries take units again": Rules(ledger=SpendsAgain),
    "outcomes age with the clocks": Rules(ledger=AgesWithTheClocks, profile=SET),
    "a free seat stays free": Rules(ledger=KeepsThemWaiting),
    "last come, first served": Rules(ledger=LastComesFirst),
    "no drift allowance for a pause": Rules(twin=TakesDriftForAPause, profile=DRIFTING),
    "time leaps within a term": Rules(twin=FollowsEachStep, profile=SETTING),
    "one outcome for all of an entry": Rules(ledger=OneForAll),
    "borrowed seats are free": Rules(ledger=LendsForNothing),
    "an old copy is believed": Rules(twin=BelievesAnOldCopy, profile=RESTORED),
    "no anchor is kept": Rules(keep_anchor=False, profile=COPIES),
    "three ready are not enough": Rules(twin=IgnoresThoseGoneBack, profile=COPIES),
    "a snapshot before the record": Rules(acceptor=LinesAfterTheSnapshot),
    "a term handed over is taken back": Rules(twin=TakesItBack, profile=HANDED),
    "patience decides what becomes of a command": Rules(in_flight=PatienceDecides, profile=SLOW),
    "format begun before all members know it": Rules(twin=FormatBeforeMembers, profile=RENEWED),
    "format begun before both twins know it": Rules(twin=FormatBeforeTwins, profile=RENEWED),
    "newer entries taken": Rules(acceptor=TakesWhatIsNewer, profile=RENEWED),
    "lease given back and revived": Rules(acceptor=RevivesALease),
    "another founding is taken": Rules(twin=TakesAnyFounding, profile=FOREIGN),
    "new stores are founded anyway": Rules(twin=FoundsAnyway, profile=EXCHANGED),
    "unknown commands taken": Rules(ledger=DeniesTheUnknown, profile=RENEWED),
}
