# SPDX-License-Identifier: Apache-2.0
"""Messages of the quorum (MessagePack): decoded, and then handled by an upstream that has a journal."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tests.fuzz.targets.commands import COMMANDS, STATE
from tests.unit.ledger.world import START_MS, container_key
from tmr.ledger import Ledger, encode
from tmr.licensing import raw_public_key
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import AppendWrite, Durable, PromiseWrite, SnapshotWrite
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot, encode_membership
from tmr.quorum.messages import (
    Acquire,
    Append,
    Bootstrap,
    Install,
    Promise,
    Release,
    ReplicaState,
    Report,
    Subscribe,
    decode_reply,
    decode_request,
)
from tmr.quorum.messages import encode as pack
from tmr.quorum.validation import to_answer
from tmr.upstream.own_container import OwnContainerValidator

A: Final = ProposerId("tmr1", "a")
MEMBERS: Final = Membership(("d1", "d2", "d3"))
TRAIL: Final = tuple(
    Entry(10 + number, 3, START_MS + 60_000 + number, "command", encode(command))
    for number, command in enumerate(COMMANDS[:4], 1)
)
NEXT: Final = Entry(15, 4, START_MS + 70_000, "command", encode(COMMANDS[-1]))
SNAPSHOT: Final = Snapshot(10, 3, START_MS + 60_000, MEMBERS, STATE)
_LATER: Final = msgspec.structs.replace(SNAPSHOT, index=20, epoch=4, time_ms=START_MS + 80_000)
_MEMBERS: Final = msgspec.structs.replace(
    NEXT, kind="members", body=encode_membership(MEMBERS.replacing(1, "d4"))
)
SEEDS = [
    pack(message)
    for message in (
        Acquire(5, A, 2000, 14, 3),
        Append(4, A, 2000, 14, 3, (NEXT,), 15),
        Append(4, A, 2000, 13, 3, (TRAIL[-1], _MEMBERS), 15, 14, bytes(16)),
        Append(4, A, 2000, 8, 3, (), 9),
        Install(4, A, 2000, _LATER),
        Release(3, A),
        Subscribe(A, 3, 1, "", 0),
        Bootstrap(A, MEMBERS),
        Report(A, 4),
        Promise(ReplicaState("d1", True, 3, 14, 3, 12, START_MS), 5, A, SNAPSHOT, TRAIL),
    )
]


def _acceptor() -> Acceptor:
    ledger = Ledger()
    guard = OwnContainerValidator(ledger, "up1", raw_public_key(container_key(1)))
    return Acceptor(Durable("d1", True, 3, A, SNAPSHOT, list(TRAIL), 12), ledger, 0.0, 2.0, 1, guard)


def check(data: bytes) -> None:
    """Handled twice: a message comes again."""
    answer = _decoded(decode_reply, data)
    if answer is not None:
        to_answer(Acquire(5, A, 2000, 10, 3), answer, START_MS)
    message = _decoded(decode_request, data)
    if message is None:
        return
    acceptor = _acceptor()
    for now in (10.0, 11.0):
        before = acceptor.promised, acceptor.commit, acceptor.log.base
        answer = acceptor.handle(now, START_MS + 100_000, message)
        assert (acceptor.promised, acceptor.commit, acceptor.log.base) >= before
        assert acceptor.promised >= before[0]
        assert acceptor.commit >= before[1]
        assert decode_reply(pack(answer.reply)) == answer.reply
        assert to_answer(message, answer.reply, START_MS + 100_000) == "", "a twin takes it for an answer"
        for write in answer.writes:
            _fits(write)


def _decoded(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except msgspec.MsgspecError:
        return None


def _fits(write: object) -> None:
    """SQLite takes integers of 64 bits with a sign."""
    match write:
        case PromiseWrite(epoch, _):
            assert epoch < 2**63
        case AppendWrite(entries):
            assert all(max(e.index, e.epoch, e.time_ms, e.format) < 2**63 for e in entries)
        case SnapshotWrite(snapshot, _):
            assert max(snapshot.index, snapshot.epoch, snapshot.time_ms) < 2**63
