# SPDX-License-Identifier: Apache-2.0
"""Answers to a former run of a twin tell the present one nothing: a system was founded anew for it.

All three upstreams had been new when the former run asked. Two of them stood in a system since then.
"""

from typing import Any

import pytest

from tmr.ledger import Ledger
from tmr.quorum.entries import Membership, ProposerId
from tmr.quorum.lease import Timing
from tmr.quorum.messages import (
    Acquire,
    Bootstrap,
    Bootstrapped,
    NotVoting,
    Release,
    Released,
    ReplicaState,
    Request,
    RequestRefused,
    Subscribe,
    Subscribed,
)
from tmr.quorum.proposer import Proposer

FORMER, PRESENT = ProposerId("tmr1", "life-1"), ProposerId("tmr1", "life-2")
NEW = ReplicaState("disk-3", False, 0, 0, 0, 0, 1_800_000_000_000)
ASKED: list[tuple[Request, Any]] = [
    (Acquire(2, FORMER, 2000, pre_vote=True), NotVoting(NEW, 2, FORMER, new_store=True)),
    (Subscribe(FORMER, 0, 0, "?", 0), Subscribed(NEW, FORMER, "", 0, 0, None, ())),
    (Bootstrap(FORMER, Membership(("disk-1", "disk-2", "disk-3"))), Bootstrapped(NEW)),
    (Acquire(2, FORMER, 2000), RequestRefused(NEW, "for some reason")),
    (Release(2, FORMER), Released(NEW)),
]


@pytest.mark.parametrize(("request_", "reply"), ASKED, ids=lambda one: type(one).__name__)
def test_an_answer_to_a_former_run_is_none(request_: Request, reply: Any) -> None:
    twin = Proposer(PRESENT, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 100.0, lambda: 0.5)
    twin.receive(100.1, 2, 0.3, request_, reply)
    progress = twin.replicas[2]
    assert (progress.state, progress.reachable, progress.new_store, progress.not_voting, progress.alarm) == (
        None,
        False,
        False,
        False,
        "",
    )


def test_nor_is_it_silence_that_a_former_run_met_with() -> None:
    twin = Proposer(PRESENT, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 100.0, lambda: 0.5)
    question = Subscribe(PRESENT, 0, 0, "?", 0)
    twin.tick(100.1)
    twin.receive(100.2, 2, 100.1, question, Subscribed(NEW, PRESENT, "", 0, 0, None, ()))
    twin.failed(2, 200.0, Acquire(2, FORMER, 2000, pre_vote=True))
    assert twin.replicas[2].reachable
