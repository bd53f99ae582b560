# SPDX-License-Identifier: Apache-2.0
"""The same use built on etcd: a key for each seat, over gRPC.

`held`: create-if-absent in a transaction, on a lease that the client holds already, and delete, in turn.
`fresh`: a lease of its own for each seat, and a put. `put`: a put alone.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import grpc
import grpc.aio

from bench.load.job import Leader
from bench.load.licences import Action

Kind = Literal["held", "fresh", "put"]


_messages: Any
_services: Any
_messages, _services = grpc.protos_and_services("bench/load/etcd.proto")


class _Member:
    """The calls on one member. A channel is one HTTP/2 connection; clients share them as gRPC has it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.kv, self.lease = _services.KVStub(channel), _services.LeaseStub(channel)

    async def grant(self, ttl: int = 600) -> int:
        """The id of a new lease."""
        granted = await self.lease.LeaseGrant(_messages.LeaseGrantRequest(TTL=ttl))
        return int(granted.ID)


def channel(leader: Leader) -> grpc.aio.Channel:
    """One connection to it."""
    address, options = f"127.0.0.1:{leader.port}", [("grpc.use_local_subchannel_pool", 1)]
    if not leader.ca:
        return grpc.aio.insecure_channel(address, options=options)
    files = (Path(path).read_bytes() for path in (leader.ca, leader.key, leader.certificate))
    credentials = grpc.ssl_channel_credentials(*files)
    return grpc.aio.secure_channel(address, credentials, options=options)


async def seats(leader: Leader, kind: Kind, clients: int) -> Sequence[Action]:
    """All clients ask the leader: that is the shortest way."""
    members = [_Member(channel(leader)) for _ in range(min(clients, 8))]
    return [await _seat(members[n % len(members)], kind, n) for n in range(clients)]


async def _seat(member: _Member, kind: Kind, client: int) -> Action:
    own = await member.grant() if kind == "held" else 0
    run, count, held = uuid.uuid4().hex, itertools.count(), list[bytes]()

    def put(lease: int) -> Any:
        key = f"seat/{run}/{client:04}/{next(count):08}".encode()
        return _messages.PutRequest(key=key, value=b"x" * 64, lease=lease)

    async def transaction() -> None:
        if held:
            await member.kv.DeleteRange(_messages.DeleteRangeRequest(key=held.pop()))
            return
        wanted = put(own)
        absent = _messages.Compare(target=_messages.Compare.CREATE, key=wanted.key)
        operation = _messages.RequestOp(request_put=wanted)
        done = await member.kv.Txn(_messages.TxnRequest(compare=[absent], success=[operation]))
        if not done.succeeded:
            raise RuntimeError("the transaction did not succeed")
        held.append(wanted.key)

    async def fresh() -> None:
        await member.kv.Put(put(await member.grant()))

    async def plain() -> None:
        await member.kv.Put(put(0))

    return {"held": transaction, "fresh": fresh, "put": plain}[kind]
