# SPDX-License-Identifier: Apache-2.0
"""An upstream signs what is committed, on disk, and the vendor's; whatever a twin put into the journal."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.lending import ACT_ID, FIRM, FROM_MS, Lender, item
from tests.unit.upstream.test_acceptor_runner import A, B, Rig, rig, scenario, turns
from tmr.ledger import Borrow, Command, GiveBack, Ledger, StateContainers, Trust, Withdraw, encode
from tmr.licensing import Container, LicenceKey, ProductItem, check_share, raw_public_key, share, sign
from tmr.net.problem import ProblemError
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.entries import Entry
from tmr.quorum.messages import Append, Release
from tmr.quorum.read_index import ReadIndex
from tmr.runtime.clock import boottime
from tmr.upstream.borrowings import Borrowings, lent_terms
from tmr.upstream.container_store import ContainerStore

KEY = LicenceKey(FIRM, 201, 1)


def borrow(borrow: str = "bor-1", seconds: int = 3600) -> Borrow:
    return Borrow(f"request-{borrow}", "alice", borrow, FIRM, 201, (KEY,), seconds, "ab" * 32, "cad-07")


def journal(*commands: Command) -> tuple[Entry, ...]:
    return tuple(Entry(i, 1, FROM_MS + i, "command", encode(c)) for i, c in enumerate(commands, 1))


def known(lender: Lender) -> StateContainers:
    """What the three containers state."""
    return StateContainers(
        tuple(
            sign(container.statement(f"up{number}"), key)
            for number, (container, key) in enumerate(zip(lender.containers, lender.keys, strict=True), 1)
        )
    )


class Upstream:
    """The first container of a lender behind a node whose disk can be stopped."""

    def __init__(self, made: Rig, lender: Lender) -> None:
        self.made = made
        self.ledger = Ledger()
        self.runner = made.runner
        self.runner.acceptor = Acceptor(made.store.load(), self.ledger, boottime(), 60.0)
        self.container_store = ContainerStore(
            made.store, "up1", lender.containers[0], lender.keys[0], made.directory
        )
        self.borrowings = Borrowings(self.runner, self.container_store, self.ledger)
        self.read = ReadIndex(1, A, 0)
        """What the twin asks with: its term, and how far it has committed."""

    async def append(self, entries: tuple[Entry, ...], commit: int) -> None:
        await self.runner.call(Append(1, A, 60_000, 0, 0, entries, commit))
        self.read = ReadIndex(1, A, commit)

    async def refusal(self, borrow: str = "bor-1") -> str:
        with pytest.raises(ProblemError) as caught:
            await self.borrowings.share(borrow, self.read)
        code: str = caught.value.problem.refusal
        return code


@scenario
async def test_nothing_is_signed_before_what_it_rests_on_is_on_disk(tmp_path: Path) -> None:
    lender = Lender()
    async with rig(tmp_path) as made:
        upstream = Upstream(made, lender)
        made.store.guard.clear()
        entries = journal(known(lender), borrow())
        appended = asyncio.create_task(upstream.append(entries, 2))
        await turns()
        assert "bor-1" in upstream.ledger.borrowings
        signing = asyncio.create_task(upstream.borrowings.share("bor-1", upstream.read))
        await turns()
        assert not signing.done()
        made.store.guard.set()
        await appended
        lent = check_share(await signing).lent
        assert (lent.borrow, lent.from_ms, lent.until_ms) == ("bor-1", FROM_MS + 2, FROM_MS + 2 + 3_600_000)
        assert lent.item == item()
        assert made.failures == []


@scenario
async def test_a_licence_that_a_twin_invented_is_committed_but_not_signed(tmp_path: Path) -> None:
    """`Trust` is carried out on the twin's word: with it a stolen twin can bring containers of its own."""
    lender = Lender()
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    invented: ProductItem = item(quantity=1000, feature_map=2**32 - 1, expiration_ms=None)
    forged = [
        msgspec.structs.replace(
            Container.create(ACT_ID, raw_public_key(key)), generation=9, items=(invented,)
        )
        for key in keys
    ]
    commands: list[Command] = [known(lender)]
    for number, (container, key) in enumerate(zip(forged, keys, strict=True), 2):
        commands += [
            Trust(f"up{number}", container.key),
            StateContainers((sign(container.statement(f"up{number}"), key),)),
        ]
    async with rig(tmp_path) as made:
        upstream = Upstream(made, lender)
        await upstream.append(journal(*commands, borrow()), len(commands) + 1)
        assert upstream.ledger.licences[KEY].item == invented
        assert "bor-1" in upstream.ledger.borrowings
        assert await upstream.refusal() == "item-differs"


