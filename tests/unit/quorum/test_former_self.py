"""Answers to a former run of a twin tell the present one nothing: a system was founded anew for it.

All three upstreams had been new when the former run asked. Two of them stood in a system since then.
"""

from typing import Any

import pytest

from tmr.ledger import Ledger
from tmr.quorum.entries import Membership, Owner
from tmr.quorum.lease import Timing
from tmr.quorum.messages import (
    Acquire,
    Follow,
    Followed,
    Found,
    Founded,
    Joining,
    Member,
    Refused,
    Release,
    Released,
    Request,
)
from tmr.quorum.proposer import Twin

FORMER, PRESENT = Owner("tmr1", "life-1"), Owner("tmr1", "life-2")
NEW = Member("disk-3", False, 0, 0, 0, 0, 1_800_000_000_000)
ASKED: list[tuple[Request, Any]] = [
    (Acquire(2, FORMER, 2000, probe=True), Joining(NEW, 2, FORMER, fresh=True)),
    (Follow(FORMER, 0, 0, "?", 0), Followed(NEW, FORMER, "", 0, 0, None, ())),
    (Found(FORMER, Membership(("disk-1", "disk-2", "disk-3"))), Founded(NEW)),
    (Acquire(2, FORMER, 2000), Refused(NEW, "for some reason")),
    (Release(2, FORMER), Released(NEW)),
]


@pytest.mark.parametrize(("request_", "reply"), ASKED, ids=lambda one: type(one).__name__)
def test_an_answer_to_a_former_run_is_none(request_: Request, reply: Any) -> None:
    twin = Twin(PRESENT, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 100.0, lambda: 0.5)
    twin.receive(100.1, 2, 0.3, request_, reply)
    peer = twin.peers[2]
    assert (peer.member, peer.reachable, peer.fresh, peer.joining, peer.alarm) == (
        None,
        False,
        False,
        False,
        "",
    )


def test_nor_is_it_silence_that_a_former_run_met_with() -> None:
    twin = Twin(PRESENT, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 100.0, lambda: 0.5)
    question = Follow(PRESENT, 0, 0, "?", 0)
    twin.tick(100.1)
    twin.receive(100.2, 2, 100.1, question, Followed(NEW, PRESENT, "", 0, 0, None, ()))
    twin.failed(2, 200.0, Acquire(2, FORMER, 2000, probe=True))
    assert twin.peers[2].reachable
