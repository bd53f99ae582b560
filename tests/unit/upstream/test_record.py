# SPDX-License-Identifier: Apache-2.0
"""The record in the store: lines in runs, gaps that are filled from elsewhere, old lines that go."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.record import FIRM, head_of, lines
from tmr.ledger import ChainedLine, Head, unbroken
from tmr.rpc.record_messages import PAGE_BYTES, PAGE_LINES, FirmRecord, LineRun
from tmr.upstream import record as module
from tmr.upstream.record import TABLES, CannotVouch, Record

TRUTH = lines(400)
WRONG = lines(400, client="mallory")


@contextmanager
def opened() -> Iterator[Record]:
    db = sqlite3.connect(":memory:")
    db.executescript(TABLES)
    try:
        yield Record(db)
    finally:
        db.close()


def everything(record: Record, firm: int = FIRM) -> list[ChainedLine]:
    """All lines, run by run, as `read` gives them."""
    found: list[ChainedLine] = []
    for first, last in record._db.execute(
        "SELECT first, last FROM record_run WHERE firm_code = ? ORDER BY first", (firm,)
    ).fetchall():
        at = first
        while at <= last:
            page = record.read(firm, at, last)
            assert page
            assert page[0].seq == at
            found += page
            at = page[-1].seq + 1
    return found


def gap_of(shown: FirmRecord) -> tuple[int, int] | None:
    """The highest gap, as a twin sees it."""
    top = shown.runs[-1] if shown.runs else LineRun(shown.pruned + 1, shown.pruned)
    if top.last < shown.head:
        return top.last + 1, shown.head
    if top.first > shown.pruned + 1:
        below = shown.runs[-2].last if len(shown.runs) > 1 else shown.pruned
        return below + 1, top.first - 1
    return None


def fill(record: Record, head: Head, page: int) -> None:
    """What a twin does, with an upstream that has everything."""
    for _ in range(5_000):
        record.reconcile(FIRM, head)
        gap = gap_of(record.look(FIRM, head))
        if gap is None:
            return
        first, last = max(gap[0], gap[1] - page + 1), gap[1]
        assert record.store(TRUTH[first - 1 : last], head).stored == last - first + 1
    raise AssertionError("never whole")


_steps = st.lists(
    st.tuples(
        st.sampled_from(["apply", "apply", "install", "again", "wrong", "prune", "fill"]), st.integers(1, 25)
    ),
    max_size=14,
)


@settings(max_examples=300, deadline=None)
@given(steps=_steps, page=st.integers(1, 40), chunk=st.integers(1, 12))
def test_whatever_happens_the_record_can_be_made_whole(
    steps: list[tuple[str, int]], page: int, chunk: int
) -> None:
    usual, module.CHUNK = module.CHUNK, chunk  # type: ignore[misc]
    try:
        with opened() as record:
            at = since = 0
            head = Head()
            for kind, count in steps:
                if kind == "wrong":  # it diverged, which an installed snapshot ends
                    record.add(WRONG[at : at + count])
                    kind = "install"  # noqa: PLW2901
                if kind in ("apply", "install"):
                    if kind == "apply":
                        record.add(TRUTH[at : at + count])
                    at += count
                    since = at if kind == "install" else since
                    head = head_of(TRUTH[:at])
                elif kind == "again":  # a restart
                    record.add(TRUTH[max(since, at - count) : at])
                elif kind == "prune":
                    record.prune(1000 * (at - count))
                elif at:
                    fill(record, head, page)
            if at:
                fill(record, head, page)
                pruned = record.look(FIRM, head).pruned
                assert everything(record) == TRUTH[pruned:at]
                span = record.span(FIRM, head, None, None)
                assert (span.first_seq, span.last_seq) == (pruned + 1, at)
                assert (span.last_hash, span.whole) == (head.hash.hex(), pruned == 0)
    finally:
        module.CHUNK = usual  # type: ignore[misc]


def test_two_firms_do_not_meet() -> None:
    other = lines(5, FIRM + 1)
    with opened() as record:
        record.add([*TRUTH[:5], *other])
        assert everything(record) == TRUTH[:5]
        assert everything(record, FIRM + 1) == other


def test_lines_that_lead_nowhere_are_not_stored() -> None:
    with opened() as record:
        head = head_of(TRUTH[:20])
        record.add(TRUTH[10:20])
        for bad in (
            WRONG[:10],  # another history
            TRUTH[:9],  # does not reach the line that is there
            TRUTH[5:15],  # some are there
            [*TRUTH[:4], *TRUTH[5:10]],  # a gap within
            [*TRUTH[:9], replace(TRUTH[9], time_ms=1)],  # not what its bytes say
            [*TRUTH[:9], replace(TRUTH[9], line=TRUTH[9].line + b" ")],
            TRUTH[20:25],  # later than the own ledger
        ):
            answer = record.store(bad, head)
            assert answer.stored == 0
            assert answer.reason
        assert everything(record) == TRUTH[10:20]
        assert record.store(TRUTH[:10], head).stored == 10
        assert everything(record) == TRUTH[:20]


def test_a_page_is_bounded_from_both_ends() -> None:
    many = lines(PAGE_LINES + 50)
    large = lines(400, FIRM + 1, detail="x" * 4000)
    with opened() as record:
        record.add([*many, *large])
        assert record.read(FIRM, 1, 5_000) == many[:PAGE_LINES]
        assert record.read(FIRM, 1, len(many), backwards=True) == many[50:]
        page = record.read(FIRM + 1, 3, 400)
        assert page[0] == large[2]
        assert PAGE_BYTES <= sum(len(line.line) for line in page) < PAGE_BYTES + 5_000
        backwards = record.read(FIRM + 1, 1, 400, backwards=True)
        assert backwards == large[400 - len(backwards) :]
        assert unbroken(backwards)


def test_pruning_keeps_the_chain_and_says_what_is_gone() -> None:
    with opened() as record:
        record.add(TRUTH[:100])
        head = head_of(TRUTH[:100])
        assert record.prune(31_000) == 30
        assert record.prune(31_000) == 0
        assert everything(record) == TRUTH[30:100]
        span = record.span(FIRM, head, None, None)
        assert (span.first_seq, span.before, span.whole) == (31, TRUTH[29].hash.hex(), False)
        assert record.span(FIRM, head, 31_000, None).whole
        assert not record.span(FIRM, head, 30_000, None).whole, "line 30 was of this time"
        record.add(TRUTH[100:110])
        assert record.prune(10**9) == 80
        head = head_of(TRUTH[:110])
        span = record.span(FIRM, head, 200_000, 300_000)
        assert (span.first_seq, span.last_seq, span.whole) == (111, 110, True)
        assert span.before == span.last_hash == TRUTH[109].hash.hex()
        record.add(TRUTH[110:120])
        assert record.span(FIRM, head_of(TRUTH[:120]), None, None).before == TRUTH[109].hash.hex()


@given(begin=st.integers(0, 110_000), end=st.integers(0, 110_000))
def test_a_span_is_what_its_times_say(begin: int, end: int) -> None:
    with opened() as record:
        record.add(TRUTH[:100])
        span = record.span(FIRM, head_of(TRUTH[:100]), begin, end)
    wanted = [line.seq for line in TRUTH[:100] if begin <= line.time_ms < end]
    assert list(range(span.first_seq, span.last_seq + 1)) == wanted
    assert span.whole
    if wanted:
        assert span.last_hash == TRUTH[wanted[-1] - 1].hash.hex()


def test_a_record_that_differs_or_has_a_gap_vouches_for_nothing() -> None:
    with opened() as record:
        record.add(TRUTH[:10])
        for head in (head_of(WRONG[:10]), head_of(TRUTH[:11])):
            try:
                record.span(FIRM, head, None, None)
            except CannotVouch as error:
                assert "line 1" in str(error)
            else:
                raise AssertionError("it vouched")
        record.add(TRUTH[20:30])
        span = record.span(FIRM, head_of(TRUTH[:30]), None, None)
        assert (span.first_seq, span.whole) == (21, False)
        assert record.span(FIRM, head_of(TRUTH[:30]), 22_000, None).whole
        narrowed = record.span(FIRM, head_of(TRUTH[:30]), None, None, 25)
        assert (narrowed.first_seq, narrowed.before, narrowed.whole) == (25, TRUTH[23].hash.hex(), False)
