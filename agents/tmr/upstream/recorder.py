# SPDX-License-Identifier: Apache-2.0
"""The licence tracking record of a running upstream: what twins ask of it, and what becomes too old."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from tmr.ledger import GENESIS, Head, Ledger, decode_line
from tmr.rpc.record_messages import (
    LIST_FIRMS,
    Answer,
    AttestRecord,
    LinePage,
    LinesStored,
    ListRecords,
    NotAttested,
    Question,
    ReadLines,
    RecordAttested,
    RecordList,
    StoreLines,
)
from tmr.runtime.background import Background
from tmr.runtime.logs import fields
from tmr.upstream.acceptor_runner import AcceptorRunner, RunnerFailed
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.record import CHUNK, CannotVouch
from tmr.upstream.store import Store

T = TypeVar("T")

log = logging.getLogger(__name__)

DAY_MS: Final = 86_400_000
PRUNE_EVERY: Final = 60.0
"""Seconds between looks for lines that are too old."""


class Recorder:
    """`days`: how long lines are kept, by certified time. `ledger`: the one that the node's acceptor drives.

    Everything decided before a question is on disk before it is answered.
    """

    def __init__(
        self, runner: AcceptorRunner, store: Store, ledger: Ledger, container_store: ContainerStore, days: int
    ) -> None:
        self._runner = runner
        self._store = store
        self._ledger = ledger
        self._container_store = container_store
        self._days = days
        self._background = Background()

    def start(self) -> None:
        """Begin to delete what becomes too old. Call in the event loop."""
        self._background.start(self._prune_for_ever())

    async def stop(self) -> None:
        """End that."""
        await self._background.stop()

    async def answer(self, question: Question) -> Answer:
        """The answer to a twin. Raises NodeFailed."""
        match question:
            case ListRecords(after):
                return await self._look(after)
            case ReadLines(firm, first, last, backwards):
                await self._runner.flush()
                return LinePage(
                    tuple(
                        await self._in_store(
                            lambda: self._store.record.read(firm, first, last, backwards=backwards)
                        )
                    )
                )
            case StoreLines(firm, lines):
                if not lines or any(line.firm_code != firm for line in lines):
                    return LinesStored(0, "the lines are none, or not of this firm")
                head = self._ledger.heads.get(firm, Head())
                await self._runner.flush()
                return await self._in_store(lambda: self._store.record.store(lines, head))
            case AttestRecord():
                return await self._attest(question)

    async def _look(self, after: int) -> RecordList:
        firms = sorted(firm for firm in self._ledger.heads if firm > after)
        heads = [(firm, self._ledger.heads[firm]) for firm in firms[:LIST_FIRMS]]
        await self._runner.flush()

        def look() -> RecordList:
            record = self._store.record
            for firm, head in heads:
                record.reconcile(firm, head)
            found = tuple(record.look(firm, head) for firm, head in heads)
            return RecordList(found, len(firms) > LIST_FIRMS)

        return await self._in_store(look)

    async def _attest(self, asked: AttestRecord) -> RecordAttested | NotAttested:
        acceptor = self._runner.acceptor
        if acceptor.applied < asked.index:
            return NotAttested(f"it has applied entry {acceptor.applied}, not {asked.index}", yet=True)
        if not acceptor.voting:
            return NotAttested("it does not vote")
        if asked.index < acceptor.log.base:
            return NotAttested("its journal has moved on; ask again")
        time_ms = acceptor.log.time_at(asked.index)
        head = Head(asked.head_seq, asked.head_hash if asked.head_seq else GENESIS)
        known = self._ledger.heads.get(asked.firm_code, Head()).seq
        await self._runner.flush()

        def vouch() -> RecordAttested | NotAttested:
            record = self._store.record
            following = record.read(asked.firm_code, head.seq + 1, head.seq + 1)
            if known > head.seq and (not following or decode_line(following[0].line).index <= asked.index):
                return NotAttested(f"line {head.seq} is not the last one up to entry {asked.index}")
            try:
                span = record.span(asked.firm_code, head, asked.from_ms, asked.to_ms, asked.first_seq)
            except CannotVouch as error:
                return NotAttested(str(error))
            return RecordAttested(span, self._container_store.attest(span, time_ms))

        return await self._in_store(vouch)

    # -- what becomes too old ------------------------------------------------------------------------------

    async def prune(self) -> int:
        """Delete some lines that are too old; how many. Raises NodeFailed."""
        before_ms = self._runner.acceptor.log.last_time - self._days * DAY_MS
        return await self._in_store(lambda: self._store.record.prune(before_ms)) if before_ms > 0 else 0

    async def _prune_for_ever(self) -> None:
        while True:
            try:
                deleted = await self.prune()
            except RunnerFailed:
                return
            if deleted:
                log.info("old lines of the record deleted", extra=fields(lines=deleted))
            if deleted < CHUNK:
                await asyncio.sleep(PRUNE_EVERY)

    async def _in_store(self, work: Callable[[], T]) -> T:
        def transaction() -> T:
            with self._store.transaction():
                return work()

        try:
            return await self._runner.in_writer(transaction)
        except sqlite3.Error as error:
            self._runner.fail(error)
            raise RunnerFailed from error
