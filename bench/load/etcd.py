"""The same use built on etcd: a key for each seat, over gRPC.

`held`: create-if-absent in a transaction, on a lease that the client holds already, and delete, in turn.
`fresh`: a lease of its own for each seat, and a put. `put`: a put alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import grpc
import grpc.aio
import msgspec

from bench.load import protobuf
from bench.load.drive import Action

Kind = Literal["held", "fresh", "put"]


class _Member:
    """The calls on one member. A channel is one HTTP/2 connection; clients share them as gRPC has it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.txn: Any = channel.unary_unary("/etcdserverpb.KV/Txn")
        self.put: Any = channel.unary_unary("/etcdserverpb.KV/Put")
        self.delete: Any = channel.unary_unary("/etcdserverpb.KV/DeleteRange")
        self.grant: Any = channel.unary_unary("/etcdserverpb.Lease/LeaseGrant")


class Leader(msgspec.Struct):
    """Where the leader listens; over mutual TLS where there are files for it."""

    port: int
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def channel(self) -> grpc.aio.Channel:
        """One connection to it."""
        address, options = f"127.0.0.1:{self.port}", [("grpc.use_local_subchannel_pool", 1)]
        if not self.ca:
            return grpc.aio.insecure_channel(address, options=options)
        files = (Path(path).read_bytes() for path in (self.ca, self.key, self.certificate))
        credentials = grpc.ssl_channel_credentials(*files)
        return grpc.aio.secure_channel(address, credentials, options=options)


async def seats(leader: Leader, kind: Kind, clients: int) -> Sequence[Action]:
    """All clients ask the leader: that is the shortest way."""
    members = [_Member(leader.channel()) for _ in range(min(clients, 8))]
    return [await _seat(members[n % len(members)], kind, n) for n in range(clients)]


async def lease(member: _Member, ttl: int = 600) -> int:
    """The id of a new lease."""
    found = protobuf.field(await member.grant(protobuf.lease_grant(ttl)), 2)
    if not isinstance(found, int):
        raise RuntimeError("etcd granted no lease")
    return found


async def _seat(member: _Member, kind: Kind, client: int) -> Action:
    own = await lease(member) if kind == "held" else 0
    run, count = uuid.uuid4().hex, 0

    def key() -> bytes:
        return f"seat/{run}/{client:04}/{count:08}".encode()

    held: list[bytes] = []

    async def transaction() -> None:
        nonlocal count
        if held:
            await member.delete(protobuf.delete(held.pop()))
            return
        count += 1
        if protobuf.field(await member.txn(protobuf.create(key(), b"x" * 64, own)), 2) != 1:
            raise RuntimeError("the transaction did not succeed")
        held.append(key())

    async def fresh() -> None:
        nonlocal count
        count += 1
        await member.put(protobuf.put(key(), b"x" * 64, await lease(member)))

    async def put() -> None:
        nonlocal count
        count += 1
        await member.put(protobuf.put(key(), b"x" * 64, 0))

    return {"held": transaction, "fresh": fresh, "put": put}[kind]
