# SPDX-License-Identifier: Apache-2.0
"""Bounds and turns of the requests of peers."""

import asyncio
import contextlib
from collections import Counter
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from tmr.net import peer_requests
from tmr.net.identity import Identity
from tmr.net.peer_requests import InTurns, PeerRequests
from tmr.net.problem import ProblemError

FLOOD, NEIGHBOUR = Identity("twin", "tmr2"), Identity("twin", "tmr1")


def test_a_peer_has_so_many_requests_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_requests, "OF_PEER_MAX", 3)
    limited = Counter[str]()

    async def story() -> None:
        requests = PeerRequests(lambda role: limited.update([role]))
        async with contextlib.AsyncExitStack() as stack:
            for number in range(3):
                await stack.enter_async_context(requests.one(FLOOD, f"10.0.0.{number}", 100))
            with pytest.raises(ProblemError, match="3 requests of twin tmr2 are being worked on") as caught:
                await stack.enter_async_context(requests.one(FLOOD, "10.0.0.9", 0))
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
            await stack.enter_async_context(requests.one(NEIGHBOUR, "10.0.0.1", 0))
        async with requests.one(FLOOD, "10.0.0.1", 0):
            pass

    asyncio.run(story())
    assert limited == {"twin": 1}


def test_a_neighbour_does_not_stand_in_line_behind_a_flood() -> None:
    async def story() -> list[Identity]:
        requests, order, begun = PeerRequests(lambda _: None), list[Identity](), asyncio.Event()

        async def one(peer: Identity, size: int) -> None:
            async with requests.one(peer, "10.0.0.1", size):
                order.append(peer)
                begun.set()

        tasks = [asyncio.create_task(one(FLOOD, 100_000)) for _ in range(200)]
        await begun.wait()
        tasks.append(asyncio.create_task(one(NEIGHBOUR, 0)))
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(story()).index(NEIGHBOUR) <= 4


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")], [(b"content-length", b"x")]])
def test_http_requests_are_counted_as_well(
    monkeypatch: pytest.MonkeyPatch, headers: list[tuple[bytes, bytes]]
) -> None:
    monkeypatch.setattr(peer_requests, "OF_PEER_MAX", 1)

    async def story() -> None:
        go, sent = asyncio.Event(), list[Any]()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await go.wait()
            if scope["path"] == "/refused":
                raise ProblemError("bad-request", 400, "", "", "")
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message: Message) -> None:
            sent.append(message.get("status"))

        async def receive() -> Message:
            return {"type": "http.request"}

        asked = InTurns(app, PeerRequests(lambda _: None))

        def scope(path: str = "/") -> Scope:
            state, client = {"peer": FLOOD}, ("10.0.0.1", 1)
            return {"type": "http", "path": path, "headers": headers, "state": state, "client": client}

        first = asyncio.create_task(asked(scope(), receive, send))
        await asyncio.sleep(0)
        await asked(scope(), receive, send)
        assert sent == [503, None]
        go.set()
        await first
        assert sent == [503, None, 200]
        with pytest.raises(ProblemError):
            await asked(scope("/refused"), receive, send)
        await asked(scope(), receive, send)
        assert sent[3:] == [200]

    asyncio.run(story())
