"""Questions about the licence tracking record and their answers, and lines of it that a twin brings."""

import sqlite3
from typing import Final

import msgspec

from tests.support.record import FIRM, head_of, lines
from tmr.ledger.export import Span
from tmr.ledger.record import unbroken
from tmr.rim import record_wire
from tmr.rim.record_wire import Attest, Attested, Fill, Filled, Look, Page, Read
from tmr.upstream.record import TABLES, Record

_LINES: Final = lines(6)
TRUTH: Final = tuple(_LINES)
_HEAD: Final = head_of(_LINES)
SEEDS = [
    record_wire.encode(one)
    for one in (
        Look(3),
        Read(FIRM, 1, 4, backwards=True),
        Fill(FIRM, TRUTH[2:]),
        Attest(FIRM, 0, 5000, 6, _HEAD.hash, 6, 2),
        Page(TRUTH[:2]),
        Filled(2, "why"),
        Attested(Span(FIRM, None, None, 1, "00" * 32, 6, _HEAD.hash.hex(), True), b"{}"),
    )
]


def check(data: bytes) -> None:
    """What is a question is put to a record that has nothing yet but knows where the chain stands."""
    try:
        answer = record_wire.decode_answer(data)
    except msgspec.MsgspecError:
        pass
    else:
        assert record_wire.decode_answer(record_wire.encode(answer)) == answer
    try:
        question = record_wire.decode_question(data)
    except msgspec.MsgspecError:
        return
    database = sqlite3.connect(":memory:", isolation_level=None)
    try:
        database.executescript(TABLES)
        record = Record(database)
        match question:
            case Fill(_, brought) if brought and all(line.firm_code == FIRM for line in brought):
                filled = record.fill(brought, _HEAD)
                assert not filled.stored or unbroken(record.read(FIRM, 1, 6) or list(TRUTH))
                assert {line.hash for line in record.read(FIRM, 1, 6)} <= {line.hash for line in TRUTH}
            case Read(firm, first, last, backwards):
                assert record.read(firm, first, last, backwards=backwards) == []
    finally:
        database.close()
