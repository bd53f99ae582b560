"""The protocol with one rule taken away at a time: each must be caught, or the simulation is blind."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from tests.simulation.rules import Rules
from tests.simulation.weather import Weather
from tmr.ledger import Borrowed, Command, Consume, Grant, Ledger, Outcome
from tmr.quorum.acceptor import Acceptor, Answer, RecordWrite, SnapshotWrite
from tmr.quorum.entries import Mark
from tmr.quorum.messages import Append, Install, Member, Promise, Request
from tmr.quorum.proposer import Peer, Twin


class NoFencing(Acceptor):
    """An upstream takes the appends of a reign that is over."""

    def fences(self, message: Append | Install) -> bool:
        return False


class GrantsToAnybody(Acceptor):
    """An upstream grants the lease although another twin's lives."""

    def blocked(self, now: float, asker: Any) -> bool:
        return False


class LinesAfterTheSnapshot(Acceptor):
    """A snapshot deletes journal entries whose lines of the record are not kept."""

    def handle(self, now: float, wall_ms: int, message: Request) -> Answer:
        answer = super().handle(now, wall_ms, message)
        if any(isinstance(write, SnapshotWrite) for write in answer.writes):
            answer.writes = [write for write in answer.writes if not isinstance(write, RecordWrite)]
        return answer


class LeaseFromTheAnswer(Twin):
    """The lease is computed from when the answer came."""

    def _granted(self, peer: Peer, sent_at: float, now: float) -> None:
        super()._granted(peer, now, now)


class LongestJournal(Twin):
    """The longest journal is adopted, whatever its epoch."""

    @staticmethod
    def rank_of(promise: Promise) -> tuple[int, int]:
        return promise.member.last_index, promise.member.last_epoch


class OneVoteIsEnough(Twin):
    """An entry counts as committed when one upstream stored it."""

    def _advance(self) -> bool:
        for slot in self._member_slots():
            self.peers[slot].match = max(peer.match for peer in self.peers)
        return super()._advance()


class BelievesAnOldCopy(Twin):
    """An upstream counts, whatever it confirmed before and no longer has."""

    def _distrust(self, slot: int, now: float) -> None:
        pass

    @staticmethod
    def misses(mark: Mark, member: Member) -> bool:
        return False


class ForgetsRequests(Ledger):
    """A retry is a new request."""

    def _carry_out(self, command: Command) -> Outcome:
        if isinstance(command, Grant):
            self._books.memory.drop(command.client, command.request_id)
        return super()._carry_out(command)

    def remembered(self, client: str, request_id: str) -> None:
        return None


class SpendsAgain(Ledger):
    """A retry takes its units again."""

    def remembered(self, client: str, request_id: str) -> Any:
        known = super().remembered(client, request_id)
        return None if known is not None and isinstance(known[0], Consume) else known

    def _carry_out(self, command: Command) -> Outcome:
        if isinstance(command, Consume):
            self._books.memory.drop(command.client, command.request_id)
        return super()._carry_out(command)


class LendsForNothing(Ledger):
    """A borrowed seat is not counted."""

    def _carry_out(self, command: Command) -> Outcome:
        outcome = super()._carry_out(command)
        if isinstance(outcome, Borrowed) and outcome.borrow in self.borrowings:
            self._books.seats.take_back(self.borrowings[outcome.borrow])
        return outcome


FAIR = Weather(
    drop=0, duplicate=0, slow=0, crash=0, blackout=0, partition=0, pause=0, wipe=0, clock=0, lonely=0
)
CUT_OFF = replace(FAIR, drop=0.02, slow=0.02, crash=0.4, partition=1.5, pause=0.1)
"""Twins that lose sight of upstreams, again and again."""
FROZEN = replace(FAIR, slow=0.05, partition=0.3, pause=1.5)
"""Machines that stop for seconds and go on as if nothing had happened."""
LATE = replace(FAIR, slow=0.4, lonely=1.0)
"""Clients that are cut off for about a time to live, and messages that come late."""

RESTORED = replace(FAIR, drop=0.1, slow=0.05, crash=0.4, partition=0.8, pause=0.1, restore=1.0)
"""Old copies are put back while machines come and go."""

MUTATIONS: dict[str, Rules] = {
    "no fencing": Rules(acceptor=NoFencing),
    "lease computed after the answer": Rules(twin=LeaseFromTheAnswer, weather=FROZEN),
    "longest journal adopted": Rules(twin=LongestJournal, weather=CUT_OFF),
    "disk lost without readmission": Rules(vote_with_an_empty_disk=True),
    "expiry races a renewal": Rules(renew_while_expiring=True, weather=LATE),
    "answer before fsync": Rules(answer_before_fsync=True),
    "answers without a lease": Rules(answer_without_lease=True),
    "lease granted while another lives": Rules(acceptor=GrantsToAnybody),
    "no drift allowance": Rules(guard=-0.1),
    "one vote commits": Rules(twin=OneVoteIsEnough),
    "retries are new requests": Rules(ledger=ForgetsRequests),
    "retries take units again": Rules(ledger=SpendsAgain),
    "borrowed seats are free": Rules(ledger=LendsForNothing),
    "an old copy is believed": Rules(twin=BelievesAnOldCopy, weather=RESTORED),
    "a snapshot before the record": Rules(acceptor=LinesAfterTheSnapshot),
}
