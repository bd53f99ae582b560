# SPDX-License-Identifier: Apache-2.0
"""Schema of the store: its tables, the rows of the journal, and transactions."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

from tmr.quorum.entries import Entry, checksum
from tmr.upstream.record import TABLES as RECORD_TABLES

FILE: Final = "upstream.db"
DAMAGED_FILE: Final = "upstream.db.damaged"
"""Below the state directory: the store as it was when damage was found first."""
CHECK_FILE: Final = "check-the-record"
"""Below the state directory: check the record at the next start, however large it is."""
SCHEMA: Final = 2
TABLES: Final = """
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1), replica_id TEXT NOT NULL, machine TEXT NOT NULL,
    voting INTEGER NOT NULL, promised INTEGER NOT NULL, twin TEXT, incarnation TEXT,
    committed INTEGER NOT NULL
) STRICT;
CREATE TABLE journal (
    idx INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, time_ms INTEGER NOT NULL, kind TEXT NOT NULL,
    body BLOB NOT NULL, format INTEGER NOT NULL, checksum BLOB NOT NULL
) STRICT;
CREATE TABLE snapshot (
    id INTEGER PRIMARY KEY CHECK (id = 1), idx INTEGER NOT NULL, epoch INTEGER NOT NULL,
    time_ms INTEGER NOT NULL, membership BLOB, state BLOB NOT NULL,
    format INTEGER NOT NULL, founding TEXT NOT NULL, checksum BLOB NOT NULL
) STRICT;
CREATE TABLE container (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL) STRICT;
"""
ADDITIONS: Final = """
CREATE TABLE IF NOT EXISTS lease (
    id INTEGER PRIMARY KEY CHECK (id = 1), granted_ms INTEGER NOT NULL, released INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS term (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS acked_position (
    replica_id TEXT PRIMARY KEY, term INTEGER NOT NULL, epoch INTEGER NOT NULL, idx INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS row_checksum (
    name TEXT PRIMARY KEY, version INTEGER NOT NULL, checksum BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS damage (id INTEGER PRIMARY KEY CHECK (id = 1), reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS owner (id INTEGER PRIMARY KEY CHECK (id = 1), upstream TEXT NOT NULL) STRICT;
"""
"""Tables that a version which does not know them may leave alone: it can still open such a store."""
MIGRATIONS: Final[dict[int, str]] = {1: RECORD_TABLES}
"""Statements that make of a store of this schema one of the next."""


def journal_rows(entries: Sequence[Entry]) -> Iterable[tuple[int, int, int, str, bytes, int, bytes]]:
    """Rows of entries, each with its checksum."""
    return ((e.index, e.epoch, e.time_ms, e.kind, e.body, e.format, checksum(e)) for e in entries)


class Transaction:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK where the block raised."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:
            self._db.execute("ROLLBACK")
