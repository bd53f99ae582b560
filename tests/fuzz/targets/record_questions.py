# SPDX-License-Identifier: Apache-2.0
"""Questions about the licence tracking record and their answers, and lines of it that a twin brings."""

import sqlite3
from typing import Final

import msgspec

from tests.support.record import FIRM, head_of, lines
from tmr.ledger.export import RecordSpan
from tmr.ledger.record import unbroken
from tmr.rpc.record_messages import (
    AttestRecord,
    LinePage,
    LinesStored,
    ListRecords,
    ReadLines,
    RecordAttested,
    StoreLines,
)
from tmr.rpc.registry import RPCS, Transport, decode_message, decode_reply, encode
from tmr.upstream.record import TABLES, Record

_LINES: Final = lines(6)
TRUTH: Final = tuple(_LINES)
_HEAD: Final = head_of(_LINES)
SEEDS = [
    encode(one)
    for one in (
        ListRecords(3),
        ReadLines(FIRM, 1, 4, backwards=True),
        StoreLines(FIRM, TRUTH[2:]),
        AttestRecord(FIRM, 0, 5000, 6, _HEAD.hash, 6, 2),
        LinePage(TRUTH[:2]),
        LinesStored(2, "why"),
        RecordAttested(RecordSpan(FIRM, None, None, 1, "00" * 32, 6, _HEAD.hash.hex(), True), b"{}"),
    )
]


def check(data: bytes) -> None:
    """What is a question is put to a record that has nothing yet but knows where the chain stands."""
    for rpc in RPCS:
        if rpc.transport is Transport.HTTP_ORDERED:
            try:
                answer = decode_reply(rpc.message, data)
            except msgspec.MsgspecError:
                continue
            assert decode_reply(rpc.message, encode(answer)) == answer
    try:
        question = decode_message(data)
    except msgspec.MsgspecError:
        return
    database = sqlite3.connect(":memory:", isolation_level=None)
    try:
        database.executescript(TABLES)
        record = Record(database)
        match question:
            case StoreLines(_, brought) if brought and all(line.firm_code == FIRM for line in brought):
                filled = record.store(brought, _HEAD)
                assert not filled.stored or unbroken(record.read(FIRM, 1, 6) or list(TRUTH))
                assert {line.hash for line in record.read(FIRM, 1, 6)} <= {line.hash for line in TRUTH}
            case ReadLines(firm, first, last, backwards):
                assert record.read(firm, first, last, backwards=backwards) == []
    finally:
        database.close()
