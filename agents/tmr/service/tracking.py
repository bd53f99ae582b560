# SPDX-License-Identifier: Apache-2.0
"""Exports of the licence tracking record of one Firm Code, vouched for by containers."""

import asyncio
import csv
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from tmr.api.patience import EXPORT_WITHIN
from tmr.ledger import ChainedLine, Head, RecordDenials, decode_line, unbroken
from tmr.ledger import export as form
from tmr.ledger.export import RecordSpan
from tmr.licensing.spelling import iso_time
from tmr.net.problem import ProblemError, bad_request
from tmr.rpc.record_messages import (
    Answer,
    AttestRecord,
    LinePage,
    NotAttested,
    Question,
    ReadLines,
    RecordAttested,
)
from tmr.rpc.upstream_client import LinkError
from tmr.runtime.logs import fields
from tmr.service.guard import RETRY_AFTER, RequestGuard
from tmr.service.problems import problem

log = logging.getLogger(__name__)

PAUSE: Final = 0.1
COLUMNS: Final = (
    "seq", "time", "event", "product_code", "tmr_id", "reference", "id", "client", "user", "station",
    "address", "mode", "units", "until", "before", "count", "reason", "detail", "rule", "hash",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class RecordSource(msgspec.Struct, frozen=True):
    """Source of the record: an upstream, and a way to ask it. `ask` raises LinkError."""

    name: str
    ask: Callable[[Question], Awaitable[Answer]]


class VouchedRecord(msgspec.Struct):
    """Record that can be exported. `sources`: upstreams that vouch for it; `envelopes`: how they do."""

    span: RecordSpan
    sources: list[int]
    envelopes: list[bytes]


class Interrupted(Exception):
    """The rest of a record could not be read: the answer breaks off, which its reader sees."""


class Tracking:
    """Exports of the record.

    `needed` of the archives must vouch for one. `applied()`: index of the last entry applied here, and its
    certified time.
    """

    def __init__(
        self,
        guard: RequestGuard,
        archives: Sequence[RecordSource],
        needed: int,
        applied: Callable[[], tuple[int, int]],
    ) -> None:
        self._guard = guard
        self._command_log = guard.command_log
        self._archives = archives
        self._needed = needed
        self._applied = applied

    async def vouched(self, firm_code: int, from_ms: int | None, to_ms: int | None) -> VouchedRecord:
        """Have the record vouched for, as it is now. Raises ProblemError."""
        self._guard.check()
        # An entry of now: no line that comes later can be of a time before it.
        await self._guard.outcome(self._command_log.submit(RecordDenials(())))
        # Its commitment reaches the upstreams with the next message: send that now, not at the renewal.
        await self._guard.proved(self._command_log.read_mark())
        index, now_ms = self._applied()
        head = self._command_log.ledger.heads.get(firm_code, Head())
        asked = AttestRecord(firm_code, from_ms, to_ms, head.seq, head.hash, index)
        if to_ms is not None and to_ms > now_ms:
            raise bad_request(
                f"to is later than now ({_written(now_ms)}): nobody can vouch for what has not happened.",
                "Leave it out for all until now, or ask again when that time has come.",
            )
        end = self._command_log.clock() + EXPORT_WITHIN
        while True:
            answers = await asyncio.gather(*(self._ask(source, asked) for source in self._archives))
            found = self._agreed(answers)
            if found is not None and found.span.whole:
                return found
            if self._command_log.clock() < end and any(
                isinstance(one, NotAttested) and one.yet for one in answers
            ):
                await asyncio.sleep(PAUSE)
                continue
            if found is not None:
                return found
            firsts = sorted(one.span.first_seq for one in answers if isinstance(one, RecordAttested))
            if len(firsts) < self._needed or firsts[self._needed - 1] == asked.first_seq:
                raise self._unvouched(answers)
            # One has older lines than another: let both vouch for what both have.
            asked = msgspec.structs.replace(asked, first_seq=firsts[self._needed - 1])

    async def _ask(self, source: RecordSource, asked: AttestRecord) -> RecordAttested | NotAttested:
        try:
            answer = await source.ask(asked)
        except LinkError as error:
            return NotAttested(error.reason)
        return (
            answer
            if isinstance(answer, RecordAttested | NotAttested)
            else NotAttested("it is not understood")
        )

    def _unvouched(self, answers: list[RecordAttested | NotAttested]) -> ProblemError:
        told = [
            f"{source.name}: {'it vouches' if isinstance(one, RecordAttested) else one.reason}"
            for source, one in zip(self._archives, answers, strict=True)
        ]
        if self._needed == 1:
            return problem(
                "overloaded",
                f"The record cannot be vouched for ({'; '.join(told)}).",
                remedy="Ask again; if it repeats, look why: journalctl -u tmr-upstream",
                retry_after=RETRY_AFTER,
            )
        return problem(
            "no-quorum",
            f"Two upstreams must vouch for the record, and fewer can ({'; '.join(told)}).",
            remedy="Repair the upstreams named, or ask again once the lines that are missing were copied.",
            retry_after=RETRY_AFTER,
        )

    def _agreed(self, answers: list[RecordAttested | NotAttested]) -> VouchedRecord | None:
        """The largest span that enough upstreams vouch for alike."""
        spans: dict[RecordSpan, VouchedRecord] = {}
        for slot, one in enumerate(answers):
            if isinstance(one, RecordAttested):
                vouched = spans.setdefault(one.span, VouchedRecord(one.span, [], []))
                vouched.sources.append(slot)
                vouched.envelopes.append(one.envelope)
        enough = [vouched for vouched in spans.values() if len(vouched.sources) >= self._needed]
        return min(enough, key=lambda vouched: vouched.span.first_seq, default=None)

    async def jsonl(self, vouched: VouchedRecord) -> AsyncIterator[bytes]:
        """The file as `tmr.ledger.export` describes it. Raises Interrupted."""
        yield form.header(vouched.span)
        async for page in self._pages(vouched):
            yield b"".join(map(form.body, page))
        yield form.end(vouched.span, vouched.envelopes)

    async def csv(self, vouched: VouchedRecord) -> AsyncIterator[bytes]:
        """The lines for a spreadsheet. Raises Interrupted."""
        yield _rows([COLUMNS])
        async for page in self._pages(vouched):
            yield _rows([_row(chained) for chained in page])

    async def _pages(self, vouched: VouchedRecord) -> AsyncIterator[tuple[ChainedLine, ...]]:
        """The lines, from whichever upstream has them; their chain is checked once more."""
        span = vouched.span
        at, before = span.first_seq, bytes.fromhex(span.before)
        while at <= span.last_seq:
            for slot in list(vouched.sources):
                page = await self._page(slot, ReadLines(span.firm_code, at, span.last_seq), before)
                if page:
                    break
                vouched.sources.remove(slot)
            else:
                log.error("an export breaks off", extra=fields(firm_code=span.firm_code, line=at))
                raise Interrupted(f"no upstream has line {at} of firm {span.firm_code} any more")
            yield page
            at, before = page[-1].seq + 1, page[-1].hash

    async def _page(self, slot: int, question: ReadLines, before: bytes) -> tuple[ChainedLine, ...]:
        try:
            page = await self._archives[slot].ask(question)
        except LinkError as error:
            log.warning("the record cannot be read", extra=fields(error=error))
            return ()
        if not isinstance(page, LinePage) or not unbroken(page.lines):
            return ()
        first, last = page.lines[0], page.lines[-1]
        fits = (first.firm_code, first.seq, first.before) == (question.firm_code, question.first, before)
        return page.lines if fits and last.seq <= question.last else ()


def _row(chained: ChainedLine) -> list[object]:
    line = decode_line(chained.line)
    texts = {
        name: _harmless(value) if isinstance(value, str) else value
        for name, value in msgspec.structs.asdict(line).items()
    }
    texts["time"] = _written(line.time_ms)
    texts["until"] = None if line.until_ms is None else _written(line.until_ms)
    texts["before"] = None if line.before_ms is None else _written(line.before_ms)
    texts["hash"] = chained.hash.hex()
    return [texts[column] for column in COLUMNS]


def _harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection)."""
    text = text.replace(";", ",")  # where a semicolon separates, a formula could follow it
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _rows(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _written(time_ms: int) -> str:
    return iso_time(time_ms, timespec="milliseconds")
