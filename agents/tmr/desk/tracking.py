"""`GET /v1/tracking`: the licence tracking record of one Firm Code, vouched for by containers."""

import asyncio
import csv
import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import FastAPI, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response, StreamingResponse

from tmr.client.models import CODE_MAX, FIRM_CODE_MIN, WRITTEN
from tmr.desk.gate import RETRY_AFTER, Gate
from tmr.desk.openapi import JOURNAL, OPERATORS, documented
from tmr.desk.problems import problem
from tmr.ledger import Chained, Head, Note, decode_line, unbroken
from tmr.ledger import export as form
from tmr.ledger.export import Span
from tmr.rim.logs import fields
from tmr.rim.problem import Problem, bad_request
from tmr.rim.record_wire import Answer, Attest, Attested, NotAttested, Page, Question, Read
from tmr.rim.serve import demand, peer_of
from tmr.rim.upstream_link import LinkError

log = logging.getLogger(__name__)

PATIENCE: Final = 3.0
"""Seconds in which two upstreams must have applied what the twin has."""
PAUSE: Final = 0.1
JSONL: Final = "application/jsonl"
CSV: Final = "text/csv; charset=utf-8"
COLUMNS: Final = (
    "seq", "time", "event", "product_code", "tmr_id", "reference", "id", "client", "user", "station",
    "address", "mode", "units", "until", "count", "reason", "detail", "rule", "hash",
)  # fmt: skip
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Archive(msgspec.Struct, frozen=True):
    """Who keeps the record: an upstream, and how it is asked. `ask` raises LinkError."""

    name: str
    ask: Callable[[Question], Awaitable[Answer]]


