# SPDX-License-Identifier: Apache-2.0
"""The store of an upstream: SQLite in WAL mode with full sync, one transaction for a batch of writes.

The rules of durability are SQLite's (https://www.sqlite.org/pragma.html#pragma_synchronous): in WAL mode with
`synchronous=FULL` a committed transaction survives a power cut.
"""

import contextlib
import hashlib
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec.structs import astuple

from tmr.api.deployment import NETWORK, TMR, Deployment
from tmr.licensing import Container
from tmr.quorum.durable import (
    AckedPositionsWrite,
    AppendWrite,
    CommitWrite,
    CutWrite,
    Durable,
    PromiseWrite,
    RecordWrite,
    ReleaseWrite,
    SnapshotWrite,
    TermWrite,
    VotingWrite,
    Write,
)
from tmr.quorum.entries import AckedPosition, Entry, Membership, ProposerId, Snapshot, checksum
from tmr.upstream.record import TABLES as RECORD_TABLES
from tmr.upstream.record import Record
from tmr.upstream.store_errors import DamagedRows, StoreError, other_deployment, other_owner
from tmr.upstream.store_schema import (
    ADDITIONS,
    CHECK_FILE,
    DAMAGED_FILE,
    FILE,
    MIGRATIONS,
    SCHEMA,
    TABLES,
    Transaction,
    journal_rows,
)

WAL_KEPT: Final = 16 * 2**20
"""Bytes to which the write-ahead log shrinks after a large transaction, such as a snapshot."""
CHECKED_WHOLE: Final = 2**30
"""Bytes of a store whose record is checked at each start, too: four seconds. All else is checked always."""


