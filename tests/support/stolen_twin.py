# SPDX-License-Identifier: Apache-2.0
"""A stolen twin: its real key and certificate, and a program of the thief's own that speaks the protocol."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from testbed.pki import System
from tests.support.upstream_process import UpstreamProcess
from tests.support.vendor import FIRM, Vendor
from tmr.ledger import Command, encode
from tmr.licensing.orders import Order
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot
from tmr.quorum.messages import (
    Acquire,
    Append,
    Appended,
    Bootstrap,
    Bootstrapped,
    Install,
    Promise,
    Reply,
    RequestRefused,
)
from tmr.rpc.upstream_client import UpstreamLink

NAMES: Final = ("up1", "up2", "up3")
TIME: Final = 1_900_000_000_000
STOLEN: Final = ProposerId("tmr1", "stolen")
TTL_MS: Final = 30_000


class Site:
    """Three real upstreams that hold a vendor's licences."""

    def __init__(self, directory: Path, system: System, *orders: Order) -> None:
        self.upstreams = [UpstreamProcess(directory, system, name, ttl=30.0) for name in NAMES]
        vendor = Vendor()
        for upstream in self.upstreams:
            (upstream.vendors / f"{FIRM}.pem").write_bytes(vendor.public_pem)
            upstream.start()
        requests = [one.command("request", "--firm", str(FIRM)).stdout.encode() for one in self.upstreams]
        update = directory / "update.json"
        update.write_bytes(vendor.issue(requests, *orders))
        for upstream in self.upstreams:
            done = upstream.command("activate", str(update))
            assert done.returncode == 0, done.stderr

    def close(self) -> None:
        for upstream in self.upstreams:
            upstream.close()

    def steal(self, work: Callable[["Thief"], Awaitable[None]], twin: str = "tmr1") -> None:
        """`work` with the key of the twin, and links to all upstreams."""

        async def run() -> None:
            thief = Thief({one.name: one.link(twin) for one in self.upstreams}, ProposerId(twin, "stolen"))
            try:
                async with asyncio.timeout(90):
                    await work(thief)
            finally:
                for link in thief.links.values():
                    await link.close()

        asyncio.run(run())


class Thief:
    """See the module. `entries`: the journal from its beginning, as the thief knows it."""

    def __init__(self, links: dict[str, UpstreamLink], owner: ProposerId) -> None:
        self.links = links
        self.owner = owner
        self.epoch = 0
        self.entries: list[Entry] = []
        self.disks: tuple[str, ...] = ()

    @property
    def membership(self) -> Membership:
        """The three that are there."""
        return Membership((self.disks[0], self.disks[1], self.disks[2]))

    async def ask(self, make: Callable[[], Any], *only: str) -> dict[str, Reply]:
        """The answers of these upstreams, or of all."""
        return {name: await link.call(make()) for name, link in self.links.items() if name in (only or NAMES)}

    async def found(self) -> None:
        """No twin was elected yet: make the three one system."""
        members = await self.ask(lambda: Acquire(1, self.owner, TTL_MS, pre_vote=True))
        disks = tuple(reply.state.replica_id for reply in members.values())
        founded = await self.ask(lambda: Bootstrap(self.owner, Membership((disks[0], disks[1], disks[2]))))
        assert all(isinstance(reply, Bootstrapped) for reply in founded.values()), founded

    async def term(self) -> None:
        """Be elected, as any twin may be, and write the first entry."""
        seen = await self.ask(lambda: Acquire(1, self.owner, TTL_MS, pre_vote=True))
        self.disks = tuple(reply.state.replica_id for reply in seen.values())
        self.epoch = max(reply.state.promised for reply in seen.values()) + 1
        promises = await self.ask(lambda: Acquire(self.epoch, self.owner, TTL_MS))
        found = [reply for reply in promises.values() if isinstance(reply, Promise)]
        assert len(found) == len(NAMES), promises
        best = max(found, key=lambda one: (one.state.last_epoch, one.state.last_index))
        assert best.snapshot is not None
        assert best.snapshot.index == 0
        self.entries = list(best.entries)
        stored = await self.write([self.entry(b"", kind="term")])
        assert all(isinstance(reply, Appended) for reply in stored.values()), stored

    def entry(self, body: bytes, *, after: int = 0, **values: Any) -> Entry:
        """The next entry of the journal, or the one `after` that."""
        last = self.entries[-1] if self.entries else None
        defaults = {
            "index": len(self.entries) + 1 + after,
            "epoch": self.epoch,
            "time_ms": max(TIME, last.time_ms if last else 0) + 1000,
            "kind": "command",
            "body": body,
        }
        return Entry(**{**defaults, **values})

    async def write(self, entries: Sequence[Entry], *only: str, **values: Any) -> dict[str, Reply]:
        """Append, and call it committed at once. What two stored is in the journal from then on."""
        previous = self.entries[-1] if self.entries else None
        fields = {
            "epoch": self.epoch,
            "owner": self.owner,
            "ttl_ms": TTL_MS,
            "previous_index": len(self.entries),
            "previous_epoch": previous.epoch if previous else 0,
            "entries": tuple(entries),
            "commit": len(self.entries) + len(entries),
            **values,
        }
        replies = await self.ask(lambda: Append(**fields), *only)
        if sum(isinstance(reply, Appended) for reply in replies.values()) >= 2:
            self.entries += entries
        return replies

    async def order(self, *commands: Command, **values: Any) -> dict[str, Reply]:
        """Write commands."""
        entries = [self.entry(encode(one), after=after, **values) for after, one in enumerate(commands)]
        return await self.write(entries)

    async def install(self, state: bytes, *only: str, **values: Any) -> dict[str, Reply]:
        """Send a snapshot of a state of the thief's own."""
        last = self.entries[-1]
        fields = {
            "index": last.index + 1,
            "epoch": self.epoch,
            "time_ms": last.time_ms + 1,
            "membership": self.membership,
            "state": state,
            **values,
        }
        return await self.ask(lambda: Install(self.epoch, self.owner, TTL_MS, Snapshot(**fields)), *only)


def refusals(replies: dict[str, Reply]) -> dict[str, str]:
    """Who refused, and why."""
    return {name: reply.reason for name, reply in replies.items() if isinstance(reply, RequestRefused)}
