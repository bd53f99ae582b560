# SPDX-License-Identifier: Apache-2.0
"""Messages that a member refuses from a active twin: they change nothing, and grant nothing."""

from typing import Any

import msgspec
import pytest

from tmr.ledger import Ledger
from tmr.licensing.spelling import TIME_MS_MAX
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.entries import (
    BODY_MAX,
    Entry,
    Membership,
    ProposerId,
    Snapshot,
    encode_format,
    encode_membership,
)
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Conflict,
    Install,
    Promise,
    ReplicaState,
    RequestRefused,
    Subscribe,
    Subscribed,
    decode_request,
)
from tmr.quorum.validation import EPOCHS, LEAP_MS, to_answer

A = ProposerId("tmr1", "a")
MEMBERS = Membership(("d1", "d2", "d3"))
WALL = 1_800_000_000_000


def entry(index: int, epoch: int = 1, **values: Any) -> Entry:
    return Entry(
        **{"index": index, "epoch": epoch, "time_ms": WALL + index, "kind": "term", "body": b"", **values}
    )


def member(*entries: Entry, commit: int = 0) -> Acceptor:
    durable = Durable("d1", True, 1, A, Snapshot(0, 0, 0, MEMBERS, b""), list(entries), commit)
    return Acceptor(durable, Ledger(), 0.0, 2.0)


def send(acceptor: Acceptor, *entries: Entry, previous: tuple[int, int], epoch: int = 2) -> Any:
    message = Append(epoch, A, 2000, *previous, entries, 0)
    return acceptor.handle(10.0, WALL, message)


def members(before: Membership, slot: int, disk: str) -> bytes:
    return encode_membership(before.replacing(slot, disk))


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("stands where 3", [entry(4)]),
        ("stands where 4", [entry(3), entry(5)]),
        ("is of epoch 3", [entry(3, 3)]),
        ("is of epoch 0", [entry(3, 0)]),
        ("is of epoch 1, between 2", [entry(3, 2), entry(4, 1)]),
        ("runs backwards", [entry(3, time_ms=WALL)]),
        ("leaps past", [entry(3, time_ms=TIME_MS_MAX + 1)]),
        ("formats only rise", [entry(3, kind="format", body=encode_format(1))]),
        ("where 1 is in force", [entry(3, format=0)]),
        ("more than", [entry(3, body=bytes(BODY_MAX + 1))]),
        ("cannot be read", [entry(3, kind="members", body=b"\xc1")]),
        ("own disk", [entry(3, kind="members", body=members(MEMBERS, 0, "d4"))]),
        ("by one disk", [entry(3, kind="members", body=encode_membership(Membership(("d1", "x", "y"))))]),
        ("by one disk", [entry(3, kind="members", body=encode_membership(Membership(("d1", "x", "d3"))))]),
        (
            "by one disk",
            [entry(3, kind="members", body=encode_membership(Membership(("d1", "d2", "d3"), ("x", "y"))))],
        ),
        ("is a member", [entry(3, kind="members", body=members(MEMBERS, 1, "d3"))]),
        (
            "was retired",
            [
                entry(3, kind="members", body=members(MEMBERS, 1, "d4")),
                entry(4, kind="members", body=members(MEMBERS.replacing(1, "d4"), 1, "d2")),
            ],
        ),
    ],
)
def test_entries_that_no_honest_twin_sends(words: str, wrong: list[Entry]) -> None:
    acceptor = member(entry(1), entry(2), commit=1)
    answer = send(acceptor, *wrong, previous=(2, 1))
    assert isinstance(answer.reply, RequestRefused)
    assert words in answer.reply.reason
    assert answer.reply.reason == acceptor.refused
    assert not answer.writes
    assert (acceptor.promised, acceptor.log.last) == (1, 2)
    assert acceptor.live_holder(10.0) is None, "a refused message renews no lease"


def test_what_is_committed_is_not_rewritten() -> None:
    acceptor = member(entry(1), entry(2), entry(3), commit=2)
    answer = send(acceptor, entry(2, 2), previous=(1, 1))
    assert isinstance(answer.reply, RequestRefused)
    assert "committed here" in answer.reply.reason
    answer = send(acceptor, entry(3, 2), previous=(2, 1))
    assert isinstance(answer.reply, Appended), "what is not committed is"


def test_what_follows_a_new_entry_is_looked_at_whatever_stood_there() -> None:
    """Entries with the epoch of those that they replace must not slip through as known."""
    acceptor = member(entry(1), entry(2), entry(3, 2), commit=1)
    bad = entry(3, 2, kind="members", body=b"\xc1")
    assert isinstance(send(acceptor, entry(2, 2), bad, previous=(1, 1)).reply, RequestRefused)


def test_one_disk_may_take_the_place_of_another() -> None:
    acceptor = member(entry(1), commit=1)
    good = entry(2, kind="members", body=members(MEMBERS, 1, "d4"))
    assert isinstance(send(acceptor, good, previous=(1, 1)).reply, Appended)
    assert acceptor.log.membership == MEMBERS.replacing(1, "d4")


@pytest.mark.parametrize("before", [("d1", "d2", "d4"), ("d1", "d2", "d5")])
def test_who_was_founded_with_another_disk_takes_the_change_of_the_others(
    before: tuple[str, str, str],
) -> None:
    """A disk may be lost while the system is founded: two members then know different ones in its place."""
    durable = Durable("d1", True, 1, A, Snapshot(0, 0, 0, Membership(before), b""), [entry(1)], 1)
    acceptor = Acceptor(durable, Ledger(), 0.0, 2.0)
    change = entry(2, kind="members", body=members(MEMBERS, 2, "d4"))
    assert isinstance(send(acceptor, change, previous=(1, 1)).reply, Appended)
    assert acceptor.log.membership == MEMBERS.replacing(2, "d4")