@scenario
async def test_a_licence_that_was_withdrawn_is_not_signed(tmp_path: Path) -> None:
    lender = Lender()
    before = known(lender)
    lender.update(item(tmr_id=2))
    async with rig(tmp_path) as made:
        upstream = Upstream(made, lender)
        await upstream.append(journal(before, borrow()), 2)
        assert await upstream.refusal() == "item-differs"
        await upstream.append(journal(before, borrow(), known(lender)), 3)
        assert await upstream.refusal() == "unavailable"
        assert await upstream.refusal("bor-2") == "not-committed"


@scenario
async def test_what_was_returned_is_not_signed_again(tmp_path: Path) -> None:
    lender = Lender()
    async with rig(tmp_path) as made:
        upstream = Upstream(made, lender)
        entries = journal(known(lender), borrow(), GiveBack("bor-1", "alice", "release"))
        await upstream.append(entries[:2], 2)
        assert await upstream.borrowings.share("bor-1", upstream.read)
        await upstream.append(entries, 3)
        assert await upstream.refusal() == "not-committed"


@scenario
async def test_an_upstream_that_does_not_vote_signs_nothing(tmp_path: Path) -> None:
    lender = Lender()
    async with rig(tmp_path) as made:
        upstream = Upstream(made, lender)
        await upstream.append(journal(known(lender), borrow()), 2)
        assert check_share(await upstream.borrowings.share("bor-1", upstream.read)).signers == 2
        upstream.runner.acceptor.voting = False
        assert await upstream.refusal() == "not-voting"


def test_every_ledger_that_applied_the_borrowing_lends_the_same_bytes() -> None:
    lender = Lender()
    entries = journal(known(lender), borrow(), borrow("bor-2", 7200))
    payloads = set()
    for number, (container, key) in enumerate(zip(lender.containers, lender.keys, strict=True)):
        ledger = Ledger()
        for entry in entries[: 2 + number % 2]:  # one of them is further than the others
            ledger.apply(entry.index, entry.time_ms, entry.body)
        if number == 2:  # one was restored from a snapshot
            state, ledger = ledger.snapshot(), Ledger()
            ledger.restore(state)
        payloads.add(share(lent_terms(ledger, "bor-1"), container, key).payload)
    assert len(payloads) == 1


@scenario
async def test_only_the_holder_of_the_lease_gets_a_signature_of_what_it_has_committed(tmp_path: Path) -> None:
    """The give-back is committed and answered, and this upstream has not applied it yet."""
    lender = Lender()
    async with rig(tmp_path) as made:
        upstream = Upstream(made, lender)
        entries = journal(known(lender), borrow(), GiveBack("bor-1", "alice", "release"))
        await upstream.append(entries, 2)
        assert await upstream.borrowings.share("bor-1", ReadIndex(1, A, 2))
        for read, code in (
            (ReadIndex(1, A, 3), "not-applied"),
            (ReadIndex(2, A, 2), "fenced"),
            (ReadIndex(0, A, 2), "fenced"),
            (ReadIndex(1, B, 2), "fenced"),
        ):
            upstream.read = read
            assert await upstream.refusal() == code
        upstream.read = ReadIndex(1, A, 2)
        made.runner.acceptor.rolled_back = True
        assert await upstream.refusal() == "rolled-back"
        made.runner.acceptor.rolled_back = False
        await made.runner.call(Release(1, A))
        assert await upstream.refusal() == "fenced", "nobody holds the lease"


@scenario
async def test_a_container_that_is_not_the_one_believed_signs_nothing(tmp_path: Path) -> None:
    lender = Lender()
    async with rig(tmp_path) as made:
        upstream = Upstream(made, lender)
        await upstream.append(journal(known(lender), borrow(), Withdraw("up1", "ab" * 32)), 3)
        assert await upstream.refusal() == "unavailable"
