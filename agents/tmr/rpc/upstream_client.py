# SPDX-License-Identifier: Apache-2.0
"""A twin's connections to one upstream: msgpack in frames and over HTTPS, with mutual TLS."""

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple, TypeVar, overload

import aiohttp
import msgspec

from tmr.api.problem import Problem
from tmr.net import framing
from tmr.net.frame_client import FrameLink, PeerRefused
from tmr.net.identity import Role
from tmr.net.tls import Renewable, TlsFiles, client_context
from tmr.quorum.messages import Reply, Request
from tmr.rpc.messages import Query
from tmr.rpc.registry import BY_MESSAGE, Rpc, Transport, decode_reply, encode

R = TypeVar("R")

REPLY_LIMIT: Final = 256 * 2**20
"""Bytes of one answer: a promise may carry a whole journal."""
CONTENT_TYPE: Final = "application/msgpack"
PIECE: Final = 256 * 1024
"""Bytes of a snapshot that are sent in one turn of the event loop."""
_CONNECTIONS: Final = {Transport.HTTP: 4, Transport.HTTP_ORDERED: 1}
"""Connections of each transport over HTTP."""


class LinkError(Exception):
    """The upstream did not answer; `reason` says why in a few words for people."""

    def __init__(self, upstream: str, reason: str) -> None:
        super().__init__(f"{upstream}: {reason}")
        self.upstream = upstream
        self.reason = reason


class LinkRefused(LinkError):
    """The upstream answered no; `code` is its reason for programs."""

    def __init__(self, upstream: str, reason: str, code: str) -> None:
        super().__init__(upstream, reason)
        self.code = code


class Contexts(NamedTuple):
    """A twin's TLS towards its upstreams: they check within the handshake that the peer is the one meant."""

    http: Renewable
    framed: Renewable


def contexts(files: TlsFiles, system: str, role: Role = "upstream") -> Contexts:
    """Of a twin of `system` whose files these are; its peers have `role`. Raises ssl.SSLError, OSError."""
    return Contexts(client_context(files, system, role), client_context(files, system, role, framing.ALPN))


