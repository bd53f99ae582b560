# SPDX-License-Identifier: Apache-2.0
"""Formats of the journal: an older version refuses what is newer, and says which version it takes."""

from typing import Any

import msgspec
import pytest

from tmr.ledger import CommandBatch, Free, Ledger
from tmr.ledger import encode as encode_command
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot, encode_format
from tmr.quorum.formats import Announcements, NewerFormat
from tmr.quorum.lease import Timing
from tmr.quorum.log import Log
from tmr.quorum.messages import (
    Acquire,
    Append,
    Install,
    Request,
    RequestRefused,
    Subscribe,
    Subscribed,
    decode_request,
    encode,
)
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer

A, B = ProposerId("tmr1", "a"), ProposerId("tmr2", "b")
MEMBERS = Membership(("d1", "d2", "d3"))
FOUNDED = Snapshot(0, 0, 0, MEMBERS, b"")
TERM = Entry(1, 2, 1_000, "term", b"")
BEGINS = Entry(2, 2, 1_001, "format", encode_format(2))
AFTER = Entry(3, 2, 1_002, "term", b"", 2)

UNKNOWN = msgspec.msgpack.encode({"type": "reserve", "seats": 2, "client": "alice"})
"""A command of a newer version."""
WITH_MORE = msgspec.msgpack.encode({"type": "record-denials", "denials": [], "priority": 7})
"""A command that this version knows, and a field that it does not."""
HIDDEN = encode_command(CommandBatch((encode_command(Free("s" * 32, None, "expiry")), UNKNOWN)))
"""Among others in one entry."""


def acceptor(*entries: Entry, newest: int = 1) -> Acceptor:
    durable = Durable("d1", True, 2, A, FOUNDED, [TERM, *entries], 1 + len(entries), granted_ms=0)
    return Acceptor(durable, Ledger(), 0.0, 2.0, newest=newest)


def append(*entries: Entry) -> Append:
    return Append(2, A, 2_000, 1, 2, entries, 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("format 2, and 1 is the newest", append(BEGINS)),
        ("format 2, and 1 is the newest", append(Entry(2, 2, 1_001, "command", b"", 2))),
        ("of the kind 'barrier'", append(Entry(2, 2, 1_001, "barrier", b""))),
        ("cannot be read", append(Entry(2, 2, 1_001, "format", b"\xc1"))),
        ("its command cannot be read", append(Entry(2, 2, 1_001, "command", UNKNOWN))),
        ("its command cannot be read", append(Entry(2, 2, 1_001, "command", WITH_MORE))),
        ("its command cannot be read", append(Entry(2, 2, 1_001, "command", HIDDEN))),
        ("format 2, and 1 is", Install(2, A, 2_000, Snapshot(9, 2, 1_009, MEMBERS, b"new", 2))),
    ],
)
def test_an_older_upstream_refuses_what_is_newer_and_changes_nothing(words: str, message: Request) -> None:
    member = acceptor()
    answer = member.handle(1.0, 2_000, decode_request(encode(message)))
    assert isinstance(answer.reply, RequestRefused)
    assert words in answer.reply.reason
    assert member.outdated == answer.reply.reason
    assert not answer.writes
    assert not member.refused
    assert member.log.last == 1


def test_an_older_version_does_not_start_on_a_newer_store() -> None:
    with pytest.raises(NewerFormat, match="install the version"):
        acceptor(BEGINS, AFTER)
    assert acceptor(BEGINS, AFTER, newest=2).log.format == 2


def test_no_version_starts_on_commands_that_it_does_not_know() -> None:
    with pytest.raises(NewerFormat, match="its command cannot be read"):
        acceptor(Entry(2, 2, 1_001, "command", UNKNOWN))


def following(*journals: Acceptor) -> Proposer:
    """A twin without memory that has polled these upstreams, each of them twice with entries."""
    twin = Proposer(B, 1, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 0.0, lambda: 0.0)
    twin.eligible = False
    for at in range(1, 9):
        twin.tick(float(at))
        for send in [one for one in twin.take() if isinstance(one, Send)]:
            reply = journals[send.replica].handle(float(at), 2_000, send.request).reply
            twin.receive(at + 0.1, send.replica, send.at, send.request, reply)
        for progress in twin.replicas:
            progress.subscribed = False
    twin.eligible = True
    return twin


def knowing(*bodies: bytes) -> Acceptor:
    """An upstream of a version that knows these commands."""

    class Knows(Ledger):
        def unreadable(self, body: bytes, entry_format: int = 1) -> str:
            return ""

    entries = [Entry(index, 2, 1_001, "command", body) for index, body in enumerate(bodies, 2)]
    durable = Durable("d1", True, 2, A, FOUNDED, [TERM, *entries], 1 + len(entries), granted_ms=0)
    return Acceptor(durable, Knows(), 0.0, 2.0)


