# SPDX-License-Identifier: Apache-2.0
"""The server counts only shares that hold together, of different containers, about what it asked for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from tests.support.lending import Lender, borrower, item
from tmr.client.borrowed import read
from tmr.licensing import (
    BadBorrowSignature,
    BorrowSignature,
    check_share,
    seal_borrow_file,
    share,
)
from tmr.net.problem import ProblemError
from tmr.quorum.entries import ProposerId
from tmr.quorum.read_index import ReadIndex
from tmr.rpc.messages import SignBorrowing
from tmr.rpc.upstream_client import LinkError
from tmr.twin.borrow_files import borrow_file

LENDER = Lender()
READ = ReadIndex(2, ProposerId("tmr1", "life"), 7)
ALICE = borrower()


def true(number: int, lender: Lender = LENDER, **terms: Any) -> BorrowSignature:
    return share(lender.terms(ALICE, **terms), lender.containers[number], lender.keys[number])


class Upstream:
    """The far end of a link, which answers with `shares`, the last of them again and again."""

    def __init__(self, *shares: BorrowSignature | LinkError) -> None:
        self._shares = list(shares)

    async def call(self, message: Any) -> Any:
        assert message == SignBorrowing("bor-1", READ)
        answer = self._shares.pop(0) if len(self._shares) > 1 else self._shares[0]
        if isinstance(answer, LinkError):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


def asked(*upstreams: Upstream, patience: float = 20.0) -> bytes:
    links = {f"up{number}": upstream for number, upstream in enumerate(upstreams, 1)}
    return asyncio.run(borrow_file(links, "bor-1", lambda: READ, patience=patience))


def failed(*upstreams: Upstream) -> str:
    with pytest.raises(ProblemError) as caught:
        asked(*upstreams, patience=0.3)
    assert caught.value.problem.type == "urn:tmr:problem:borrow-not-signed"
    return str(caught.value.problem.detail)


def test_two_true_upstreams_are_enough_whatever_the_third_does() -> None:
    silent = LinkError("up3", "connection refused")
    for third in (silent, forged(true(2)), true(2, user="somebody else")):
        for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
            upstreams = [Upstream(true(0)), Upstream(true(1)), Upstream(third)]
            file = asked(*(upstreams[i] for i in order))
            assert set(read(file, LENDER.vendor_pem).signers) == {c.serial for c in LENDER.containers[:2]}


def test_an_upstream_that_is_late_is_asked_again() -> None:
    late = LinkError("up2", "refused (404): not committed")
    file = asked(Upstream(true(0)), Upstream(late, late, late, true(1)), Upstream(late))
    assert read(file, LENDER.vendor_pem).borrow == "bor-1"


def forged(given: BorrowSignature) -> BorrowSignature:
    return msgspec.structs.replace(given, signature=bytes(64))


def of_other_update(given: BorrowSignature) -> BorrowSignature:
    other = Lender(item())
    return msgspec.structs.replace(given, update=other.containers[0].firms[0].update)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (forged, "tampered"),
        (of_other_update, "other-update"),
        (lambda given: msgspec.structs.replace(given, key=LENDER.containers[2].key), "tampered"),
        (lambda given: msgspec.structs.replace(given, update=b"{}"), "ill-formed"),
        (lambda given: msgspec.structs.replace(given, payload=b"{}"), "tampered"),
    ],
)
def test_a_share_that_does_not_hold_together_is_not_counted(
    change: Callable[[BorrowSignature], BorrowSignature], code: str
) -> None:
    with pytest.raises(BadBorrowSignature) as caught:
        check_share(change(true(1)))
    assert caught.value.code == code
    detail = failed(Upstream(true(0)), Upstream(change(true(1))), Upstream(LinkError("up3", "no route")))
    assert "up1: it signs" in detail
    assert f"up2: {caught.value.reason}" in detail
    assert "up3: no route" in detail


def test_a_copied_container_is_one_container() -> None:
    assert "up2: it signs" in failed(Upstream(true(0)), Upstream(true(0)))


def test_another_borrowing_is_not_taken_for_it() -> None:
    detail = failed(Upstream(true(0, borrow="bor-2")), Upstream(true(1, borrow="bor-2")))
    assert "up1: it signs another borrowing" in detail


def test_only_equal_shares_of_different_containers_make_a_file() -> None:
    for shares in (
        [],
        [true(0)],
        [true(0), true(0)],
        [true(0), true(1), true(2)],
        [true(0), true(1, user="x")],
    ):
        with pytest.raises(ValueError, match="borrow file"):
            seal_borrow_file(shares)


def test_whoever_gives_up_waiting_leaves_nothing_running() -> None:
    async def story() -> None:
        links = {"up1": Upstream(true(0)), "up2": Upstream(LinkError("up2", "no route"))}
        waiting: Coroutine[Any, Any, bytes] = borrow_file(links, "bor-1", lambda: READ, patience=60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.2)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(story())
