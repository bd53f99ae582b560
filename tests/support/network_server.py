# SPDX-License-Identifier: Apache-2.0
"""A network licence server in one event loop: everything but TLS and the process.

`running` gives what that of `tests.support.tmr_system` gives, as far as there is something alike, so that
the tests of the client API can be run against both kinds of server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Receive, Scope, Send

from tests.support.lending import update_file
from tests.support.tmr_system import ACT_ID, ALICE, FIRM, TTL, Presented
from tmr.api.deployment import NETWORK
from tmr.licensing import Container, ProductItem, fingerprint, public_key_to_pem, raw_public_key
from tmr.net.identity import LOCAL_OPERATOR, Identity
from tmr.quorum.acceptor import Acceptor
from tmr.runtime.clock import boottime, wall_ms
from tmr.service.container_view import ContainerView
from tmr.service.guard import RequestGuard
from tmr.service.tracking import Tracking
from tmr.standalone.local_command_log import LocalCommandLog, ObservedLedger
from tmr.standalone.network import NetworkServer
from tmr.standalone.network_app import create_app
from tmr.upstream import status
from tmr.upstream.acceptor_runner import AcceptorRunner
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.metrics import Metrics
from tmr.upstream.recorder import Recorder
from tmr.upstream.store import Store


def plain(item: ProductItem) -> ProductItem:
    """The licence as it is without a TMR-Id: the TMR-Id becomes its Product Item Reference."""
    return item if item.tmr_id is None else msgspec.structs.replace(item, tmr_id=None, reference=item.tmr_id)


class Server:
    """One network licence server. `clock_off`: milliseconds by which its wall clock is wrong."""

    def __init__(self, directory: Path, name: str = "lic1", clock_off: int = 0) -> None:
        self.name = name
        self.clock_off = clock_off
        self.failures: list[BaseException] = []
        self.vendors = directory / "vendors"
        self.vendors.mkdir(exist_ok=True)
        self.store = Store.open(directory, "machine")
        durable = self.store.load()
        self.store.check_deployment(durable.membership, NETWORK)
        self.container_store = ContainerStore.open(self.store, name, ACT_ID, self.vendors, deployment=NETWORK)
        ledger = ObservedLedger()
        self.acceptor = Acceptor(
            durable,
            ledger,
            boottime(),
            TTL,
            generation=self.container_store.container.generation,
            container=fingerprint(self.container_store.container.key),
        )
        self.synchronised = False
        self.runner = AcceptorRunner(
            self.acceptor,
            self.store,
            clock=boottime,
            wall_ms=self.wall_ms,
            fatal=self.failures.append,
            synchronised=lambda: self.synchronised,
        )
        self.server = NetworkServer(
            name,
            self.runner,
            self.container_store,
            ledger,
            Recorder(self.runner, self.store, ledger, self.container_store, 400),
            clock=boottime,
            wall_ms=self.wall_ms,
            fatal=self.failures.append,
        )
        self.app = create_app(
            self.server,
            self.runner,
            self.container_store,
            Metrics(),
            lambda: status.read(
                name, "lab", self.runner, self.container_store, boottime(), self.server.alarms()
            ),
        )

    def wall_ms(self) -> int:
        """What its clock shows."""
        return wall_ms() + self.clock_off

    # -- as a twin -----------------------------------------------------------------------------------------

    @property
    def agent(self) -> "Server":
        return self

    @property
    def replicator(self) -> LocalCommandLog:
        return self.server.command_log

    @property
    def guard(self) -> RequestGuard:
        return self.server.guard

    @property
    def view(self) -> ContainerView:
        return self.server.view

    @property
    def tracking(self) -> Tracking:
        return self.server.tracking

    def client(self, peer: Identity | None = ALICE, certificate: bytes | None = None) -> httpx.AsyncClient:
        """A client whose certificate says that it is `peer`; `certificate`: itself, DER."""
        state = {"peer": peer, "ssl": None if certificate is None else Presented(certificate)}
        return self._client(state)

    def admin(self) -> httpx.AsyncClient:
        """Of the local operator, at the administration socket."""
        return self._client({"peer": LOCAL_OPERATOR, "local": True})

    def _client(self, state: Mapping[str, object]) -> httpx.AsyncClient:
        async def known(scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "state": dict(state)}, receive, send)

        return httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="https://lic")

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """It runs within."""
        async with self.app.clients.router.lifespan_context(self.app.clients):
            yield


class System:
    """One server and its vendor; as the TMR system of the other module."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.vendor = Ed25519PrivateKey.generate()
        self._life = contextlib.AsyncExitStack()
        self._updates = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, name: str = "lic1", clock_off: int = 0) -> Server:
        """The server starts, and finds what it stored."""
        self.active = Server(self.directory, name, clock_off)
        await self._life.enter_async_context(self.active.life())
        return self.active

    async def stop(self) -> None:
        """An orderly end."""
        await self._life.aclose()
        assert not self.active.failures

    async def restart(self) -> Server:
        """Another process with the same disk."""
        await self.stop()
        return await self.start()

    @property
    def upstreams(self) -> "list[System]":
        """The one that holds licences."""
        return [self]

    @property
    def box(self) -> Container:
        return self.active.container_store.container

    async def holds(self, *items: ProductItem) -> None:
        """The container holds these licences, without TMR-Ids, from now on."""
        self._updates += 1
        held, name = [plain(item) for item in items], f"update-{self._updates}"
        await self.take(
            raw_public_key(self.vendor), update_file(self.vendor, [self.box], held, name, self._updates)
        )

    def hold(self, *items: ProductItem) -> None:
        """The same, in a moment."""
        self._tasks.add(asyncio.create_task(self.holds(*items)))

    async def take(self, vendor_key: bytes, file: bytes) -> None:
        """An administrator activates the update of the vendor with this public key."""
        (self.active.vendors / f"{FIRM}.pem").write_bytes(public_key_to_pem(vendor_key))
        async with self.active.admin() as admin:
            answer = await admin.post("/v1/updates", content=file)
        assert answer.status_code == 200, answer.text


@contextlib.asynccontextmanager
async def running(directory: Path, *items: ProductItem) -> AsyncIterator[System]:
    """A server that serves `items`."""
    system = System(directory)
    await system.start()
    try:
        if items:
            await system.holds(*items)
        yield system
    finally:
        await system.stop()


async def takeover(system: System) -> Server:
    """What a failover is to a TMR system."""
    return await system.restart()
