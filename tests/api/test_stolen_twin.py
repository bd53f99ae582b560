# SPDX-License-Identifier: Apache-2.0
"""A stolen twin against three real upstreams: with its real key it writes what it likes, to no gain."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from testbed.pki import System, make_system
from tests.support.stolen_twin import NAMES, STOLEN, TIME, TTL_MS, Site, Thief, refusals
from tests.support.upstream_process import ACT_ID
from tests.support.vendor import FIRM
from tests.unit.ledger.world import sealed
from tmr.ledger import Borrow, Consume, Grant, Ledger, RecordDenials, StateContainers, Trust
from tmr.ledger import encode as encode_command
from tmr.ledger.state import Stored
from tmr.licensing import (
    Licence,
    LicenceKey,
    ProductItem,
    SignedStatement,
    Statement,
    container_serial,
    raw_public_key,
    sign,
)
from tmr.quorum.entries import Membership, ProposerId, Snapshot, encode_membership
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Fenced,
    Install,
    Release,
    Released,
    RequestRefused,
    decode_request,
    encode,
)
from tmr.rpc.messages import ReadContainer
from tmr.rpc.upstream_client import LinkError

KEY = LicenceKey(FIRM, 1001, 1)
SEATS, UNITS = 2, 10


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, system: System) -> Iterator[Site]:
    """Founded, and its licence assembled: two seats, ten units. No test here leaves it worse."""
    made = Site(
        tmp_path_factory.mktemp("site"),
        system,
        Licence(
            product_code=1001, quantity=SEATS, expiration_ms=None, name="Editor", units=UNITS, borrow_s=600
        ),
    )

    async def begin(thief: Thief) -> None:
        await thief.found()
        await thief.term()
        assert refusals(await thief.order(StateContainers(await genuine(thief)))) == {}

    try:
        made.steal(begin)
        yield made
        for upstream in made.upstreams:
            assert upstream.process is not None
            assert upstream.process.poll() is None, "a twin can end an upstream"
    finally:
        made.close()


async def genuine(thief: Thief) -> tuple[SignedStatement, ...]:
    return tuple([await link.call(ReadContainer()) for link in thief.links.values()])


def forged(upstream: str, quantity: int = 1000) -> SignedStatement:
    """A container of the thief's own that says it is of this upstream."""
    key = Ed25519PrivateKey.generate()
    item = ProductItem(FIRM, 1001, 1, quantity=quantity, expiration_ms=None, name="Editor")
    serial = str(container_serial(raw_public_key(key)))
    return sign(Statement(upstream, serial, ACT_ID, 9, (item,)), key)


NOTHING = encode_command(RecordDenials(()))
"""A command that changes nothing."""


def grant(number: int, **values: Any) -> Grant:
    return msgspec.structs.replace(
        Grant(f"r-{number}", "eve", f"s-{number}", FIRM, 1001, (KEY,), "user-limit", 60, "eve"), **values
    )


def replayed(thief: Thief) -> Ledger:
    """The ledger that every upstream, and the next honest twin, makes of the thief's journal."""
    ledger = Ledger()
    for entry in thief.entries:
        if entry.kind == "command":
            ledger.apply(entry.index, entry.time_ms, entry.body)
    return ledger


async def agreed(thief: Thief) -> None:
    """All upstreams have the state that the journal gives: a wrong digest is refused."""
    last = len(thief.entries)
    replies = await thief.write([], digest_index=last, digest=replayed(thief).digest())
    assert all(isinstance(reply, Appended) and reply.state.commit == last for reply in replies.values())


# -- more than there is ------------------------------------------------------------------------------------


