"""`python -m bench.load CASE CLIENTS SECONDS WARM_UP TARGET`: TARGET is JSON, and so is what is printed.

Some cases run until standard input ends, at most SECONDS, and print a line of JSON for each event.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from bench.load import first, flood, hold, licences, many, probe, watch
from bench.load.drive import Action, drive
from bench.load.until import say

T = TypeVar("T")


MOST_BATCHES = 8


class _Ports(msgspec.Struct):
    ports: list[int]


async def _actions(case: str, clients: int, target: str) -> Sequence[Action]:
    match case:
        case "tmr-checkout" | "floor":
            return await licences.pairs(_read(target, licences.Target), clients)
        case "tmr-heartbeats":
            return await licences.heartbeats(_read(target, licences.Target), clients)
        case "tmr-batch":
            # More would be turned away: each has a hundred requests under way.
            return await many.seats(_read(target, licences.Target), min(clients, MOST_BATCHES))
        case "etcd-held" | "etcd-held-tls" | "etcd-fresh" | "etcd-put":
            from bench.load import etcd  # noqa: PLC0415 - gRPC is needed for this alone

            kinds: dict[str, etcd.Kind] = {"etcd-fresh": "fresh", "etcd-put": "put"}
            return await etcd.seats(_read(target, etcd.Leader), kinds.get(case, "held"), clients)
        case "redlock":
            from bench.load import redis  # noqa: PLC0415

            return await redis.locks(_read(target, _Ports).ports, clients)
    raise SystemExit(f"no case {case}")


def _read(target: str, kind: type[T]) -> T:
    return msgspec.json.decode(target, type=kind)


async def _run() -> None:
    case, clients, seconds, warm_up, target = sys.argv[1:]
    match case:
        case "tmr-hold":
            await hold.hold(int(clients), float(seconds), _read(target, hold.Hold))
        case "tmr-watch":
            await watch.watch(int(clients), float(seconds), _read(target, watch.Watch))
        case "tmr-probe":
            await probe.probe(float(seconds), _read(target, probe.Probe))
        case "tmr-flood":
            await flood.flood(int(clients), float(seconds), _read(target, flood.Flood))
        case "tmr-first":
            await first.first(float(seconds), _read(target, first.First))
        case _:
            actions = await _actions(case, int(clients), target)
            say(await drive(actions, float(seconds), float(warm_up)))


if __name__ == "__main__":
    asyncio.run(_run())
