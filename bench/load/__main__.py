"""`python -m bench.load CASE CLIENTS SECONDS WARM_UP TARGET`: TARGET is JSON, and so is what is printed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import msgspec

from bench.load import etcd, licences, redis
from bench.load.drive import Action, Measured, drive


MOST_BATCHES = 8


class _Port(msgspec.Struct):
    port: int


class _Ports(msgspec.Struct):
    ports: list[int]


async def _actions(case: str, clients: int, target: str) -> Sequence[Action]:
    match case:
        case "tmr-checkout":
            return await licences.pairs(msgspec.json.decode(target, type=licences.Target), clients)
        case "tmr-heartbeats":
            return await licences.heartbeats(msgspec.json.decode(target, type=licences.Target), clients)
        case "tmr-batch":
            # More would be turned away: each has a hundred requests under way.
            few = min(clients, MOST_BATCHES)
            return await licences.batches(msgspec.json.decode(target, type=licences.Target), few)
        case "etcd-held" | "etcd-fresh" | "etcd-put":
            port = msgspec.json.decode(target, type=_Port).port
            kinds: dict[str, etcd.Kind] = {"etcd-held": "held", "etcd-fresh": "fresh", "etcd-put": "put"}
            return await etcd.seats(port, kinds[case], clients)
        case "redlock":
            return await redis.locks(msgspec.json.decode(target, type=_Ports).ports, clients)
    raise SystemExit(f"no case {case}")


async def _run() -> Measured:
    case, clients, seconds, warm_up, target = sys.argv[1:]
    return await drive(await _actions(case, int(clients), target), float(seconds), float(warm_up))


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_run())))
