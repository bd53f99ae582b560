# SPDX-License-Identifier: Apache-2.0
"""HTTPS for the sync and the async client: connections by address, and errors in words."""

import errno
import ipaddress
import ssl
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import httpx

from tmr.api.errors import ConfigError
from tmr.client import _tls
from tmr.client._operations import Answer, Request
from tmr.client._retry import Failure, FailureKind, Send
from tmr.client.config import Config

C = TypeVar("C")

KEEP: Final = 60.0
"""Seconds that an idle connection is kept: longer than most heartbeat intervals, to save handshakes."""


class Pool(Generic[C]):
    """The connections to one address."""

    def __init__(self, client: C) -> None:
        self.client = client
        self.users = 0
        self.retired = False


class Pools(Generic[C]):
    """One pool of connections for each address; may be used by several threads.

    A pool that failed is retired: no caller gets it again, and it is closed as soon as no caller uses it.
    `leave` and `close` give the clients that the caller must close now.
    """

    def __init__(self, make: Callable[[], C]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._pools: dict[str, Pool[C]] = {}
        self._closed = False

    def take(self, address: str) -> Pool[C]:
        """The pool for `address`; to be given back by `leave`. Raises RuntimeError once closed."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed; make a new one")
            pool = self._pools.get(address)
            if pool is None:
                pool = self._pools[address] = Pool(self._make())
            pool.users += 1
            return pool

    def leave(self, address: str, pool: Pool[C], *, retire: bool) -> list[C]:
        """Give the pool back; `retire`: its connections are of no use any more."""
        with self._lock:
            pool.users -= 1
            if retire:
                pool.retired = True
                if self._pools.get(address) is pool:
                    del self._pools[address]
            return [pool.client] if pool.retired and not pool.users else []

    def renew(self) -> list[C]:
        """The pools of now are not given out again."""
        with self._lock:
            return self._retire()

    def close(self) -> list[C]:
        """No pool is given out any more."""
        with self._lock:
            self._closed = True
            return self._retire()

    def _retire(self) -> list[C]:
        pools = list(self._pools.values())
        self._pools.clear()
        for pool in pools:
            pool.retired = True
        return [pool.client for pool in pools if not pool.users]


class Credentials:
    """The TLS context of the configured files, which follows their renewal."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stamp = _tls.stamp(config.tls)
        self.context = _tls.context(config.tls, config.system)

    def refresh(self) -> bool:
        """Use files that were renewed, unless they cannot be used; True: connections have to be made anew.

        The context is made anew, too: one that is loaded again would trust a former CA for ever.
        """
        files = self._config.tls
        stamp = _tls.stamp(files)
        if stamp == self._stamp or 0 in stamp:
            return False
        try:
            self.context = _tls.context(files, self._config.system)
        except ConfigError:
            return False
        self._stamp = stamp
        return True


def client_options(
    context: ssl.SSLContext,
    transport: Callable[..., httpx.BaseTransport | httpx.AsyncBaseTransport],
    source: object,
) -> dict[str, Any]:
    """Options of an httpx client: no proxies, no redirects, connections kept for a while.

    `transport`: the class of its transport. `source`: the own address to ask from, or None.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=4, keepalive_expiry=KEEP)
    address = None if source is None else str(source)
    wired = transport(verify=context, trust_env=False, limits=limits, local_address=address)
    return {"transport": wired, "trust_env": False, "follow_redirects": False}


def http_request(request: Request, send: Send, port: int) -> dict[str, Any]:
    """The arguments of httpx's `request` for one attempt."""
    headers = request.headers
    if send.last:
        headers["Connection"] = "close"
    return {
        "method": request.method,
        "url": f"https://{_host(send.address)}:{port}{request.path}",
        "content": request.body or None,
        "headers": headers,
        "timeout": httpx.Timeout(send.read, connect=send.connect),
    }


def answer_of(response: httpx.Response) -> Answer:
    """Reads of a response what the retry logic and the readers need."""
    try:
        retry_after = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        retry_after = None
    if retry_after is not None and not 0 <= retry_after < float("inf"):
        retry_after = None
    return Answer(response.status_code, response.content, retry_after)


def failure_of(error: httpx.HTTPError | OSError, send: Send) -> Failure:
    """Reason why an attempt brought no answer."""
    cause: BaseException | None = error
    text = ""
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            untrusted = _tls.untrusted(send.address, cause)
            if untrusted is not None:
                return Failure(FailureKind.NOTHING, untrusted.message, untrusted)
        elif isinstance(cause, OSError) and not text and cause.errno is not None:
            text = _WORDS.get(cause.errno) or (cause.strerror or "").lower()
        cause = cause.__cause__ or cause.__context__
    match error:
        case httpx.ConnectTimeout():
            return Failure(FailureKind.NOTHING, f"no connection within {send.connect:.2g} s")
        case httpx.ConnectError() | httpx.PoolTimeout():
            return Failure(FailureKind.NOTHING, text or "the connection broke at once")
        case httpx.ReadTimeout() | httpx.WriteTimeout():
            return Failure(FailureKind.BROKEN, f"no answer within {send.read:.2g} s")
        case _:
            return Failure(FailureKind.BROKEN, text or "the connection broke")


_WORDS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to this address",
    errno.ENETUNREACH: "the network cannot be reached",
    errno.ECONNRESET: "the connection broke",
    errno.EPIPE: "the connection broke",
    errno.ETIMEDOUT: "the connection broke",
}


def _host(address: str) -> str:
    try:
        return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    except ValueError:
        return address