def test_a_member_that_was_founded_apart_is_readmitted_where_it_is() -> None:
    """The two others were founded with the disk that was lost meanwhile (seed 1795627577009)."""
    acceptor = member(entry(1), commit=1)
    readmitted = encode_membership(Membership(("d0", "d2", "d3")).replacing(0, "d1"))
    assert isinstance(
        send(acceptor, entry(2, kind="members", body=readmitted), previous=(1, 1)).reply, Appended
    )
    assert acceptor.log.membership == Membership(("d1", "d2", "d3"), ("d0",))


def test_another_history_is_a_conflict_and_no_offence() -> None:
    acceptor = member(entry(1), entry(2, 5), commit=1)
    acceptor.promised = 5
    answer = send(acceptor, entry(3, 3), previous=(2, 3), epoch=6)
    assert isinstance(answer.reply, Conflict)
    assert acceptor.refused == ""


def test_time_goes_on_after_the_year_9999() -> None:
    acceptor = member(entry(1, time_ms=TIME_MS_MAX), commit=1)
    assert isinstance(
        send(acceptor, entry(2, time_ms=TIME_MS_MAX + LEAP_MS), previous=(1, 1)).reply, Appended
    )


@pytest.mark.parametrize("wall", [0, WALL])
def test_an_epoch_is_one_that_can_have_been_reached(wall: int) -> None:
    acceptor = member(entry(1), commit=1)
    most = max(EPOCHS, wall)
    snapshot = Snapshot(5, 1, WALL + 5, MEMBERS, b"")
    for message in (
        Acquire(most + 1, A, 2000),
        Append(most + 1, A, 2000, 1, 1, (), 0),
        Install(most + 1, A, 2000, snapshot),
    ):
        reply = acceptor.handle(10.0, wall, message).reply
        assert isinstance(reply, RequestRefused)
    assert acceptor.promised == 1
    assert not isinstance(acceptor.handle(10.0, wall, Acquire(most, A, 2000)).reply, RequestRefused)


@pytest.mark.parametrize(
    ("words", "snapshot"),
    [
        ("of epoch 9", Snapshot(5, 9, WALL + 5, MEMBERS, b"")),
        ("runs backwards", Snapshot(5, 1, WALL, MEMBERS, b"")),
        ("forgets disks", Snapshot(5, 1, WALL + 5, Membership(("d1", "d4", "d3")), b"")),
        ("own disk", Snapshot(5, 1, WALL + 5, Membership(("x", "d1", "d3"), ("d2",)), b"")),
    ],
)
def test_snapshots_that_no_honest_twin_sends(words: str, snapshot: Snapshot) -> None:
    changed = entry(2, kind="members", body=members(MEMBERS, 1, "d4"))
    acceptor = member(entry(1), changed, commit=2)
    reply = acceptor.handle(10.0, WALL, Install(2, A, 2000, snapshot)).reply
    assert isinstance(reply, RequestRefused)
    assert words in reply.reason
    assert acceptor.log.last == 2


MEMBER = ReplicaState("d1", True, 1, 3, 1, 2, WALL)
ASKED = Acquire(2, A, 2000, 1, 1)
FULL = Snapshot(1, 1, WALL + 1, MEMBERS, b"")


def promise(*entries: Entry, snapshot: Snapshot | None = None, **said: Any) -> Promise:
    return Promise(msgspec.structs.replace(MEMBER, **said), 2, A, snapshot, entries)


def followed(*entries: Entry) -> Subscribed:
    return Subscribed(MEMBER, A, "tmr1", 1, 500, None, entries)


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        ("", promise(entry(2), entry(3))),
        ("", promise(entry(2), entry(3), snapshot=FULL)),
        ("", promise(last_index=1, commit=1)),
        ("", promise(last_index=0, last_epoch=0, commit=0)),
        ("", followed(entry(2))),
        ("", followed()),
        ("beyond any", promise(promised=2**53)),
        ("said to be committed", promise(entry(2), entry(3), commit=4)),
        ("stands where 2", promise(entry(3))),
        ("stands where 2", followed(entry(4))),
        ("stands where 3", promise(entry(2), entry(4))),
        ("runs backwards", promise(entry(2, 2), entry(3, 1))),
        ("runs backwards", followed(entry(2), entry(3, time_ms=1))),
        ("cannot be read", followed(entry(2, kind="members", body=b"\xc1"))),
        ("says otherwise", promise(entry(2), entry(3), last_epoch=9)),
        ("says otherwise", promise(entry(2), last_index=7)),
        ("keeps back", promise()),
    ],
)
def test_answers_that_no_honest_upstream_gives(words: str, reply: Any) -> None:
    """They would end the twin, or have it adopt a journal that nobody has."""
    asked = Subscribe(A, 1, 1, "", 0) if isinstance(reply, Subscribed) else ASKED
    why = to_answer(asked, reply, WALL)
    assert (words in why) if words else (why == "")


@pytest.mark.parametrize(
    "data", [b"\x82\xa4type\xa6append\xa3zzz" + b"\x91" * 200_000, b"\x81\xa4type\xa1\xff"]
)
def test_a_message_is_a_decode_error_or_a_message(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_request(data)
