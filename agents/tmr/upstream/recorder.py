"""The licence tracking record of a running upstream: what twins ask of it, and what becomes too old."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from tmr.ledger import GENESIS, Head, Ledger, decode_line
from tmr.rim.logs import fields
from tmr.rim.record_wire import (
    LOOK_FIRMS,
    Answer,
    Attest,
    Attested,
    Fill,
    Filled,
    Look,
    Looked,
    NotAttested,
    Page,
    Question,
    Read,
)
from tmr.upstream.keeper import Keeper
from tmr.upstream.node import Node, NodeFailed
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

    def __init__(self, node: Node, store: Store, ledger: Ledger, keeper: Keeper, days: int) -> None:
        self._node = node
        self._store = store
        self._ledger = ledger
        self._keeper = keeper
        self._days = days
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to delete what becomes too old. Call in the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._prune_for_ever())

    async def stop(self) -> None:
        """End that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def answer(self, question: Question) -> Answer:
        """The answer to a twin. Raises NodeFailed."""
        match question:
            case Look(after):
                return await self._look(after)
            case Read(firm, first, last, backwards):
                await self._node.flush()
                return Page(
                    tuple(
                        await self._in_store(
                            lambda: self._store.record.read(firm, first, last, backwards=backwards)
                        )
                    )
                )
            case Fill(firm, lines):
                if not lines or any(line.firm_code != firm for line in lines):
                    return Filled(0, "the lines are none, or not of this firm")
                head = self._ledger.heads.get(firm, Head())
                await self._node.flush()
                return await self._in_store(lambda: self._store.record.fill(lines, head))
            case Attest():
                return await self._attest(question)

    async def _look(self, after: int) -> Looked:
        firms = sorted(firm for firm in self._ledger.heads if firm > after)
        heads = [(firm, self._ledger.heads[firm]) for firm in firms[:LOOK_FIRMS]]
        await self._node.flush()

        def look() -> Looked:
            record = self._store.record
            for firm, head in heads:
                record.reconcile(firm, head)
            found = tuple(record.look(firm, head) for firm, head in heads)
            return Looked(found, len(firms) > LOOK_FIRMS)

        return await self._in_store(look)

    async def _attest(self, asked: Attest) -> Attested | NotAttested:
        acceptor = self._node.acceptor
        if acceptor.applied < asked.index:
            return NotAttested(f"it has applied entry {acceptor.applied}, not {asked.index}", yet=True)
        if not acceptor.voting:
            return NotAttested("it does not vote")
        if asked.index < acceptor.log.base:
            return NotAttested("its journal has moved on; ask again")
        time_ms = acceptor.log.time_at(asked.index)
        head = Head(asked.head_seq, asked.head_hash if asked.head_seq else GENESIS)
        known = self._ledger.heads.get(asked.firm_code, Head()).seq
        await self._node.flush()

        def vouch() -> Attested | NotAttested:
            record = self._store.record
            following = record.read(asked.firm_code, head.seq + 1, head.seq + 1)
            if known > head.seq and (not following or decode_line(following[0].line).index <= asked.index):
                return NotAttested(f"line {head.seq} is not the last one up to entry {asked.index}")
            try:
                span = record.span(asked.firm_code, head, asked.from_ms, asked.to_ms, asked.first_seq)
            except CannotVouch as error:
                return NotAttested(str(error))
            return Attested(span, self._keeper.attest(span, time_ms))

        return await self._in_store(vouch)

    # -- what becomes too old ------------------------------------------------------------------------------

    async def prune(self) -> int:
        """Delete some lines that are too old; how many. Raises NodeFailed."""
        before_ms = self._node.acceptor.log.last_time - self._days * DAY_MS
        return await self._in_store(lambda: self._store.record.prune(before_ms)) if before_ms > 0 else 0

    async def _prune_for_ever(self) -> None:
        while True:
            try:
                deleted = await self.prune()
            except NodeFailed:
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
            return await self._node.in_writer(transaction)
        except sqlite3.Error as error:
            self._node.fail(error)
            raise NodeFailed from error
