# SPDX-License-Identifier: Apache-2.0
"""Borrow files from real upstreams: signed from their own committed ledgers, by two, or not at all."""

import asyncio
import base64
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from testbed.pki import System, make_system
from tests.api.test_upstream import client, founded
from tests.support import tmr_system
from tests.support.lending import FIRM, FROM_MS, item, update_file
from tests.support.upstream_process import UpstreamProcess
from tmr.client.borrowed import BorrowedLicence, fingerprint, verify
from tmr.ledger import Borrow, Command, GiveBack, StateContainers, encode
from tmr.ledger.outcomes import Borrowed
from tmr.licensing import Container, LicenceKey, check_share, open_request, public_key_to_pem, raw_public_key
from tmr.net.problem import ProblemError
from tmr.quorum.entries import Entry, Membership, ProposerId
from tmr.quorum.messages import Acquire, Append, Appended, Bootstrap, Bootstrapped, NotVoting, Promise
from tmr.quorum.read_index import ReadIndex
from tmr.rpc import registry
from tmr.rpc.messages import ReadContainer, SignBorrowing
from tmr.rpc.registry import BY_MESSAGE
from tmr.rpc.upstream_client import LinkRefused, UpstreamLink
from tmr.twin.borrow_files import borrow_file

A = ProposerId("tmr1", "a")
NAMES = ("up1", "up2", "up3")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"))


ROUTE = BY_MESSAGE[SignBorrowing].route
READ = ReadIndex(1, A, 0)
"""What the test asks with as the active twin: whatever is applied will do."""


