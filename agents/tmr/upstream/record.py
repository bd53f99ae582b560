# SPDX-License-Identifier: Apache-2.0
"""The licence tracking record in the upstream's store: lines in runs without a gap, the newest kept.

What the own ledger made (`add`) is right. What a twin brings (`store`) is stored only if it leads, hash by
hash, to what the own ledger made. A line that does not fit is dropped, and so becomes a gap to be filled.
Everything here runs within a transaction of the caller and does a bounded amount of work.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from tmr.ledger import GENESIS, ChainedLine, Head, link, unbroken
from tmr.ledger.export import RecordSpan
from tmr.rpc.record_messages import PAGE_BYTES, PAGE_LINES, FirmRecord, LineRun, LinesStored

CHUNK: Final = 1_000
"""Lines that are deleted in one transaction."""
RUNS_SHOWN: Final = 4

TABLES: Final = """
CREATE TABLE record (
    firm_code INTEGER NOT NULL, seq INTEGER NOT NULL, time_ms INTEGER NOT NULL, line BLOB NOT NULL,
    hash BLOB NOT NULL, PRIMARY KEY (firm_code, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE record_run (
    firm_code INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, before BLOB NOT NULL,
    PRIMARY KEY (firm_code, first)
) STRICT, WITHOUT ROWID;
CREATE TABLE record_pruned (
    firm_code INTEGER PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, time_ms INTEGER NOT NULL
) STRICT;
"""


class StoredRun(msgspec.Struct, frozen=True):
    """A run as it is stored. `before`: hash of the line before its first."""

    first: int
    last: int
    before: bytes


class CannotVouch(Exception):
    """Reason why the record has not what should be attested."""


class Record:
    """The record below one store's connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    # -- what the own ledger made --------------------------------------------------------------------------

    def add(self, lines: Iterable[ChainedLine]) -> None:
        """Keep lines of the own ledger; they may be there already."""
        ordered = sorted(lines, key=lambda line: (line.firm_code, line.seq))
        for (firm, _), group in itertools.groupby(
            enumerate(ordered), lambda x: (x[1].firm_code, x[1].seq - x[0])
        ):
            pruned = self._pruned(firm)[0]
            new = [line for _, line in group if line.seq > pruned]
            if new:
                self._add(new)

    def _add(self, lines: Sequence[ChainedLine]) -> None:
        firm, first, last, before = lines[0].firm_code, lines[0].seq, lines[-1].seq, lines[0].before
        run = self._run_at(firm, first)
        if run is not None and run.last < first - 1:
            run = None
        fits = run is not None and self._hash_before(firm, run, first) == before
        self._insert(lines)
        top = max(last, 0 if run is None else run.last, self._take_runs(firm, first + 1, last))
        if top > last and not self._follows(firm, last):
            self._db.execute(
                "DELETE FROM record WHERE firm_code = ? AND seq BETWEEN ? AND ?", (firm, last + 1, top)
            )
            top = last
        if run is not None and fits:
            self._set_run(firm, StoredRun(run.first, top, run.before))
        else:
            if run is not None and run.first < first:
                self._set_run(firm, StoredRun(run.first, first - 1, run.before))
            self._set_run(firm, StoredRun(first, top, before))
        self._join(firm, first)

    def _take_runs(self, firm: int, low: int, high: int) -> int:
        """Remove the runs that begin from `low` to `high`: what they have becomes another's. Their end."""
        rows = self._db.execute(
            "DELETE FROM record_run WHERE firm_code = ? AND first BETWEEN ? AND ? RETURNING last",
            (firm, low, high),
        ).fetchall()
        return max((last for (last,) in rows), default=0)

    def _follows(self, firm: int, seq: int) -> bool:
        """The line after `seq` follows it."""
        row = self._db.execute(
            "SELECT line, hash FROM record WHERE firm_code = ? AND seq = ?", (firm, seq + 1)
        ).fetchone()
        known = self._hash(firm, seq)
        return row is not None and known is not None and link(known, row[0]) == row[1]

    def _insert(self, lines: Sequence[ChainedLine]) -> None:
        self._db.executemany(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?) ON CONFLICT (firm_code, seq) DO UPDATE SET "
            "time_ms = excluded.time_ms, line = excluded.line, hash = excluded.hash "
            "WHERE hash <> excluded.hash",
            [(one.firm_code, one.seq, one.time_ms, one.line, one.hash) for one in lines],
        )

    # -- what a twin brings --------------------------------------------------------------------------------

    def store(self, lines: Sequence[ChainedLine], head: Head) -> LinesStored:
        """Store lines that were missing, if the last leads to `head`, or to a line that is there."""
        if not unbroken(lines):
            return LinesStored(0, "the lines do not follow one another, or their hashes do not hold")
        firm, first, last = lines[0].firm_code, lines[0].seq, lines[-1].seq
        if last > head.seq:
            return LinesStored(0, f"the own ledger knows no line {last}")
        upper = self._run_from(firm, last + 1)
        if upper is not None and upper.first == last + 1:
            leads = upper.before == lines[-1].hash
        else:
            leads = (last, lines[-1].hash) == (head.seq, head.hash)
        if not leads:
            return LinesStored(0, f"line {last} does not lead to what the own ledger knows")
        lower = self._run_at(firm, last)
        if (lower is not None and lower.last >= first) or first <= self._pruned(firm)[0]:
            return LinesStored(0, "some of these lines are there, or were deleted as too old")
        self._insert(lines)
        self._set_run(firm, StoredRun(first, last, lines[0].before))
        self._join(firm, last + 1)
        self._join(firm, first)
        return LinesStored(len(lines))

    def reconcile(self, firm: int, head: Head) -> None:
        """Drop lines that differ from the own ledger's, which a snapshot may have replaced."""
        run = self._run_at(firm, head.seq)
        if run is not None and run.last >= head.seq and self._hash(firm, head.seq) != head.hash:
            self._drop_top(firm, run, max(run.first, head.seq - CHUNK + 1))

    # -- what there is -------------------------------------------------------------------------------------

    def look(self, firm: int, head: Head) -> FirmRecord:
        """Record of one firm, up to `head`."""
        rows = self._db.execute(
            "SELECT first, last FROM record_run WHERE firm_code = ? AND first <= ? "
            "ORDER BY first DESC LIMIT ?",
            (firm, head.seq, RUNS_SHOWN),
        ).fetchall()
        runs = tuple(LineRun(first, min(last, head.seq)) for first, last in reversed(rows))
        return FirmRecord(firm, head.seq, self._pruned(firm)[0], runs)

    def read(self, firm: int, first: int, last: int, *, backwards: bool = False) -> list[ChainedLine]:
        """Lines `first` to `last` as far as one run has them: a page, from the front or from the end."""
        run = self._run_at(firm, last if backwards else first)
        if run is None or run.last < (last if backwards else first):
            return []
        first, last = max(first, run.first), min(last, run.last)
        order = "DESC" if backwards else "ASC"
        rows: list[tuple[int, int, bytes, bytes]] = []
        size = 0
        for row in self._db.execute(
            f"SELECT seq, time_ms, line, hash FROM record WHERE firm_code = ? AND seq BETWEEN ? AND ? "  # noqa: S608
            f"ORDER BY seq {order} LIMIT ?",
            (firm, first, last, PAGE_LINES),
        ):
            rows.append(row)
            size += len(row[2])
            if size >= PAGE_BYTES:
                break
        if backwards:
            rows.reverse()
        found: list[ChainedLine] = []
        before = self._hash_before(firm, run, rows[0][0]) if rows else GENESIS
        for seq, time_ms, line, hash_ in rows:
            found.append(ChainedLine(firm, seq, time_ms, line, hash_, before))
            before = hash_
        return found

    def span(
        self, firm: int, head: Head, from_ms: int | None, to_ms: int | None, first_seq: int = 0
    ) -> RecordSpan:
        """The lines up to `head` of a span of time, none before `first_seq`. Raises CannotVouch."""
        pruned, pruned_hash, pruned_ms = self._pruned(firm)
        run = self._run_at(firm, head.seq) if head.seq else None
        if head.seq in (0, pruned):
            run = StoredRun(head.seq + 1, head.seq, head.hash)
        elif run is None or run.last < head.seq:
            raise CannotVouch(f"line {head.seq} of the record is missing")
        known = pruned_hash if head.seq == pruned else self._hash(firm, head.seq) or GENESIS
        if known != head.hash:
            raise CannotVouch(f"line {head.seq} of the record differs from the twin's ledger")
        begin = self._at(firm, run.first, head.seq, from_ms) if from_ms is not None else run.first
        stop = self._at(firm, run.first, head.seq, to_ms) if to_ms is not None else head.seq + 1
        # What was deleted may belong to the span; what others still have, too.
        older = begin == run.first > 1 and not (
            from_ms is not None and pruned == run.first - 1 and pruned_ms < from_ms
        )
        whole = not older and not first_seq
        begin = min(max(begin, first_seq, run.first), head.seq + 1)
        stop = max(begin, stop)
        before = self._hash_before(firm, run, begin)
        last_hash = self._hash_before(firm, run, stop)
        return RecordSpan(firm, from_ms, to_ms, begin, before.hex(), stop - 1, last_hash.hex(), whole)

    def _at(self, firm: int, low: int, high: int, time_ms: int) -> int:
        """The first line from `low` to `high`, all there, that is not before `time_ms`; else `high` + 1."""
        high += 1
        while low < high:
            middle = (low + high) // 2
            (found,) = self._db.execute(
                "SELECT time_ms FROM record WHERE firm_code = ? AND seq = ?", (firm, middle)
            ).fetchone()
            if found < time_ms:
                low = middle + 1
            else:
                high = middle
        return low

    # -- what becomes too old ------------------------------------------------------------------------------

    def prune(self, before_ms: int) -> int:
        """Delete some of the lines from before `before_ms`; how many. The hash of the last one is kept."""
        deleted = 0
        firms = [firm for (firm,) in self._db.execute("SELECT DISTINCT firm_code FROM record_run").fetchall()]
        for firm in firms:
            if deleted >= CHUNK:
                break
            deleted += self._prune(firm, before_ms, CHUNK - deleted)
        return deleted

    def _prune(self, firm: int, before_ms: int, limit: int) -> int:
        run = self._run_from(firm, 0)
        if run is None:
            return 0
        rows = self._db.execute(
            "SELECT seq, time_ms, hash FROM record WHERE firm_code = ? AND seq BETWEEN ? AND ? "
            "ORDER BY seq LIMIT ?",
            (firm, run.first, run.last, limit),
        )
        old = list(itertools.takewhile(lambda row: row[1] < before_ms, rows))
        rows.close()
        if not old:
            return 0
        seq, time_ms, hash_ = old[-1]
        self._db.execute("DELETE FROM record WHERE firm_code = ? AND seq <= ?", (firm, seq))
        self._db.execute("DELETE FROM record_run WHERE firm_code = ? AND first = ?", (firm, run.first))
        if seq < run.last:
            self._set_run(firm, StoredRun(seq + 1, run.last, hash_))
        self._db.execute(
            "INSERT OR REPLACE INTO record_pruned VALUES (?, ?, ?, ?)", (firm, seq, hash_, time_ms)
        )
        return len(old)

    # -- runs ----------------------------------------------------------------------------------------------

    def _pruned(self, firm: int) -> tuple[int, bytes, int]:
        """Number, hash and time of the last line deleted as too old."""
        row = self._db.execute(
            "SELECT seq, hash, time_ms FROM record_pruned WHERE firm_code = ?", (firm,)
        ).fetchone()
        return (0, GENESIS, 0) if row is None else (row[0], row[1], row[2])

    def _run_at(self, firm: int, seq: int) -> StoredRun | None:
        """The last run that begins at `seq` or before."""
        row = self._db.execute(
            "SELECT first, last, before FROM record_run WHERE firm_code = ? AND first <= ? "
            "ORDER BY first DESC LIMIT 1",
            (firm, seq),
        ).fetchone()
        return None if row is None else StoredRun(*row)

    def _run_from(self, firm: int, seq: int) -> StoredRun | None:
        """The first run that begins at `seq` or behind."""
        row = self._db.execute(
            "SELECT first, last, before FROM record_run WHERE firm_code = ? AND first >= ? "
            "ORDER BY first LIMIT 1",
            (firm, seq),
        ).fetchone()
        return None if row is None else StoredRun(*row)

    def _set_run(self, firm: int, run: StoredRun) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO record_run VALUES (?, ?, ?, ?)", (firm, run.first, run.last, run.before)
        )

    def _hash(self, firm: int, seq: int) -> bytes | None:
        row = self._db.execute(
            "SELECT hash FROM record WHERE firm_code = ? AND seq = ?", (firm, seq)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _hash_before(self, firm: int, run: StoredRun, seq: int) -> bytes:
        """The hash of the line before `seq`, which is in `run`, or right behind it."""
        if seq == run.first:
            return run.before
        found = self._hash(firm, seq - 1)
        if found is None:
            raise sqlite3.DatabaseError(f"line {seq - 1} of the record of {firm} is lost")
        return found

    def _join(self, firm: int, seq: int) -> None:
        """Make one run of the one that begins at `seq` and the one that ends right before it, if they fit.

        If not, the older lines are not those of this system: some are dropped, for a twin to bring others.
        """
        upper, lower = self._run_at(firm, seq), self._run_at(firm, seq - 1)
        if upper is None or upper.first != seq:
            return
        self._db.execute(
            "UPDATE record_pruned SET hash = ? WHERE firm_code = ? AND seq = ?", (upper.before, firm, seq - 1)
        )
        if lower is None or lower.last != seq - 1:
            return
        if self._hash(firm, lower.last) == upper.before:
            self._db.execute("DELETE FROM record_run WHERE firm_code = ? AND first = ?", (firm, seq))
            self._set_run(firm, StoredRun(lower.first, upper.last, lower.before))
        else:
            self._drop_top(firm, lower, max(lower.first, lower.last - CHUNK + 1))

    def _drop_top(self, firm: int, run: StoredRun, first: int) -> None:
        """Delete the lines of `run` from `first` on."""
        self._db.execute(
            "DELETE FROM record WHERE firm_code = ? AND seq BETWEEN ? AND ?", (firm, first, run.last)
        )
        if first == run.first:
            self._db.execute("DELETE FROM record_run WHERE firm_code = ? AND first = ?", (firm, first))
        else:
            self._set_run(firm, StoredRun(run.first, first - 1, run.before))
