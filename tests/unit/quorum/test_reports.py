# SPDX-License-Identifier: Apache-2.0
"""Reports of the twins about themselves, by way of an upstream."""

import msgspec
import pytest

from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import Report, Reported, decode_request, encode

A, B = ProposerId("tmr1", "a"), ProposerId("tmr2", "b")


@pytest.fixture
def acceptor() -> Acceptor:
    return Acceptor(Durable("d1"), Ledger(), 0.0, 2.0)


def told(acceptor: Acceptor, now: float, report: Report) -> Reported:
    """What is told of the other twin; nothing is written for it."""
    answer = acceptor.handle(now, 0, report)
    assert isinstance(answer.reply, Reported)
    assert (answer.reply.owner, answer.writes, answer.woke) == (report.owner, [], False)
    return answer.reply


def test_each_twin_hears_what_the_other_said_last(acceptor: Acceptor) -> None:
    told(acceptor, 1.0, Report(A, 4, ready=True))
    to_b = told(acceptor, 1.5, Report(B, 2, ready=False, reason="it mirrors"))
    assert (to_b.twin, to_b.front, to_b.ready, to_b.reason, to_b.age_ms) == ("tmr1", 4, True, "", 500)
    to_a = told(acceptor, 2.0, Report(A, 3))
    assert (to_a.twin, to_a.front, to_a.ready, to_a.reason) == ("tmr2", 2, False, "it mirrors")
    assert to_a.age_ms == 500
    assert told(acceptor, 2.0, Report(B, 2)).age_ms == 0


def test_a_twin_that_was_never_heard_is_not_one_that_was_heard_just_now(acceptor: Acceptor) -> None:
    for now in (1.0, 5.0):
        to_a = told(acceptor, now, Report(A, 4, ready=True))
        assert (to_a.age_ms, to_a.twin, to_a.ready) == (None, "", False)


def test_a_former_run_of_the_twin_is_not_the_other_one(acceptor: Acceptor) -> None:
    told(acceptor, 1.0, Report(ProposerId("tmr1", "before"), 4, ready=True))
    assert told(acceptor, 1.1, Report(A, 4)).age_ms is None


def test_no_more_twins_are_remembered_than_there_are(acceptor: Acceptor) -> None:
    told(acceptor, 1.0, Report(B, 2))
    for number in range(5):
        told(acceptor, 2.0 + number, Report(ProposerId(f"stranger{number}", ""), 1))
    assert told(acceptor, 9.0, Report(A, 4)).twin == "stranger4"
    assert told(acceptor, 9.0, Report(ProposerId("stranger4", ""), 4)).twin == "tmr1"


def test_a_report_grants_and_changes_nothing(acceptor: Acceptor) -> None:
    before = acceptor.state(0)
    told(acceptor, 1.0, Report(A, 4, ready=True))
    assert acceptor.state(0) == msgspec.structs.replace(before, clock_ms=1_000)
    assert acceptor.live_holder(1.0) is None


def test_a_reason_is_bounded() -> None:
    assert decode_request(encode(Report(A, 4, reason="x" * 500))) == Report(A, 4, reason="x" * 500)
    with pytest.raises(msgspec.ValidationError):
        decode_request(encode(Report(A, 4, reason="x" * 501)))
