"""Reports of the twins about the front network, by way of an upstream."""

import msgspec

from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor, Durable
from tmr.quorum.entries import Owner
from tmr.quorum.messages import Report, Reported

A, B = Owner("tmr1", "a"), Owner("tmr2", "b")


def told(acceptor: Acceptor, now: float, report: Report) -> tuple[int, int]:
    """The other twin's view and its age; nothing is written for it."""
    answer = acceptor.handle(now, 0, report)
    assert isinstance(answer.reply, Reported)
    assert (answer.reply.owner, answer.writes, answer.woke) == (report.owner, [], False)
    return answer.reply.front, answer.reply.age_ms


def test_each_twin_hears_what_the_other_said_last() -> None:
    acceptor = Acceptor(Durable("d1"), Ledger(), 0.0, 2.0)
    assert told(acceptor, 1.0, Report(A, 4)) == (0, 0)
    assert told(acceptor, 1.5, Report(B, 2)) == (4, 500)
    assert told(acceptor, 2.0, Report(A, 3)) == (2, 500)
    assert told(acceptor, 2.0, Report(B, 2)) == (3, 0)


def test_a_report_grants_and_changes_nothing() -> None:
    acceptor = Acceptor(Durable("d1"), Ledger(), 0.0, 2.0)
    before = acceptor.member(0)
    told(acceptor, 1.0, Report(A, 4))
    assert acceptor.member(0) == msgspec.structs.replace(before, clock_ms=1_000)
    assert acceptor.live_holder(1.0) is None
