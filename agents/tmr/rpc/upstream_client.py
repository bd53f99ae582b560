"""A twin's connections to one upstream: msgpack in frames and over HTTPS, with mutual TLS."""

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator
from typing import Final, NamedTuple
from urllib.parse import quote

import aiohttp
import msgspec

from tmr.licensing import BorrowSignature, SignedStatement
from tmr.licensing.packed import unpack
from tmr.net import framing
from tmr.net.frame_client import FrameLink, PeerRefused
from tmr.net.identity import Role
from tmr.net.tls import Renewable, TlsFiles, client_context
from tmr.quorum.messages import (
    Acquire,
    Append,
    Bootstrap,
    Install,
    Release,
    Reply,
    Report,
    Request,
    Subscribe,
    decode_reply,
    encode,
)
from tmr.quorum.read_index import ReadIndex, encode_read_index
from tmr.rpc import record_messages

PATHS: Final[dict[type, str]] = {
    Acquire: "/v1/lease/acquire",
    Append: "/v1/journal/append",
    Install: "/v1/snapshot/install",
    Release: "/v1/lease/release",
    Subscribe: "/v1/journal/follow",
    Report: "/v1/front",
    Bootstrap: "/v1/found",
}
"""Route of each message."""
BORROWINGS: Final = "/v1/borrowings"
"""Below it, by id: an upstream's share of a borrow file."""
FOLLOW_WAIT: Final = 1.0
"""Seconds after which an upstream answers `follow` even without news."""
REPLY_LIMIT: Final = 256 * 2**20
"""Bytes of one answer: a promise may carry a whole journal."""
INSTALL_TIMEOUT: Final = 10.0
"""Seconds for a snapshot to arrive and be stored."""
RECORD_TIMEOUT: Final = 10.0
"""Seconds for an answer about the record, which may have to be read from or written to the disk."""
CONTENT_TYPE: Final = "application/msgpack"
PIECE: Final = 256 * 1024
"""Bytes of a snapshot that are sent in one turn of the event loop."""
_CALLS: Final = 4
"""Connections for calls that are answered at once."""


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
    (the long poll in a connection of its own), everything else over HTTP. Use within one event loop.
    """

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        tls: Contexts,
        ttl: float,
    ) -> None:
        self.name = name
        host = f"[{address}]" if ":" in address else address
        self._base = f"https://{host}:{port}"
        self._tls = tls.http
        self._timeout = ttl / 2
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._calls: dict[aiohttp.ClientSession, int] = {}
        """Sessions with calls under way, and how many."""
        self._prompt = FrameLink(name, address, port, tls.framed)
        """For what is answered at once."""
        self._patient = FrameLink(name, address, port, tls.framed)
        """For the long poll."""

    async def call(self, message: Request) -> Reply:
        """The upstream's answer to `message`. Raises LinkError, at the latest when its time is up."""
        match message:
            case Subscribe():
                body = await self._exchange(self._patient, encode(message), FOLLOW_WAIT + self._timeout)
            case Install():  # in a connection of its own: appends must not wait behind it
                session, patience = self._session("call", _CALLS), max(INSTALL_TIMEOUT, self._timeout)
                body = await self._ask(session, "POST", PATHS[Install], patience, _pieces(encode(message)))
            case _:
                body = await self._exchange(self._prompt, encode(message), self._timeout)
        try:
            return decode_reply(body)
        except msgspec.MsgspecError as error:
            raise LinkError(self.name, f"its answer is not understood ({error})") from None

    async def container(self) -> SignedStatement:
        """Statement of the upstream about its container. Raises LinkError."""
        session = self._session("call", _CALLS)
        body = await self._ask(session, "GET", "/v1/container", self._timeout, None)
        try:
            return unpack(_statements, body)
        except msgspec.MsgspecError as error:
            raise LinkError(self.name, f"its answer is not understood ({error})") from None

    async def share(self, borrow: str, asked: ReadIndex) -> BorrowSignature:
        """The upstream's share of the borrow file for this borrowing. Raises LinkError, LinkRefused."""
        path, question = f"{BORROWINGS}/{quote(borrow, safe='')}", encode_read_index(asked)
        body = await self._ask(self._session("call", _CALLS), "POST", path, self._timeout, question)
        try:
            return unpack(_shares, body)
        except msgspec.MsgspecError as error:
            raise LinkError(self.name, f"its answer is not understood ({error})") from None

    async def record(self, question: record_messages.Question) -> record_messages.Answer:
        """The upstream's answer about the licence tracking record. Raises LinkError."""
        session, path = self._session("record", 1), record_messages.PATHS[type(question)]
        body = await self._ask(session, "POST", path, RECORD_TIMEOUT, record_messages.encode(question))
        try:
            return record_messages.decode_answer(body)
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
            raise LinkError(self.name, f"no answer within {patience:g} s") from None
        except PeerRefused as refused:
            raise LinkError(self.name, f"refused ({refused.status}): {refused}") from None
        except (OSError, ValueError) as error:
            raise LinkError(self.name, explain(error)) from None

    def _session(self, purpose: str, connections: int) -> aiohttp.ClientSession:
        session = self._sessions.get(purpose)
        if session is None:
            # Shorter than the upstream keeps an idle connection, so that it never closes one being reused.
            connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=30, ssl=self._tls)
            session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
            self._sessions[purpose] = session
        return session

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        patience: float,
        body: bytes | AsyncIterator[bytes] | None,
    ) -> bytes:
        headers = {"Content-Type": CONTENT_TYPE} if body is not None else {}
        self._calls[session] = self._calls.get(session, 0) + 1
        try:
            async with (
                asyncio.timeout(patience),
                session.request(
                    method,
                    self._base + path,
                    data=body,
                    headers=headers,
                    server_hostname=self.name,
                    allow_redirects=False,
                    timeout=_NO_TIMEOUT,
                ) as response,
            ):
                if response.status != 200:
                    raise await _refusal(self.name, response)
                return await _bounded(response)
        except TimeoutError:
            raise LinkError(self.name, f"no answer within {patience:g} s") from None
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


_statements: Final = msgspec.msgpack.Decoder(SignedStatement)
_shares: Final = msgspec.msgpack.Decoder(BorrowSignature)
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=None)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """A snapshot, piece by piece: encrypted at a stretch, it would keep everybody waiting."""
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
    """The refusal in words: the `detail` of a problem document where there is one."""
    try:
        document = msgspec.json.decode(await response.content.read(65_536), type=dict[str, object])
        reason = f"refused ({response.status}): {document['detail']}"
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError):
        return LinkError(name, f"refused with HTTP status {response.status}")
    code = document.get("refusal")
    return LinkRefused(name, reason, code) if isinstance(code, str) else LinkError(name, reason)


_REASONS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "no route to it",
    errno.ENETUNREACH: "no route to it",
    errno.ETIMEDOUT: "connection timed out",
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