class Store:
    """One upstream's store. Not for several threads at once, whichever they are."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.record = Record(connection)
        """The licence tracking record; to be used within `transaction`."""
        self._db = connection

    @classmethod
    def open(cls, directory: Path, machine: str) -> Self:
        """Open the store below `directory`; an empty one is created with a new replica id.

        `machine` is the fingerprint of this machine. Raises StoreError: damaged, of another machine, of a
        newer version, or in use by another process.
        """
        path = directory / FILE
        try:
            connection = sqlite3.connect(path, timeout=2.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise StoreError(
                f"{path}: {error}; check the disk, and that {directory} is the daemon's, with mode 0700",
                lasting=False,
            ) from None
        store = cls(path, connection)
        try:
            store._prepare(machine)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise store._unusable(error) from None
        except BaseException:
            connection.close()
            raise
        return store

    def _unusable(self, error: sqlite3.DatabaseError) -> StoreError:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreError(f"{self.path}: another process uses the store; stop it first", lasting=False)
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self.damaged(str(error))
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            return StoreError(f"{self.path}: {error}; make room on its disk", lasting=False)
        return StoreError(
            f"{self.path}: {error}; check the disk, and owner and mode of the file", lasting=False
        )

    def damaged(self, what: str) -> StoreError:
        """Error for rows that cannot have been written like that."""
        return StoreError(
            f"{self.path}: the store is damaged ({what}); move the whole directory {self.path.parent} away "
            "and start again: this upstream then joins as a new member with a new container, for which the "
            "vendor reissues the licences"
        )

    def _prepare(self, machine: str) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT}")
        db.execute("PRAGMA foreign_keys = ON")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise StoreError(
                f"{self.path}: written by a newer version (schema {version}, this one knows {SCHEMA}); "
                "install that version again"
            )
        if version == 0:
            self._create(machine)
            return
        self._check()
        row = db.execute("SELECT machine FROM meta").fetchone()
        if row is None:
            raise self.damaged("it has no identity")
        if row[0] != machine:
            raise StoreError(
                f"{self.path}: the store belongs to another machine, and a container is valid only on the "
                f"machine where it was made; run it there, or move the whole directory {self.path.parent} "
                "away and start again: this upstream then joins as a new member with a new container"
            )
        if version == 1 and self._begun():
            raise StoreError(
                f"{self.path}: its journal was written by a version before the first release, in another "
                f"format; stop the whole system, move the directory {self.path.parent} away on all "
                "upstreams, start them, and have the vendor issue the licences to the new containers"
            )
        with self.transaction():  # takes the exclusive lock now, not at the first write
            db.execute("UPDATE meta SET id = 1")
            for known in range(version, SCHEMA):
                self._run(MIGRATIONS[known])
            db.execute(f"PRAGMA user_version = {SCHEMA}")
            self._run(ADDITIONS)

    def _check(self) -> None:
        """Look at the structure of every table; at that of the record only while it is not large."""
        db, demanded = self._db, self.path.with_name(CHECK_FILE)
        (size,) = db.execute(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        ).fetchone()
        if size <= CHECKED_WHOLE or demanded.exists():
            questions = ["PRAGMA quick_check(3)"]
        else:
            names = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'record'")
            questions = [f"PRAGMA quick_check('{name}')" for (name,) in names.fetchall()]
        findings = [row[0] for question in questions for row in db.execute(question)]
        wrong = [finding for finding in findings if finding != "ok"]
        if wrong:
            raise self.damaged("; ".join(" ".join(finding.split()) for finding in wrong[:3]))
        demanded.unlink(missing_ok=True)

    def suspect(self, error: BaseException) -> None:
        """The store failed while it was used: if it is damaged, let the next start check all of it."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            with contextlib.suppress(OSError):
                self.path.with_name(CHECK_FILE).touch(mode=0o600)

    def _begun(self) -> bool:
        """Tells whether the journal holds commands, or a snapshot of what they did."""
        (entries,) = self._db.execute("SELECT count(*) FROM journal WHERE kind = 'command'").fetchone()
        (states,) = self._db.execute("SELECT count(*) FROM snapshot WHERE length(state) > 0").fetchone()
        return bool(entries or states)

    def _run(self, statements: str) -> None:
        for statement in filter(str.strip, statements.split(";")):
            self._db.execute(statement)

    def _create(self, machine: str) -> None:
        with self.transaction():
            self._run(TABLES)
            self._run(RECORD_TABLES)
            self._run(ADDITIONS)
            self._db.execute(
                "INSERT INTO meta VALUES (1, ?, ?, 0, 0, NULL, NULL, 0)", (secrets.token_hex(16), machine)
            )
            self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing of what the block does."""
        return Transaction(self._db)

    # -- what the acceptor keeps ---------------------------------------------------------------------------

    def load(self) -> Durable:
        """Everything the acceptor stored. Raises DamagedRows where it is not what was written."""
        try:
            return self._load()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from None
        except msgspec.MsgspecError as error:
            raise self._damaged_rows(str(error)) from None

    def _damaged_rows(self, what: str) -> DamagedRows:
        return DamagedRows(str(self.damaged(what)), what)

    def renew(self, what: str) -> str:
        """Begin anew with an empty journal and another replica id, after damage: `what` of it, for people.

        The container and the record stay. The active twin readmits the upstream as after the loss of its disk
        (it may have forgotten promises and confirmations). The store as it was is kept in DAMAGED_FILE, that
        of the first damage. Returns the new replica id. Raises sqlite3.Error; OSError from the copy.
        """
        kept = self.path.with_name(DAMAGED_FILE)
        if not kept.exists():
            with contextlib.closing(sqlite3.connect(kept)) as copy:
                self._db.backup(copy)
            kept.chmod(0o600)
        replica_id = secrets.token_hex(16)
        with self.transaction():
            self._run("DELETE FROM journal; DELETE FROM snapshot; DELETE FROM lease; DELETE FROM term")
            self._db.execute("DELETE FROM acked_position")
            self._db.execute("DELETE FROM row_checksum WHERE name <> 'container'")
            self._db.execute(
                "UPDATE meta SET replica_id = ?, voting = 0, promised = 0, twin = NULL, incarnation = NULL, "
                "committed = 0",
                (replica_id,),
            )
            self._db.execute("INSERT OR REPLACE INTO damage VALUES (1, ?)", (what,))
        return replica_id

    def _load(self) -> Durable:
        db = self._db
        replica_id, voting, promised, twin, incarnation, granted_ms, released, term = self._promise()
        (commit,) = db.execute("SELECT committed FROM meta").fetchone()
        durable = Durable(
            replica_id=replica_id,
            voting=bool(voting),
            promised=promised,
            owner=None if twin is None or incarnation is None else ProposerId(twin, incarnation),
            commit=commit,
            granted_ms=granted_ms,
            released=bool(released),
            term=term,
        )
        self._check_row("promise", *self._promise())
        row = db.execute("SELECT reason FROM damage").fetchone()
        durable.damage = "" if row is None else row[0]
        row = db.execute(
            "SELECT idx, epoch, time_ms, membership, state, format, founding, checksum FROM snapshot"
        ).fetchone()
        if row is not None:
            index, epoch, time_ms, membership, state, entry_format, founding, known = row
            self._check_row("snapshot", *row)
            members = None if membership is None else msgspec.msgpack.decode(membership, type=Membership)
            durable.snapshot = Snapshot(index, epoch, time_ms, members, state, entry_format, founding, known)
        rows = db.execute("SELECT * FROM acked_position ORDER BY replica_id").fetchall()
        durable.acked = tuple(AckedPosition(*row) for row in rows)
        for *values, known in db.execute(
            "SELECT idx, epoch, time_ms, kind, body, format, checksum FROM journal ORDER BY idx"
        ):
            entry = Entry(*values)
            if checksum(entry) != known:
                raise self._damaged_rows(f"journal entry {entry.index} is not what was written")
            durable.entries.append(entry)
        for expected, entry in enumerate(durable.entries, durable.snapshot.index + 1):
            if entry.index != expected:
                raise self._damaged_rows(f"journal entry {expected} is missing")
        return durable

    def _promise(self) -> tuple[str, int, int, str | None, str | None, int, int, int]:
        """Values that must not change by themselves: identity, vote, promise, its lease, the last term."""
        row: tuple[str, int, int, str | None, str | None, int, int, int] = self._db.execute(
            "SELECT replica_id, voting, promised, twin, incarnation, ifnull(granted_ms, 0), "
            "ifnull(released, 0), ifnull(term.epoch, 0) FROM meta "
            "LEFT JOIN lease ON lease.id = 1 LEFT JOIN term ON term.id = 1"
        ).fetchone()
        return row

    def write(self, writes: Iterable[Write]) -> None:
        """Make `writes` durable, in order, all or none. Raises sqlite3.Error."""
        with self.transaction():
            promises = False
            for write in writes:
                self._write(write)
                promises = promises or isinstance(
                    write, PromiseWrite | ReleaseWrite | TermWrite | VotingWrite
                )
            if promises:
                self._note_row("promise", *self._promise())

    def _write(self, write: Write) -> None:
        db = self._db
        match write:
            case PromiseWrite(epoch, owner, granted_ms):
                db.execute(
                    "UPDATE meta SET promised = ?, twin = ?, incarnation = ?",
                    (epoch, owner.name, owner.incarnation),
                )
                db.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, 0)", (granted_ms,))
            case ReleaseWrite(epoch):
                db.execute("UPDATE lease SET released = (SELECT promised = ? FROM meta)", (epoch,))
            case CutWrite(after):
                db.execute("DELETE FROM journal WHERE idx > ?", (after,))
            case AppendWrite(entries):
                db.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", journal_rows(entries))
            case CommitWrite(commit):
                db.execute("UPDATE meta SET committed = ?", (commit,))
            case RecordWrite(lines):
                self.record.add(lines)
            case TermWrite(epoch):
                db.execute("INSERT OR REPLACE INTO term VALUES (1, ?)", (epoch,))
            case AckedPositionsWrite(acked):
                db.execute("DELETE FROM acked_position")
                db.executemany("INSERT INTO acked_position VALUES (?, ?, ?, ?)", map(astuple, acked))
            case SnapshotWrite(snapshot, keep_tail):
                members = None if snapshot.membership is None else msgspec.msgpack.encode(snapshot.membership)
                where = snapshot.index, snapshot.epoch, snapshot.time_ms
                rest = members, snapshot.state, snapshot.format, snapshot.founding, snapshot.checksum
                db.execute(
                    "INSERT OR REPLACE INTO snapshot VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*where, *rest),
                )
                self._note_row("snapshot", *where, *rest)
                if keep_tail:
                    db.execute("DELETE FROM journal WHERE idx <= ?", (snapshot.index,))
                else:
                    db.execute("DELETE FROM journal")
            case VotingWrite(voting):
                db.execute("UPDATE meta SET voting = ?", (int(voting),))
                if voting:
                    db.execute("DELETE FROM damage")

    # -- the container -------------------------------------------------------------------------------------

    def container(self) -> Container | None:
        """The stored container. Raises StoreError where it cannot be read."""
        row = self._db.execute("SELECT body FROM container").fetchone()
        if row is None:
            return None
        try:
            container = msgspec.json.decode(row[0], type=Container)
        except (msgspec.MsgspecError, ValueError) as error:
            raise self.damaged(f"its container: {error}") from None
        self._check_checksum("container", container.generation, row[0])
        return container

    def save_container(self, container: Container) -> None:
        """Make the container durable. Raises sqlite3.Error."""
        with self.transaction():
            body = msgspec.json.encode(container)
            self._db.execute("INSERT OR REPLACE INTO container VALUES (1, ?)", (body,))
            self._note_checksum("container", container.generation, body)

    def _note_checksum(self, name: str, version: int, body: bytes) -> None:
        """Remember what was written: SQLite notices a broken page, and not a changed byte within a value."""
        row = (name, version, hashlib.sha256(body).digest())
        self._db.execute("INSERT OR REPLACE INTO row_checksum VALUES (?, ?, ?)", row)

    def _note_row(self, name: str, *values: object) -> None:
        self._note_checksum(name, 0, msgspec.msgpack.encode(values))

    def _check_row(self, name: str, *values: object) -> None:
        """Raise DamagedRows where the row was written with other values."""
        row = self._db.execute("SELECT checksum FROM row_checksum WHERE name = ?", (name,)).fetchone()
        hashed = hashlib.sha256(msgspec.msgpack.encode(values)).digest()
        if row is not None and row[0] != hashed:
            raise self._damaged_rows(f"its {name} is not what was written")

    def _check_checksum(self, name: str, version: int, body: bytes) -> None:
        """Raise StoreError where this version of it was written otherwise."""
        row = self._db.execute("SELECT * FROM row_checksum WHERE name = ?", (name,)).fetchone()
        if row is not None and row[1] == version and row[2] != hashlib.sha256(body).digest():
            raise self.damaged(f"its {name} is not what was written")

    def check_owner(self, upstream: str) -> None:
        """Raise StoreError if the store was begun under another name; the first name stays."""
        with self.transaction():
            self._db.execute("INSERT OR IGNORE INTO owner VALUES (1, ?)", (upstream,))
        (known,) = self._db.execute("SELECT upstream FROM owner").fetchone()
        if known != upstream:
            raise other_owner(self.path, known, upstream)

    def check_deployment(self, membership: Membership | None, configured: Deployment) -> None:
        """Raise StoreError if the journal with this membership was begun in another deployment."""
        if membership is None:
            return
        stored = NETWORK if membership.replicas == NETWORK.replicas else TMR
        if stored != configured:
            raise other_deployment(self.path, stored, configured)

    def close(self) -> None:
        """Close the file; everything written is already durable."""
        self._db.close()
