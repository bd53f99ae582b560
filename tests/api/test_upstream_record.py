# SPDX-License-Identifier: Apache-2.0
"""The record at an upstream's API: who is answered, what is vouched for, and what survives `kill -9`."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from testbed.pki import System, make_system
from tests.api.test_upstream import client
from tests.support.record import FIRM, head_of, lines
from tests.support.upstream_process import UpstreamProcess
from tmr.ledger import ChainedLine, DenialCount, Ledger, RecordDenials, encode, unbroken
from tmr.ledger.export import open_attestation
from tmr.licensing import open_request, open_statement
from tmr.quorum.entries import Entry, Membership, ProposerId
from tmr.quorum.messages import Acquire, Append, Appended, Bootstrap, NotVoting, Promise
from tmr.rpc import registry
from tmr.rpc.messages import ReadContainer
from tmr.rpc.record_messages import (
    AttestRecord,
    LinePage,
    LinesStored,
    ListRecords,
    NotAttested,
    ReadLines,
    RecordAttested,
    RecordList,
    StoreLines,
)
from tmr.rpc.registry import BY_MESSAGE, RPCS, Transport
from tmr.rpc.upstream_client import LinkError, UpstreamLink

A = ProposerId("tmr1", "a")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def upstream(tmp_path: Path, system: System) -> Iterator[UpstreamProcess]:
    made = UpstreamProcess(tmp_path, system, ttl=30.0)
    try:
        yield made.start()
    finally:
        made.close()


def noting(index: int, epoch: int = 1) -> Entry:
    """A command that adds two lines to the record."""
    refusals = tuple(
        DenialCount(FIRM, 201, "no-more-licences", "", "alice", "cad-07", "", "", index * 2 + n)
        for n in (0, 1)
    )
    return Entry(index, epoch, 1_000 * index, "command", encode(RecordDenials(refusals)))


def truth(count: int) -> list[ChainedLine]:
    """The lines that the first `count` entries make, by the production ledger."""
    ledger, found = Ledger(), list[ChainedLine]()
    for index in range(1, count + 1):
        entry = noting(index)
        ledger.apply(entry.index, entry.time_ms, entry.body)
        found += ledger.lines
    return found


@asynccontextmanager
async def active_twin(upstream: UpstreamProcess, entries: int, commit: int) -> AsyncIterator[UpstreamLink]:
    """A twin whose journal of `entries` the upstream has; `commit` of them are committed."""
    link = upstream.link()
    try:
        joining = await link.call(Acquire(1, A, 1000))
        assert isinstance(joining, NotVoting)
        await link.call(Bootstrap(A, Membership((joining.state.replica_id, "d2", "d3"))))
        assert isinstance(await link.call(Acquire(1, A, 30_000)), Promise)
        made = tuple(noting(n) for n in range(1, entries + 1))
        assert isinstance(await link.call(Append(1, A, 30_000, 0, 0, made, 0)), Appended)
        assert isinstance(await link.call(Append(1, A, 30_000, entries, 1, (), commit)), Appended)
        yield link
    finally:
        await link.close()


@pytest.mark.parametrize("role", ["client", "operator", "upstream"])
def test_the_record_is_the_twins_alone(upstream: UpstreamProcess, system: System, role: str) -> None:
    name = {"client": "alice", "operator": "olga", "upstream": "up2"}[role]
    with client(upstream, system.files(role, name)) as http:
        for path in [rpc.route for rpc in RPCS if rpc.transport is Transport.HTTP_ORDERED]:
            assert http.post(path, content=registry.encode(ListRecords())).status_code == 403


def test_what_is_no_question_is_refused(upstream: UpstreamProcess, system: System) -> None:
    with client(upstream, system.twin("tmr1")) as http:

        def ask(path: str, body: bytes) -> httpx.Response:
            return http.post(path, content=body)

        for body in (
            b"",
            b"\xc1",
            msgspec.msgpack.encode({"type": "read", "firm_code": -1, "first": 1, "last": 2}),
        ):
            answer = ask(BY_MESSAGE[ReadLines].route, body)
            assert answer.status_code == 422
            assert answer.json()["type"] == "urn:tmr:problem:bad-request"
        assert (
            "/v1/record/list"
            in ask(BY_MESSAGE[ReadLines].route, registry.encode(ListRecords())).json()["remedy"]
        )


def test_a_container_vouches_for_what_its_record_has(upstream: UpstreamProcess) -> None:
    made = truth(6)

    async def run() -> None:
        async with active_twin(upstream, 6, 5) as link:
            head = head_of(made[:10])
            looked = await link.call(ListRecords())
            assert isinstance(looked, RecordList)
            ((firm),) = looked.firms
            assert (firm.firm_code, firm.head, [(run.first, run.last) for run in firm.runs]) == (
                FIRM,
                10,
                [(1, 10)],
            )
            page = await link.call(ReadLines(FIRM, 3, 99))
            assert isinstance(page, LinePage)
            assert list(page.lines) == made[2:10]
            attested = await link.call(AttestRecord(FIRM, 2_000, 4_000, head.seq, head.hash, 5))
            assert isinstance(attested, RecordAttested)
            assert (attested.span.first_seq, attested.span.last_seq) == (3, 6)
            attestation, envelope = open_attestation(attested.envelope)
            assert attestation.span == attested.span
            assert attestation.time_ms == 5_000
            signed = await link.call(ReadContainer())
            assert envelope.signed_by(signed.key)
            assert open_statement(signed, signed.key).container == attestation.container
            request = open_request(upstream.command("request", "--firm", str(FIRM)).stdout.strip().encode())
            assert request.container_key == signed.key.hex()
            # What it cannot know, or knows better.
            early = await link.call(AttestRecord(FIRM, None, None, 12, made[11].hash, 6))
            assert isinstance(early, NotAttested)
            assert early.yet
            for seq, hash_, index in (
                (8, made[7].hash, 5),
                (10, made[9].hash[::-1], 5),
                (12, made[11].hash, 5),
            ):
                assert isinstance(
                    await link.call(AttestRecord(FIRM, None, None, seq, hash_, index)), NotAttested
                )
            older = await link.call(AttestRecord(FIRM, None, None, 8, made[7].hash, 4))
            assert isinstance(older, RecordAttested)
            assert open_attestation(older.envelope)[0].time_ms == 4_000
            filled = await link.call(StoreLines(FIRM, tuple(lines(3))))
            assert isinstance(filled, LinesStored)
            assert (filled.stored, bool(filled.reason)) == (0, True)

    asyncio.run(run())


def test_the_record_is_whole_after_kill_9(upstream: UpstreamProcess) -> None:
    rng = random.Random(11)

    async def append(link: UpstreamLink, epoch: int) -> tuple[int, int]:
        """Append and commit until the process dies; the last entry acknowledged as committed and stored."""
        promise = await link.call(Acquire(epoch, A, 30_000))
        assert isinstance(promise, Promise)
        at = (promise.state.last_index, promise.state.last_epoch)
        try:
            while True:
                batch = tuple(noting(at[0] + 1 + n, epoch) for n in range(3))
                reply = await link.call(Append(epoch, A, 30_000, *at, batch, at[0]))
                assert isinstance(reply, Appended)
                at = (reply.match_index, epoch)
        except LinkError:
            return at

    async def run() -> int:
        loop = asyncio.get_running_loop()
        async with active_twin(upstream, 1, 1):
            pass
        for epoch in range(2, 6):
            link = upstream.link()
            task = asyncio.create_task(append(link, epoch))
            await asyncio.sleep(0.2 + rng.random() * 0.3)
            await loop.run_in_executor(None, upstream.kill)
            await task
            await link.close()
            await loop.run_in_executor(None, upstream.start)
            link = upstream.link()
            looked = await link.call(ListRecords())
            assert isinstance(looked, RecordList)
            (firm,) = looked.firms
            (whole,) = firm.runs
            assert (whole.first, whole.last) == (1, firm.head)
            found: list[ChainedLine] = []
            while len(found) < firm.head:
                page = await link.call(ReadLines(FIRM, len(found) + 1, firm.head))
                assert isinstance(page, LinePage)
                found += page.lines
            assert unbroken(found)
            assert found == truth(firm.head // 2)
            await link.close()
        return firm.head

    assert asyncio.run(run()) > 20
