# SPDX-License-Identifier: Apache-2.0
"""Requests of the async client. `_sync_transport.py` is generated from this module."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import httpx

from tmr.client._operations import Operation, Request
from tmr.client._process import OwnerProcess
from tmr.client._retry import Call, Done, Policy, Send, Wait
from tmr.client._transport import (
    Credentials,
    Pools,
    answer_of,
    client_options,
    failure_of,
    http_request,
)
from tmr.client.config import Config, load

T = TypeVar("T")


class AsyncTransport:
    """Sends requests to a TMR system, and tries again over a failover as `policy` says.

    `config`: without it, client.toml is read. `clock`: seconds, which go on while the machine is suspended.
    """

    def __init__(self, config: Config | None, policy: Policy | None, clock: Callable[[], float]) -> None:
        self.config = config or load()
        self.policy = policy or Policy()
        self.clock = clock
        self._process = OwnerProcess()
        self._credentials = Credentials(self.config)
        self._pools = self._new_pools()
        self._forsaken: list[Pools[httpx.AsyncClient]] = []
        """Connections of the process before. They are neither used nor closed here: their numbers may stand
        for other files by now."""

    def _new_pools(self) -> Pools[httpx.AsyncClient]:
        return Pools(
            lambda: httpx.AsyncClient(
                **client_options(self._credentials.context, httpx.AsyncHTTPTransport, self.config.source)
            )
        )

    def _connect_anew(self) -> None:
        """This process holds the sessions from now on, with connections of its own."""
        self._forsaken.append(self._pools)
        self._pools = self._new_pools()
        self._process.adopt()

    async def _run(
        self,
        operation: Operation[T],
        *,
        policy: Policy | None = None,
        servers: Sequence[str] | None = None,
        twins: Sequence[str] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> T:
        self._process.check()
        call = Call(
            operation.request,
            self.config.servers if servers is None else servers,
            self.config.twins if twins is None else twins,
            policy or self.policy,
            self.clock(),
        )
        while True:
            match call.next(self.clock()):
                case Done(answer):
                    return operation.read(answer)
                case Wait(seconds):
                    await sleep(seconds)
                case Send() as send:
                    await self._attempt(operation.request, send, call)

    async def _attempt(self, request: Request, send: Send, call: Call) -> None:
        if self._credentials.refresh():
            await _close(self._pools.renew())
        pool = self._pools.take(send.address)
        retire = True
        try:
            response = await pool.client.request(**http_request(request, send, self.config.port))
        except (httpx.HTTPError, OSError) as error:
            call.failed(failure_of(error, send), self.clock())
        else:
            retire = call.answered(answer_of(response), self.clock())
        finally:
            await _close(self._pools.leave(send.address, pool, retire=retire))

    async def _close_connections(self) -> None:
        await _close(self._pools.close())


async def _close(clients: list[httpx.AsyncClient]) -> None:
    for client in clients:
        await client.aclose()