class Site:
    """Three upstreams that hold a vendor's licence; the test plays the active twin."""

    def __init__(self, directory: Path, system: System) -> None:
        self.system = system
        self.vendor = Ed25519PrivateKey.generate()
        self.upstreams = [UpstreamProcess(directory, system, name, ttl=30.0) for name in NAMES]
        self.entries: list[Entry] = []
        self.updates = 0

    def start(self) -> None:
        for upstream in self.upstreams:
            (upstream.vendors / f"{FIRM}.pem").write_bytes(public_key_to_pem(raw_public_key(self.vendor)))
            upstream.start()
        self.update()

    def update(self, *names: str) -> None:
        """The vendor's next update, on these upstreams or all."""
        self.updates += 1
        requests = [
            open_request(one.command("request", "--firm", str(FIRM)).stdout.encode())
            for one in self.upstreams
        ]
        containers = [Container(r.container, r.act_id, bytes.fromhex(r.container_key)) for r in requests]
        file = self.upstreams[0].root / f"update-{self.updates}.json"
        file.write_bytes(
            update_file(self.vendor, containers, [item()], f"update-{self.updates}", self.updates)
        )
        for upstream in self.upstreams:
            if upstream.name in (names or NAMES):
                self.activate(upstream)

    def activate(self, upstream: UpstreamProcess) -> None:
        file = self.upstreams[0].root / f"update-{self.updates}.json"
        done = upstream.command("activate", str(file))
        assert done.returncode == 0, done.stderr

    def run(self, story: Callable[[dict[str, UpstreamLink]], Awaitable[None]]) -> None:
        """`story` with a link to each upstream."""

        async def run() -> None:
            links = {upstream.name: upstream.link() for upstream in self.upstreams}
            try:
                async with asyncio.timeout(100):
                    await story(links)
            finally:
                for link in links.values():
                    await link.close()

        asyncio.run(run())

    async def found(self, links: dict[str, UpstreamLink]) -> None:
        """Bootstrap the system, serve, and let the journal know the containers."""
        replies = [await link.call(Acquire(1, A, 1000, pre_vote=True)) for link in links.values()]
        one, two, three = [reply.state.replica_id for reply in replies if isinstance(reply, NotVoting)]
        for link in links.values():
            assert isinstance(await link.call(Bootstrap(A, Membership((one, two, three)))), Bootstrapped)
            assert isinstance(await link.call(Acquire(1, A, 30_000)), Promise)
        statements = [await link.call(ReadContainer()) for link in links.values()]
        await self.commit(links, StateContainers(tuple(statements)))

    async def append(self, links: dict[str, UpstreamLink], command: Command) -> None:
        """Store the command, without saying that it is committed."""
        entry = Entry(len(self.entries) + 1, 1, FROM_MS + len(self.entries), "command", encode(command))
        self.entries.append(entry)
        await self.tell(links, entry.index - 1)

    async def tell(self, links: dict[str, UpstreamLink], commit: int) -> None:
        """Bring the journals up to date, and say what is committed."""
        for link in links.values():
            reply = await link.call(Append(1, A, 30_000, 0, 0, tuple(self.entries), commit))
            assert isinstance(reply, Appended)

    async def commit(self, links: dict[str, UpstreamLink], command: Command) -> None:
        await self.append(links, command)
        await self.tell(links, len(self.entries))

    def borrow(self, borrow: str) -> Borrow:
        certificate = Path(self.system.client("alice").certificate).read_bytes()
        return Borrow(
            request_id=f"request-{borrow}",
            client="alice",
            borrow=borrow,
            firm_code=FIRM,
            product_code=201,
            keys=(LicenceKey(FIRM, 201, 1),),
            seconds=86_400,
            borrower=fingerprint(certificate),
            station="cad-07",
            user="Zoë",
        )

    def verified(self, file: bytes) -> BorrowedLicence:
        files = self.system.client("alice")
        return verify(
            file,
            vendor_key=public_key_to_pem(raw_public_key(self.vendor)),
            certificate=Path(files.certificate).read_bytes(),
            key=Path(files.key).read_bytes(),
            now=datetime.fromtimestamp(FROM_MS // 1000, UTC) + timedelta(hours=1),
        )


@pytest.fixture
def site(tmp_path: Path, system: System) -> Iterator[Site]:
    made = Site(tmp_path, system)
    try:
        made.start()
        yield made
    finally:
        for upstream in made.upstreams:
            upstream.close()


async def refusal(link: UpstreamLink, borrow: str) -> str:
    with pytest.raises(LinkRefused) as caught:
        await link.call(SignBorrowing(borrow, READ))
    return caught.value.code


async def failure(links: dict[str, UpstreamLink], borrow: str, patience: float = 0.5) -> dict[str, Any]:
    with pytest.raises(ProblemError) as caught:
        await borrow_file(links, borrow, lambda: READ, patience=patience)
    document = caught.value.problem.model_dump()
    assert document["type"] == "urn:tmr:problem:borrow-not-signed"
    assert document["remedy"]
    return document


def test_a_borrowing_is_signed_once_it_is_committed_and_while_one_upstream_is_down(site: Site) -> None:
    async def story(links: dict[str, UpstreamLink]) -> None:
        await site.found(links)
        await site.append(links, site.borrow("bor-1"))
        for link in links.values():  # stored by all, committed as far as nobody knows
            assert await refusal(link, "bor-1") == "not-committed"
        waiting = asyncio.create_task(borrow_file(links, "bor-1", lambda: READ, patience=60))
        two = {name: links[name] for name in ("up1", "up2")}
        await site.tell({"up1": links["up1"]}, len(site.entries))
        one = await links["up1"].call(SignBorrowing("bor-1", READ))
        assert not waiting.done()
        site.upstreams[2].kill()
        await site.tell(two, len(site.entries))
        licence = site.verified(await waiting)
        assert (licence.borrow, licence.client, licence.station, licence.user) == (
            "bor-1",
            "alice",
            "cad-07",
            "Zoë",
        )
        assert licence.until - licence.since == timedelta(days=1)
        # the same bytes from every upstream, whenever it is asked
        other = await links["up2"].call(SignBorrowing("bor-1", READ))
        again = await links["up1"].call(SignBorrowing("bor-1", READ))
        assert one.payload == other.payload == again.payload
        assert one.key != other.key
        assert check_share(other).lent.update_id == "update-1"
        site.upstreams[1].kill()
        detail = (await failure(links, "bor-1"))["detail"]
        assert "up1: it signs, with the update update-1" in detail
        assert "up2: connection" in detail
        assert "up3: connection" in detail
        await site.commit({"up1": links["up1"]}, GiveBack("bor-1", "alice", "release"))
        assert await refusal(links["up1"], "bor-1") == "not-committed"

    site.run(story)


def test_upstreams_at_different_updates_sign_nothing_together(site: Site) -> None:
    async def story(links: dict[str, UpstreamLink]) -> None:
        await site.found(links)
        await site.commit(links, site.borrow("bor-1"))
        before = await borrow_file(links, "bor-1", lambda: READ, patience=60)
        in_thread = asyncio.get_running_loop().run_in_executor
        await in_thread(None, lambda: site.update("up1"))
        site.upstreams[2].kill()
        detail = (await failure(links, "bor-1"))["detail"]
        assert "up1: it signs, with the update update-2" in detail
        assert "up2: it signs, with the update update-1" in detail
        waiting = asyncio.create_task(borrow_file(links, "bor-1", lambda: READ, patience=60))
        await in_thread(None, lambda: site.activate(site.upstreams[1]))
        after = site.verified(await waiting)
        assert (site.verified(before).update_id, after.update_id) == ("update-1", "update-2")

    site.run(story)


def test_containers_that_kept_no_update_say_what_to_do(site: Site) -> None:
    async def story(links: dict[str, UpstreamLink]) -> None:
        await site.found(links)
        await site.commit(links, site.borrow("bor-1"))

    site.run(story)
    for upstream in site.upstreams[:2]:  # as an earlier version left the container
        assert upstream.stop() == 0
        with sqlite3.connect(upstream.state / "upstream.db") as db:
            (body,) = db.execute("SELECT body FROM container").fetchone()
            container = json.loads(body)
            for firm in container["firms"]:
                assert firm.pop("update")
            db.execute("UPDATE container SET body = ?", (json.dumps(container).encode(),))
            db.execute("DELETE FROM row_checksum WHERE name = 'container'")
        db.close()
        upstream.start()

    async def refused(links: dict[str, UpstreamLink]) -> None:
        await site.tell(links, len(site.entries))
        assert await refusal(links["up1"], "bor-1") == "no-update"
        started = time.monotonic()
        detail = (await failure(links, "bor-1", patience=90))["detail"]
        assert time.monotonic() - started < 30  # no need to wait: it will not change by itself
        assert "has kept no update of the firm" in detail
        await asyncio.get_running_loop().run_in_executor(None, site.update)
        assert (
            site.verified(await borrow_file(links, "bor-1", lambda: READ, patience=60)).update_id
            == "update-2"
        )

    site.run(refused)


def test_only_twins_are_answered_and_only_about_ids(tmp_path: Path, system: System) -> None:
    upstream = UpstreamProcess(tmp_path, system)
    try:
        upstream.start()

        async def story() -> None:
            link = upstream.link()
            assert await refusal(link, "bor-1") == "not-voting"
            await founded(link)
            assert await refusal(link, "bor-1") == "fenced"
            assert isinstance(await link.call(Acquire(1, A, 30_000)), Promise)
            assert await refusal(link, "bor-1") == "not-committed"
            await link.close()

        asyncio.run(story())
        for role, name in (("client", "alice"), ("operator", "olga"), ("upstream", "up2")):
            with client(upstream, system.files(role, name)) as http:
                answer = http.post(ROUTE, content=registry.encode(SignBorrowing("bor-1", READ)))
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:tmr:problem:wrong-role")
        with client(upstream, system.twin("tmr1")) as http:
            for odd in ("\0", "-x", "x" * 129, "a b", "é", "..."):
                answer = http.post(ROUTE, content=registry.encode(SignBorrowing(odd, READ)))
                assert answer.status_code == 422
                assert answer.json()["type"] == "urn:tmr:problem:bad-request"
            posted = http.post(ROUTE, content=b"{}")
            assert posted.json()["type"] == "urn:tmr:problem:bad-request"
            other = registry.encode(SignBorrowing("bor-1", ReadIndex(1, ProposerId("tmr2", "life"), 0)))
            posted = http.post(ROUTE, content=other)
            assert (posted.status_code, posted.json()["type"]) == (403, "urn:tmr:problem:wrong-role")
            assert http.get(ROUTE).status_code == 405
    finally:
        upstream.close()


@tmr_system.scenario
async def _lent_by_the_active_twin(directory: Path) -> None:
    vendor = Ed25519PrivateKey.generate()
    async with tmr_system.running(directory) as system:
        containers = [upstream.box for upstream in system.upstreams]
        file = update_file(vendor, containers, [item(activation_ms=None, expiration_ms=None)])
        for upstream in system.upstreams:
            upstream.activate(raw_public_key(vendor), file)
        replicator = system.active.agent.replicator
        await tmr_system.until(
            lambda: LicenceKey(FIRM, 201, 1) in replicator.ledger.licences, "the licence is known"
        )
        borrow = Borrow(
            "request-1", "alice", "bor-1", FIRM, 201, (LicenceKey(FIRM, 201, 1),), 3600, "ab" * 32, "cad-07"
        )
        assert isinstance(await replicator.submit(borrow), Borrowed)
        links = dict(zip(replicator.twin.names, replicator.links, strict=True))

        def read() -> ReadIndex:
            return ReadIndex(replicator.twin.epoch, replicator.twin.owner, replicator.twin.applied)

        tree = json.loads(await borrow_file(links, "bor-1", read, patience=60))
        assert len(tree["borrowing"]["signatures"]) == 2
        payload = json.loads(base64.b64decode(tree["borrowing"]["payload"]))
        assert (payload["borrow"], payload["until_ms"] - payload["from_ms"]) == ("bor-1", 3_600_000)
        system.upstreams[0].cut()
        assert await borrow_file(links, "bor-1", read, patience=60)
        with pytest.raises(ProblemError, match="no borrowing bor-2"):
            await borrow_file(links, "bor-2", read, patience=0.2)


def test_the_active_twin_gets_a_file_at_once_after_the_commit(tmp_path: Path) -> None:
    _lent_by_the_active_twin(tmp_path)