class Vouched(msgspec.Struct):
    """What can be exported. `sources`: upstreams that vouch for it; `envelopes`: how they do."""

    span: Span
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
        self, gate: Gate, archives: Sequence[Archive], needed: int, applied: Callable[[], tuple[int, int]]
    ) -> None:
        self._gate = gate
        self._kernel = gate.kernel
        self._archives = archives
        self._needed = needed
        self._applied = applied

    async def vouched(self, firm_code: int, from_ms: int | None, to_ms: int | None) -> Vouched:
        """Have the record vouched for, as it is now. Raises Problem."""
        self._gate.check()
        # An entry of now: no line that comes later can be of a time before it.
        await self._gate.outcome(self._kernel.submit(Note(())))
        index, now_ms = self._applied()
        head = self._kernel.ledger.heads.get(firm_code, Head())
        asked = Attest(firm_code, from_ms, to_ms, head.seq, head.hash, index)
        if to_ms is not None and to_ms > now_ms:
            raise bad_request(
                f"to is later than now ({_written(now_ms)}): nobody can vouch for what has not happened.",
                "Leave it out for all until now, or ask again when that time has come.",
            )
        end = self._kernel.clock() + PATIENCE
        while True:
            answers = await asyncio.gather(*(self._ask(archive, asked) for archive in self._archives))
            found = self._agreed(answers)
            if found is not None and found.span.whole:
                return found
            if self._kernel.clock() < end and any(
                isinstance(one, NotAttested) and one.yet for one in answers
            ):
                await asyncio.sleep(PAUSE)
                continue
            if found is not None:
                return found
            firsts = sorted(one.span.first_seq for one in answers if isinstance(one, Attested))
            if len(firsts) < self._needed or firsts[self._needed - 1] == asked.first_seq:
                raise self._unvouched(answers)
            # One has older lines than another: let both vouch for what both have.
            asked = msgspec.structs.replace(asked, first_seq=firsts[self._needed - 1])

    async def _ask(self, archive: Archive, asked: Attest) -> Attested | NotAttested:
        try:
            answer = await archive.ask(asked)
        except LinkError as error:
            return NotAttested(error.reason)
        return answer if isinstance(answer, Attested | NotAttested) else NotAttested("it is not understood")

    def _unvouched(self, answers: list[Attested | NotAttested]) -> Problem:
        told = [
            f"{archive.name}: {'it vouches' if isinstance(one, Attested) else one.reason}"
            for archive, one in zip(self._archives, answers, strict=True)
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

    def _agreed(self, answers: list[Attested | NotAttested]) -> Vouched | None:
        """The largest span that enough upstreams vouch for alike."""
        spans: dict[Span, Vouched] = {}
        for slot, one in enumerate(answers):
            if isinstance(one, Attested):
                vouched = spans.setdefault(one.span, Vouched(one.span, [], []))
                vouched.sources.append(slot)
                vouched.envelopes.append(one.envelope)
        enough = [vouched for vouched in spans.values() if len(vouched.sources) >= self._needed]
        return min(enough, key=lambda vouched: vouched.span.first_seq, default=None)

    async def jsonl(self, vouched: Vouched) -> AsyncIterator[bytes]:
        """The file as `tmr.ledger.export` describes it. Raises Interrupted."""
        yield form.header(vouched.span)
        async for page in self._pages(vouched):
            yield b"".join(map(form.body, page))
        yield form.end(vouched.span, vouched.envelopes)

    async def csv(self, vouched: Vouched) -> AsyncIterator[bytes]:
        """The lines for a spreadsheet. Raises Interrupted."""
        yield _rows([COLUMNS])
        async for page in self._pages(vouched):
            yield _rows([_row(chained) for chained in page])

    async def _pages(self, vouched: Vouched) -> AsyncIterator[tuple[Chained, ...]]:
        """The lines, from whichever upstream has them; their chain is checked once more."""
        span = vouched.span
        at, before = span.first_seq, bytes.fromhex(span.before)
        while at <= span.last_seq:
            for slot in list(vouched.sources):
                page = await self._page(slot, Read(span.firm_code, at, span.last_seq), before)
                if page:
                    break
                vouched.sources.remove(slot)
            else:
                log.error("an export breaks off", extra=fields(firm_code=span.firm_code, line=at))
                raise Interrupted(f"no upstream has line {at} of firm {span.firm_code} any more")
            yield page
            at, before = page[-1].seq + 1, page[-1].hash

    async def _page(self, slot: int, question: Read, before: bytes) -> tuple[Chained, ...]:
        try:
            page = await self._archives[slot].ask(question)
        except LinkError as error:
            log.warning("the record cannot be read", extra=fields(error=error))
            return ()
        if not isinstance(page, Page) or not unbroken(page.lines):
            return ()
        first, last = page.lines[0], page.lines[-1]
        fits = (first.firm_code, first.seq, first.before) == (question.firm_code, question.first, before)
        return page.lines if fits and last.seq <= question.last else ()


def _row(chained: Chained) -> list[object]:
    line = decode_line(chained.line)
    texts = {
        name: _harmless(value) if isinstance(value, str) else value
        for name, value in msgspec.structs.asdict(line).items()
    }
    texts["time"] = _written(line.time_ms)
    texts["until"] = None if line.until_ms is None else _written(line.until_ms)
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
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else max(0, round(moment.timestamp() * 1000))


def add_routes(app: FastAPI, tracking: Tracking) -> None:
    """The route of exports."""

    @app.get(
        "/v1/tracking",
        tags=["operation"],
        response_class=Response,
        responses={200: {"description": "The record", "content": {JSONL: {}, CSV: {}}}},
        openapi_extra=documented(*JOURNAL, roles=OPERATORS),
    )
    async def export(
        request: Request,
        firm_code: Annotated[int, Query(ge=FIRM_CODE_MIN, le=CODE_MAX)],
        from_: Annotated[AwareDatetime | None, Query(alias="from"), WRITTEN] = None,
        to: Annotated[AwareDatetime | None, Query(), WRITTEN] = None,
        format: Annotated[Literal["jsonl", "csv"], Query()] = "jsonl",  # noqa: A002
    ) -> Response:
        """The licence tracking record of one firm, from `from` until before `to`; for operators.

        JSON Lines that two containers vouch for (that of a network licence server alone), or CSV.
        """
        demand(peer_of(request), "operator")
        vouched = await tracking.vouched(firm_code, _ms(from_), _ms(to))
        lines, media = (tracking.csv, CSV) if format == "csv" else (tracking.jsonl, JSONL)
        name = f"tracking-{firm_code}.{format}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines(vouched), media_type=media, headers=headers)
