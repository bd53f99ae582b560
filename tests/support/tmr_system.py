# SPDX-License-Identifier: Apache-2.0
"""A whole TMR system in one event loop: the real acceptors and agents, without disks, TLS and processes."""

import asyncio
import contextlib
import functools
import itertools
import sqlite3
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.types import Receive, Scope, Send

from testbed.vip_peer import VipPeer
from tmr.http import fair_share
from tmr.http.load_limits import LIMITS, Load
from tmr.ledger import Ledger
from tmr.licensing import (
    BorrowSignature,
    Container,
    NotSigned,
    ProductItem,
    activate,
    fingerprint,
    raw_public_key,
    share,
    sign,
)
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError
from tmr.net.tls import TlsFiles
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.messages import Reply, Request, Subscribe, decode_reply, decode_request, encode
from tmr.quorum.read_index import ReadIndex, obstacle
from tmr.rpc import registry
from tmr.rpc.messages import ReadContainer, SignBorrowing
from tmr.rpc.registry import decode_message
from tmr.rpc.upstream_client import LinkError, LinkRefused
from tmr.runtime.clock import boottime, wall_ms
from tmr.twin import replicator
from tmr.twin.config import ServerConfig, UpstreamAddress
from tmr.twin.http_app import create_app
from tmr.twin.twin_app import TwinApp
from tmr.upstream.acceptor_runner import AcceptorRunner
from tmr.upstream.borrowings import lent_terms
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.recorder import Recorder
from tmr.upstream.store import Store

ACT_ID = "lab-0123456789abcdef"
FIRM = 6_000_010
ALICE = Identity("client", "alice")
BOB = Identity("client", "bob")
OLGA = Identity("operator", "olga")
TTL = 1.0


async def until(condition: Callable[[], Any], what: str, patience: float = 60.0) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"waited {patience} s in vain: {what}"
        await asyncio.sleep(0.005)


def item(tmr_id: int = 1, *, product: int = 1, quantity: int | None = 2, **options: Any) -> ProductItem:
    return ProductItem(
        FIRM, product, tmr_id, quantity=quantity, expiration_ms=options.pop("expiration_ms", None), **options
    )


class MemoryStore(Store):
    """The upstream's store without a disk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        super().__init__(
            Path(":memory:"), sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        )
        weakref.finalize(self, self._db.close)
        self._prepare("machine")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock, super().transaction():
            yield


class Upstream:
    """One upstream in memory; `up = False` cuts it off."""

    def __init__(self, name: str, *items: ProductItem) -> None:
        self.name = name
        self.up = True
        self.delay = 0.0
        self.clock_off = 0
        """Milliseconds by which its wall clock is wrong."""
        self._key = Ed25519PrivateKey.generate()
        self.box = Container.create(ACT_ID, raw_public_key(self._key))
        self.ledger = Ledger()
        self.store = MemoryStore()
        self.acceptor = Acceptor(
            self.store.load(), self.ledger, boottime(), TTL, container=fingerprint(self.box.key)
        )
        failures: list[BaseException] = []
        runner = AcceptorRunner(
            self.acceptor, self.store, clock=boottime, wall_ms=self.wall_ms, fatal=failures.append
        )
        container_store = ContainerStore(self.store, name, self.box, self._key, Path())
        self.recorder = Recorder(runner, self.store, self.ledger, container_store, 400)
        self._news = asyncio.Event()
        self.hold(*items)

    def wall_ms(self) -> int:
        """What its clock shows."""
        return wall_ms() + self.clock_off

    def hold(self, *items: ProductItem) -> None:
        """The container holds `items` from now on."""
        self.box = msgspec.structs.replace(self.box, generation=self.box.generation + 1, items=tuple(items))
        self.acceptor.generation = self.box.generation

    def cut(self) -> None:
        self.up = False
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def call(self, message: Any) -> Any:
        """As UpstreamLink, and the upstream's dispatch behind it."""
        if isinstance(message, Request):
            return await self.quorum(message)
        if not self.up:
            raise LinkError(self.name, "connection refused")
        match decode_message(registry.encode(message)):
            case ReadContainer():
                return sign(self.box.statement(self.name), self._key)
            case SignBorrowing(borrow, read):
                return self._share(borrow, read)
            case question:
                answer = await self.recorder.answer(question)
                return registry.decode_reply(type(question), registry.encode(answer))

    async def quorum(self, request: Request) -> Reply:
        request = decode_request(encode(request))
        await asyncio.sleep(self.delay)
        end = boottime() + 5
        while self.up:
            now = boottime()
            if (
                isinstance(request, Subscribe)
                and self.acceptor.subscribe(now, self.wall_ms(), request) is None
            ):
                wait = min(end, self.acceptor.holder_until if self.acceptor.live_holder(now) else end) - now
                if wait > 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), wait)
                    continue
            answer = self.acceptor.handle(now, self.wall_ms(), request)
            self.store.write(answer.writes)
            if answer.woke:
                self._wake()
            return decode_reply(encode(answer.reply))
        raise LinkError(self.name, "connection refused")

    def _share(self, borrow: str, asked: ReadIndex) -> BorrowSignature:
        if (code := obstacle(self.acceptor, boottime(), asked)) is not None:
            raise LinkRefused(self.name, code, code)
        try:
            return share(lent_terms(self.ledger, borrow), self.box, self._key)
        except ProblemError as problem:
            raise LinkRefused(self.name, str(problem), problem.problem.refusal) from None
        except NotSigned as error:
            raise LinkRefused(self.name, error.reason, error.code) from None

    def activate(self, vendor_key: bytes, file: bytes) -> None:
        """The container takes the update of the vendor with this public key."""
        self.box = activate(self.box, file, {FIRM: vendor_key})
        self.acceptor.generation = self.box.generation

    async def close(self) -> None:
        """As UpstreamLink."""


