# SPDX-License-Identifier: Apache-2.0
"""Brings lines of the licence tracking record to upstreams that lack some: a snapshot stood for them."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from tmr.rpc.record_messages import (
    FirmRecord,
    LinePage,
    LineRun,
    LinesStored,
    ListRecords,
    ReadLines,
    RecordList,
    StoreLines,
)
from tmr.rpc.upstream_client import LinkError
from tmr.runtime.background import Background
from tmr.runtime.logs import fields
from tmr.twin.replicator import Replicator

log = logging.getLogger(__name__)

INTERVAL: Final = 30.0
"""Seconds between two looks at the upstreams' records."""
BUSY: Final = 1.0
"""Seconds, while there is more to copy."""
PAGES: Final = 32
"""Pages that one round copies at most: between rounds the links are free for exports."""
ALARMS: Final = 5

Shown = Mapping[int, FirmRecord]
"""Records that one upstream has, by Firm Code."""


def gap_of(shown: FirmRecord) -> LineRun | None:
    """The last lines that an upstream lacks; None: it has all that it should."""
    top = shown.runs[-1] if shown.runs else LineRun(shown.pruned + 1, shown.pruned)
    if top.last < shown.head:
        return LineRun(top.last + 1, shown.head)
    if top.first <= shown.pruned + 1:
        return None
    below = shown.runs[-2].last if len(shown.runs) > 1 else shown.pruned
    return LineRun(below + 1, top.first - 1)


class RecordSync:
    """`poke` is cheap and may be called after everything that happens; one task at a time works."""

    def __init__(self, replicator: Replicator, fatal: Callable[[BaseException], None]) -> None:
        self._replicator = replicator
        self.interval = INTERVAL
        self.alarms: tuple[str, ...] = ()
        """Lines that no upstream has."""
        self._next_at = float("-inf")
        self._budget = 0
        self._background = Background(fatal)

    def begin_term(self, now: float) -> None:
        """Look at the records once the term has settled."""
        self._next_at = now + min(BUSY, self.interval)

    def poke(self, now: float) -> None:
        """Start a round if it is time and this twin is active."""
        if not self._background.running and now >= self._next_at and self._replicator.twin.holds(now):
            self._background.start(self._round())

    async def stop(self) -> None:
        """End the round under way."""
        await self._background.stop()

    async def _round(self) -> None:
        self._budget = PAGES
        reachable = [slot for slot in range(3) if self._replicator.twin.replicas[slot].reachable]
        looks = await asyncio.gather(*(self._look(slot) for slot in reachable))
        shown = {slot: firms for slot, firms in zip(reachable, looks, strict=True) if firms is not None}
        alarms: list[str] = []
        for slot, firms in shown.items():
            for firm in firms.values():
                gap = gap_of(firm)
                if gap is not None:
                    others = {
                        other: record
                        for other, theirs in shown.items()
                        if other != slot and (record := theirs.get(firm.firm_code)) is not None
                    }
                    alarm = await self._copy(slot, firm.firm_code, gap, others)
                    alarms += [alarm] if alarm else []
        if len(shown) == len(self._replicator.twin.replicas):  # one that is away may have what is missing
            self.alarms = tuple(alarms[:ALARMS])
        copied = self._budget < PAGES
        self._next_at = self._replicator.clock() + (min(BUSY, self.interval) if copied else self.interval)

    async def _look(self, slot: int) -> Shown | None:
        found: dict[int, FirmRecord] = {}
        after, more = 0, True
        while more:
            try:
                looked = await self._replicator.links[slot].call(ListRecords(after))
            except LinkError as error:
                log.warning("the record cannot be looked at", extra=fields(error=error))
                return None
            if not isinstance(looked, RecordList) or (looked.more and not looked.firms):
                return None
            found.update({firm.firm_code: firm for firm in looked.firms})
            after, more = (looked.firms[-1].firm_code if looked.firms else after), looked.more
        return found

    async def _copy(self, slot: int, firm: int, gap: LineRun, others: Shown) -> str:
        """Copy what is missing, from the end to the front; an alarm where no upstream has it."""
        name, last = self._replicator.twin.names[slot], gap.last
        sources = [other for other, record in others.items() if _has(record, last)]
        if not sources:
            known = [record for record in others.values() if record.pruned < last <= record.head]
            if len(known) < len(self._replicator.links) - 1:
                return ""  # too old for all, or not known to the others yet
            return f"no upstream has lines {gap.first} to {last} of the record of firm {firm}"
        copied = 0
        for source in sources:
            while last >= gap.first and self._budget:
                self._budget -= 1
                stored = await self._copy_page(slot, source, ReadLines(firm, gap.first, last, backwards=True))
                if not stored:
                    break
                copied, last = copied + stored, last - stored
        if copied:
            log.info("lines of the record copied", extra=fields(upstream=name, firm_code=firm, lines=copied))
        return ""

    async def _copy_page(self, slot: int, source: int, question: ReadLines) -> int:
        """Number of lines that were stored."""
        links = self._replicator.links
        try:
            page = await links[source].call(question)
            if not isinstance(page, LinePage) or not page.lines:
                return 0
            filled = await links[slot].call(StoreLines(question.firm_code, page.lines))
        except LinkError as error:
            log.warning("lines of the record cannot be copied", extra=fields(error=error))
            return 0
        if not isinstance(filled, LinesStored):
            return 0
        if not filled.stored:
            to, by = self._replicator.twin.names[slot], self._replicator.twin.names[source]
            log.warning(
                "lines of the record refused", extra=fields(upstream=to, source=by, reason=filled.reason)
            )
        return filled.stored


def _has(record: FirmRecord, seq: int) -> bool:
    return any(run.first <= seq <= run.last for run in record.runs)