def test_the_journal_gives_out_no_more_seats_than_the_containers_hold(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        await thief.order(*(grant(number) for number in range(20)))
        assert replayed(thief).use(KEY).seats == SEATS
        await agreed(thief)

    site.steal(story)


def test_units_are_not_given_back(site: Site) -> None:
    """A number below zero would be as good as a refill."""

    async def story(thief: Thief) -> None:
        await thief.term()
        await thief.order(
            grant(100, mode="no-user-limit"),
            Consume("u-1", "eve", "s-100", 7),
        )
        for command in (
            Consume("u-2", "eve", "s-100", -1000),
            grant(101, mode="no-user-limit", units=-1000),
            Borrow("b-1", "eve", "b-1", FIRM, 1001, (KEY,), -600, "ab" * 32, "eve"),
        ):
            refused = refusals(await thief.order(command))
            assert set(refused) == set(NAMES)
            assert "cannot be read" in refused["up1"]
        ledger = replayed(thief)
        assert ledger.remaining(ledger.licences[KEY].item) == UNITS - 7
        assert not ledger.borrowings
        await agreed(thief)

    site.steal(story)


# -- licences that no vendor issued ------------------------------------------------------------------------


def test_containers_of_further_upstreams_are_nobodys(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        before = replayed(thief).licences
        await thief.order(StateContainers((forged("up4"), forged("up5"))))
        await thief.order(Trust("up4", bytes(32)), Trust("up5", bytes(32)))
        ledger = replayed(thief)
        assert dict(ledger.licences) == dict(before)
        assert set(ledger.trusted) == set(NAMES)
        await agreed(thief)

    site.steal(story)


def test_no_two_containers_can_be_replaced(site: Site) -> None:
    """Each upstream refuses another key for itself, so that no majority stores it for two."""

    async def story(thief: Thief) -> None:
        await thief.term()
        both = [forged("up1"), forged("up2")]
        commands = [Trust(f"up{number}", one.key) for number, one in enumerate(both, 1)]
        entries = [thief.entry(encode_command(one), after=after) for after, one in enumerate(commands)]
        # up3 alone would store them, and is no majority.
        replies = await thief.write(entries, "up1", "up2")
        assert set(refusals(replies)) == {"up1", "up2"}
        assert "another key for up1" in refusals(replies)["up1"]
        (second,) = (await thief.write([thief.entry(encode_command(commands[1]))], "up2")).values()
        assert isinstance(second, RequestRefused)

    site.steal(story)
    for upstream in site.upstreams[:2]:
        assert "no honest twin" in upstream.command("status").stdout
        assert upstream.output().count("message refused") >= 1


def test_no_snapshot_brings_containers_of_a_thief(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        ledger = replayed(thief)
        stored = msgspec.msgpack.decode(ledger.snapshot(), type=Stored)
        statements = {name: forged(name) for name in NAMES}
        stored.trusted = {name: one.key for name, one in statements.items()}
        stored.statements = statements
        replies = await thief.install(sealed(stored))
        assert set(refusals(replies)) == set(NAMES)
        assert "another key for up2" in refusals(replies)["up2"]

    site.steal(story)


def test_no_snapshot_changes_what_a_container_stated(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        stored = msgspec.msgpack.decode(replayed(thief).snapshot(), type=Stored)
        for name, signed in stored.statements.items():
            payload = signed.payload.replace(b"\xa8quantity\x02", b"\xa8quantity\x7f")
            assert payload != signed.payload
            stored.statements[name] = msgspec.structs.replace(signed, payload=payload)
        replies = await thief.install(sealed(stored))
        assert refusals(replies) == dict.fromkeys(NAMES, "the state cannot be read: BadStatement")

    site.steal(story)


def test_no_snapshot_gives_units_back_or_forgets_the_record(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        await thief.order(grant(200, mode="no-user-limit"), Consume("u-200", "eve", "s-200", 1))
        state = replayed(thief).snapshot()
        for change, words in (
            ({"counters": []}, "gives back units"),
            ({"heads": {}}, "forgets lines of the record"),
        ):
            stored = msgspec.msgpack.decode(state, type=Stored)
            for field, value in change.items():
                setattr(stored, field, value)
            replies = await thief.install(sealed(stored))
            assert set(refusals(replies)) == set(NAMES)
            assert words in refusals(replies)["up1"]
        for nonsense in (b"", b"\xc1", b"\x90", msgspec.msgpack.encode([b"x", {"up1": b"k"}])):
            assert set(refusals(await thief.install(nonsense))) == set(NAMES)
        await agreed(thief)

    site.steal(story)


# -- the protocol itself -----------------------------------------------------------------------------------


def test_a_twin_does_not_speak_for_the_other(site: Site) -> None:
    async def story(thief: Thief) -> None:
        thief.owner = ProposerId("tmr2", "forged")
        for name in NAMES:
            with pytest.raises(LinkError, match="speaks for 'tmr2'"):
                await thief.links[name].call(Release(1, thief.owner))

    site.steal(story)


def test_an_epoch_that_would_be_the_last_is_refused(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        last = 2**53 - 1
        for make in (
            lambda: Acquire(last, STOLEN, TTL_MS),
            lambda: Append(last, STOLEN, TTL_MS, 0, 0, (), 0),
        ):
            assert set(refusals(await thief.ask(make))) == set(NAMES)
        await agreed(thief)

    site.steal(story)


@pytest.mark.parametrize("number", [2**53, 2**63 - 1, 2**63, 2**64 - 1, -1])
def test_numbers_that_the_store_cannot_hold_are_no_message(site: Site, number: int) -> None:
    async def story(thief: Thief) -> None:
        for message in (
            Acquire(number, STOLEN, TTL_MS),
            Append(1, STOLEN, TTL_MS, number, 0, (), 0),
            Append(1, STOLEN, TTL_MS, 0, 0, (thief.entry(b"", time_ms=number),), 0),
            Install(1, STOLEN, number, snapshot=Snapshot(0, 0, 0, None, b"")),
        ):
            with pytest.raises(msgspec.DecodeError):
                decode_request(encode(message))
            with pytest.raises(LinkError, match=r"refused \(422\): The (frame|body) is no message"):
                await thief.links["up1"].call(message)

    site.steal(story)


def test_entries_that_break_the_journal_are_refused_and_end_nobody(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        last = len(thief.entries)
        wrong = {
            "stands where": [thief.entry(NOTHING, index=last + 5)],
            "is of epoch": [thief.entry(NOTHING, epoch=thief.epoch + 1)],
            "runs backwards": [thief.entry(NOTHING, time_ms=TIME - 10)],
            "leaps past": [thief.entry(NOTHING, time_ms=2**53 - 1)],
            "is the newest": [thief.entry(NOTHING, format=99)],
            "cannot be read": [thief.entry(b"\xc1", kind="members")],
        }
        for words, entries in wrong.items():
            replies = await thief.write(entries)
            assert set(refusals(replies)) == set(NAMES), words
            assert words in refusals(replies)["up1"]
        # The past: what is committed stays, whatever the epoch.
        rewritten = await thief.write(
            [thief.entry(b"", index=1, kind="term")], previous_index=0, previous_epoch=0, commit=0
        )
        assert "committed here" in refusals(rewritten)["up3"]
        beyond = await thief.write([], commit=10**6)
        assert all(reply.state.commit == last for reply in beyond.values())
        await agreed(thief)

    site.steal(story)


def test_members_that_are_there_are_not_replaced(site: Site) -> None:
    async def story(thief: Thief) -> None:
        await thief.term()
        one, two, three = thief.disks
        for disks, retired in (
            (("x", "y", "z"), (one, two, three)),
            (("x", "y", three), (one, two)),
            (("x", two, three), ()),
            ((one, one, three), (two,)),
        ):
            body = encode_membership(Membership(disks, retired))
            replies = await thief.write([thief.entry(body, kind="members")])
            assert set(refusals(replies)) == set(NAMES), disks

    site.steal(story)


def test_what_was_sent_before_does_nothing_again(site: Site) -> None:
    """Replayed: messages of a former epoch, of the same twin's former life, and of a lease given back."""

    async def story(thief: Thief) -> None:
        await thief.term()
        old = thief.epoch, thief.owner
        recorded = thief.entry(b"")
        await thief.ask(lambda: Release(thief.epoch, thief.owner))
        thief.owner = ProposerId("tmr1", "another life")
        await thief.term()
        before = {n: r.state for n, r in (await thief.write([])).items()}
        snapshot = Snapshot(99, 1, TIME, thief.membership, b"")
        for make in (
            lambda: Append(*old, TTL_MS, len(thief.entries), thief.epoch, (recorded,), 99),
            lambda: Append(thief.epoch, old[1], TTL_MS, len(thief.entries), thief.epoch, (recorded,), 99),
            lambda: Install(*old, TTL_MS, snapshot),
        ):
            replies = await thief.ask(make)
            assert all(isinstance(reply, Fenced) for reply in replies.values())
        released = await thief.ask(lambda: Release(*old))
        assert all(isinstance(reply, Released) for reply in released.values())
        after = {n: r.state for n, r in (await thief.write([])).items()}
        assert {n: (m.promised, m.last_index, m.commit) for n, m in after.items()} == {
            n: (m.promised, m.last_index, m.commit) for n, m in before.items()
        }
        again = thief.entry(b"", kind="term")
        for _ in range(2):  # the same append twice is stored once
            replies = await thief.write([again], previous_index=again.index - 1, previous_epoch=thief.epoch)
            thief.entries = thief.entries[: again.index]
            assert all(reply.state.last_index == again.index for reply in replies.values())
        given_back = thief.epoch, thief.owner
        await thief.ask(lambda: Release(*given_back))
        replies = await thief.ask(lambda: Append(*given_back, TTL_MS, 0, 0, (), 0))
        assert all(isinstance(reply, Fenced) for reply in replies.values())

    site.steal(story)


# -- what it can do: stated in docs/explanation/security.md ------------------------------------------------


def test_what_a_stolen_twin_can_destroy(tmp_path: Path, system: System) -> None:
    """Service, not licences. A test of what is admitted: should one of these become impossible, say so."""
    site = Site(
        tmp_path,
        system,
        Licence(product_code=1001, quantity=SEATS, expiration_ms=1_950_000_000_000, name="Editor"),
    )

    async def story(thief: Thief) -> None:
        await thief.found()
        await thief.term()
        await thief.order(StateContainers(await genuine(thief)), grant(1))
        await thief.order(grant(2), time_ms=1_950_000_000_000)
        ledger = replayed(thief)
        assert ledger.use(KEY).seats == 1, "time moved ahead ends licences for good"
        one, two, three = thief.disks
        body = encode_membership(Membership(("x", two, three), (one,)))
        replies = await thief.write([thief.entry(body, kind="members", time_ms=1_950_000_000_000)])
        assert set(refusals(replies)) == {"up1"}, "two others store that the third is replaced"
        wrong = await thief.write([], digest_index=len(thief.entries), digest=bytes(16))
        assert "up2" in refusals(wrong), "a wrong digest renews no lease"
        assert wrong["up2"].state.voting, "nor does it take a vote"

    try:
        site.steal(story)
    finally:
        site.close()