class UpstreamLink:
    """Kept-alive connections to the upstream `name` at `address`, port `port`.

    `ttl`: the lease's, in seconds; a call that takes longer than half of it has failed. Messages go in frames
    (the long poll in a connection of its own), everything else over HTTP. `source`: the own address to ask
    from; None: the system chooses. Use within one event loop.
    """

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        tls: Contexts,
        ttl: float,
        source: str | None = None,
    ) -> None:
        self.name = name
        host = f"[{address}]" if ":" in address else address
        self._base = f"https://{host}:{port}"
        self._tls = tls.http
        self._ttl = ttl
        self._source = None if source is None else (source, 0)
        self._sessions: dict[Transport, aiohttp.ClientSession] = {}
        self._calls: dict[aiohttp.ClientSession, int] = {}
        """Sessions with calls under way, and how many."""
        self._prompt = FrameLink(name, address, port, tls.framed, source)
        """For what is answered at once."""
        self._patient = FrameLink(name, address, port, tls.framed, source)
        """For the long poll."""

    @overload
    async def call(self, message: Request) -> Reply: ...
    @overload
    async def call(self, message: Query[R]) -> R: ...
    async def call(self, message: Any) -> Any:
        """The upstream's reply to `message`, by the registry. Raises LinkError when its time is up.

        Raises LinkRefused where the upstream answers no.
        """
        rpc, body = BY_MESSAGE[type(message)], encode(message)
        patience = rpc.patience(self._ttl)
        match rpc.transport:
            case Transport.FRAMES:
                reply = await self._exchange(self._prompt, body, patience)
            case Transport.LONG_POLL:
                reply = await self._exchange(self._patient, body, patience)
            case _:
                reply = await self._post(rpc, body, patience)
        try:
            return decode_reply(rpc.message, reply)
        except msgspec.MsgspecError as error:
            raise LinkError(self.name, f"its answer is not understood ({error})") from None

    async def renew(self) -> None:
        """Make new connections from now on; those in use are closed once their calls are answered."""
        sessions = list(self._sessions.values())
        self._sessions.clear()
        self._prompt.renew()
        self._patient.renew()
        for session in sessions:
            if session not in self._calls:
                await session.close()

    async def close(self) -> None:
        """Close every connection; calls under way fail."""
        sessions = {*self._sessions.values(), *self._calls}
        self._sessions.clear()
        for session in sessions:
            await session.close()
        await self._prompt.close()
        await self._patient.close()

    async def _exchange(self, link: FrameLink, message: bytes, patience: float) -> bytes:
        try:
            return await link.ask(message, patience)
        except TimeoutError:
            raise LinkError(self.name, f"no answer within {patience:.2g} s") from None
        except PeerRefused as refused:
            raise LinkError(self.name, f"refused ({refused.problem.status}): {refused}") from None
        except (OSError, ValueError) as error:
            raise LinkError(self.name, explain(error)) from None

    def _session(self, transport: Transport) -> aiohttp.ClientSession:
        session = self._sessions.get(transport)
        if session is None:
            # Shorter than the upstream keeps an idle connection, so that it never closes one being reused.
            connector = aiohttp.TCPConnector(
                limit=_CONNECTIONS[transport],
                keepalive_timeout=30,
                ssl=self._tls,
                local_addr=self._source,
            )
            session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
            self._sessions[transport] = session
        return session

    async def _post(self, rpc: Rpc, body: bytes, patience: float) -> bytes:
        session = self._session(rpc.transport)
        self._calls[session] = self._calls.get(session, 0) + 1
        try:
            async with (
                asyncio.timeout(patience),
                session.post(
                    self._base + rpc.route,
                    data=_pieces(body) if len(body) > PIECE else body,
                    headers={"Content-Type": CONTENT_TYPE},
                    server_hostname=self.name,
                    allow_redirects=False,
                    timeout=_NO_TIMEOUT,
                ) as response,
            ):
                if response.status != 200:
                    raise await _refusal(self.name, response)
                return await _bounded(response)
        except TimeoutError:
            raise LinkError(self.name, f"no answer within {patience:.2g} s") from None
        except aiohttp.ClientError as error:
            raise LinkError(self.name, explain(error)) from None
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the session was closed meanwhile
            raise LinkError(self.name, explain(error)) from None
        finally:
            self._calls[session] -= 1
            if not self._calls[session]:
                del self._calls[session]
                if session not in self._sessions.values():
                    await session.close()


_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """A snapshot, piece by piece: encrypted at a stretch, it would keep all other messages waiting."""
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]
        await asyncio.sleep(0)


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > REPLY_LIMIT:
            raise ValueError(f"its answer is larger than {REPLY_LIMIT} bytes")
    return bytes(body)


async def _refusal(name: str, response: aiohttp.ClientResponse) -> LinkError:
    """The refusal in words."""
    problem = Problem.read(await response.content.read(65_536), response.status)
    reason = f"refused ({response.status}): {problem.detail}"
    return LinkRefused(name, reason, problem.refusal) if problem.refusal else LinkError(name, reason)


_REASONS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to it",
    errno.ETIMEDOUT: "connection timed out",
    errno.EADDRNOTAVAIL: "this machine does not have the address to ask from (source in server.toml), or "
    "no free port",
}


def explain(error: BaseException) -> str:
    """A connection's failure in a few words for people."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        error = error.certificate_error
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {getattr(error, 'verify_message', '') or error.args[-1]}"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "connection closed by it"
    if isinstance(error, ConnectionResetError | BrokenPipeError):  # asyncio raises them without a number, too
        return "connection reset"
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno, error.strerror or str(error))
    return str(error) or type(error).__name__