class Presented:
    """The TLS connection of a client with this certificate, DER."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def getpeercert(self, *, binary_form: bool) -> bytes:
        assert binary_form
        return self._certificate


class Twin:
    """One agent with its application and its VIP manager's peer."""

    def __init__(self, name: str, directory: Path, upstreams: list[Upstream]) -> None:
        self.name = name
        self.vip = VipPeer(directory / f"{name}.sock").start()
        self.failures: list[BaseException] = []
        state = directory / name
        state.mkdir(exist_ok=True)
        first, second, third = (UpstreamAddress(upstream.name, "127.0.0.1") for upstream in upstreams)
        config = ServerConfig(
            name=name,
            system="lab",
            act_id=ACT_ID,
            twins=("tmr1", "tmr2"),
            vip=("10.20.0.100",),
            upstreams=(first, second, third),
            tls=TlsFiles("", "", ""),
            vip_socket=str(self.vip.path),
            lease_ttl=TTL,
            state_dir=str(state),
        )
        self.agent = TwinApp(config, upstreams, clock=boottime, wall_ms=wall_ms, fatal=self.failures.append)
        self.app = create_app(self.agent)

    @property
    def serves(self) -> bool:
        return self.agent.replicator.holds

    def client(self, peer: Identity | None = ALICE, certificate: bytes | None = None) -> httpx.AsyncClient:
        """A client whose certificate says that it is `peer`; `certificate`: itself, DER."""
        state = {"peer": peer, "ssl": None if certificate is None else Presented(certificate)}

        async def known(scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "state": dict(state)}, receive, send)

        return httpx.AsyncClient(transport=httpx.ASGITransport(known), base_url="https://tmr")


class System:
    """Three upstreams and two twins; nothing runs but within `run`."""

    def __init__(self, directory: Path, *items: ProductItem) -> None:
        self.upstreams = [Upstream(name, *items) for name in ("up1", "up2", "up3")]
        self.twins = [Twin(name, directory, self.upstreams) for name in ("tmr1", "tmr2")]

    @property
    def active(self) -> Twin:
        """The twin that serves."""
        (twin,) = [twin for twin in self.twins if twin.serves]
        return twin

    @property
    def passive(self) -> Twin:
        """The other one."""
        (twin,) = [twin for twin in self.twins if not twin.serves]
        return twin

    async def serving(self) -> Twin:
        """Wait for an active twin that has seen the containers."""
        await until(lambda: any(twin.serves for twin in self.twins), "a twin serves")
        ledger = self.active.agent.replicator.ledger
        await until(lambda: len(ledger.statements) == 3, "the containers are assembled")
        return self.active


@contextlib.asynccontextmanager
async def running(directory: Path, *items: ProductItem) -> AsyncIterator[System]:
    """A system that serves, with `items` in each container."""
    system = System(directory, *items)
    async with contextlib.AsyncExitStack() as stack:
        for twin in system.twins:
            stack.callback(twin.vip.stop)
            await stack.enter_async_context(twin.app.router.lifespan_context(twin.app))
        await system.serving()
        yield system
    for twin in system.twins:
        assert not twin.failures


def scenario(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A coroutine as a test."""

    @functools.wraps(test)
    def run(*args: Any, **options: Any) -> None:
        asyncio.run(test(*args, **options))

    return run


_keys = itertools.count(1)


def key() -> dict[str, str]:
    """The header of a new request."""
    return {"Idempotency-Key": f"test-key-{next(_keys):08}"}


def ask(product: int = 1, **members: Any) -> dict[str, Any]:
    """The body of a request for a session."""
    return {"firm_code": FIRM, "product_code": product, "station": "cad-07", **members}


def lasting_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let leases outlast the pauses of a busy machine, for a test without a failover."""
    monkeypatch.setitem(globals(), "TTL", 20.0)


def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn nothing away for being late: the machine of a test may be slow by itself."""
    monkeypatch.setattr(replicator, "ANSWER_WITHIN", 600.0)
    for priority, limit in LIMITS.items():
        easy = Load(limit.in_work, limit.waiting, oldest=600.0, lag=600.0)
        monkeypatch.setitem(LIMITS, priority, easy)
    monkeypatch.setattr(fair_share, "WAIT_MAX", 600.0)