def test_a_twin_does_not_apply_a_command_that_it_does_not_know_and_says_so() -> None:
    twin = following(*[knowing(UNKNOWN) for _ in range(3)])
    assert "entry 2: its command cannot be read" in twin.outdated
    assert twin.commit == 0
    twin.tick(100.0)
    sent: list[Any] = [one.request for one in twin.take() if isinstance(one, Send)]
    assert not [request for request in sent if isinstance(request, Acquire)]
    assert not any(request.entries for request in sent if isinstance(request, Subscribe)), (
        "it is not sent again"
    )


def test_one_upstream_with_such_a_command_stops_no_twin() -> None:
    twin = following(knowing(UNKNOWN), knowing(), knowing())
    assert twin.outdated == ""
    assert twin.commit == 1


def test_an_older_twin_gets_neither_the_lease_nor_entries() -> None:
    member = acceptor(BEGINS, AFTER, newest=2)
    for pre_vote in (True, False):
        asked = member.handle(9.0, 2_000, Acquire(5, B, 2_000, pre_vote=pre_vote)).reply
        assert isinstance(asked, RequestRefused)
        assert "1 is the newest" in asked.reason
    followed = member.handle(9.0, 2_000, Subscribe(B, 0, 0, "?", -1)).reply
    assert isinstance(followed, Subscribed)
    assert not followed.entries
    assert followed.snapshot is None
    assert followed.state.needs == 2
    assert [(heard.twin, heard.format) for heard in followed.state.twins] == [("tmr2", 1)]
    assert member.announced.outdated(2) == ("tmr2",)
    known = member.handle(9.0, 2_000, Subscribe(B, 0, 0, "?", -1, format=2)).reply
    assert isinstance(known, Subscribed)
    assert len(known.entries) == 3


def test_an_older_twin_says_so_and_stands_for_no_election() -> None:
    twin = Proposer(B, 1, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 0.0, lambda: 0.0)
    member = acceptor(BEGINS, AFTER, newest=2)
    twin.tick(0.01)
    for send in [one for one in twin.take() if isinstance(one, Send)]:
        twin.receive(0.02, send.replica, send.at, send.request, member.handle(9.0, 2_000, send.request).reply)
    assert "1 is the newest" in twin.outdated
    twin.tick(100.0)
    sent: list[Any] = [one.request for one in twin.take() if isinstance(one, Send)]
    assert not [request for request in sent if isinstance(request, Acquire)]
    assert twin.commit == 0


def test_one_upstream_alone_keeps_no_twin_from_an_election() -> None:
    twin = Proposer(B, 1, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 0.0, lambda: 0.0)
    newer, known = acceptor(BEGINS, AFTER, newest=2), acceptor()
    twin.tick(0.01)
    for send in [one for one in twin.take() if isinstance(one, Send)]:
        member = newer if send.replica == 0 else known
        twin.receive(0.02, send.replica, send.at, send.request, member.handle(9.0, 2_000, send.request).reply)
    assert twin.outdated == ""
    twin.tick(100.0)
    sent: list[Any] = [one.request for one in twin.take() if isinstance(one, Send)]
    assert [request for request in sent if isinstance(request, Acquire)]


def test_the_format_in_force_follows_the_log() -> None:
    log = Log.after(FOUNDED, [TERM, BEGINS, AFTER])
    assert [log.format_at(index) for index in range(4)] == [1, 1, 2, 2]
    log.compact(2)
    assert (log.format_at(2), log.format) == (2, 2)
    cut = Log.after(FOUNDED, [TERM, BEGINS, AFTER])
    cut.cut(1)
    assert cut.format == 1


def test_the_last_announcement_of_two_twins_is_kept() -> None:
    member = acceptor(newest=2)
    for at, (twin, newest) in enumerate([("tmr1", 1), ("tmr2", 2), ("tmr1", 2), ("tmr3", 1)]):
        member.handle(float(at), 2_000, Subscribe(ProposerId(twin, "n"), 0, 0, "?", -1, format=newest))
    heard = member.handle(4.0, 2_000, Append(1, A, 2_000, 1, 2, (), 1)).reply.state.twins
    assert [(one.twin, one.format) for one in heard] == [("tmr1", 2), ("tmr3", 1)]


def test_what_twins_announce_is_put_together_once_for_each_change() -> None:
    announcements = Announcements()
    announcements.note("tmr2", 1)
    announcements.note("tmr1", 2)
    told = announcements.heard
    assert [(heard.twin, heard.format) for heard in told] == [("tmr1", 2), ("tmr2", 1)]
    announcements.note("tmr2", 1)
    assert announcements.heard is told
    announcements.note("tmr2", 2)
    assert [heard.format for heard in announcements.heard] == [2, 2]
    announcements.note("tmr3", 3)
    assert [heard.twin for heard in announcements.heard] == ["tmr2", "tmr3"], "the two heard last"
