"""Serving an ASGI app on several listeners of one process, with the peer's identity in each request.

uvicorn does the HTTP; this module adds mutual TLS whose certificate becomes `request.state.peer`, Unix
sockets, bounds on slow and oversized request heads, the service manager's notifications, an orderly stop.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import stat
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import Depends
from starlette.requests import Request
from starlette.types import ASGIApp
from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tmr.rim import frames, notify
from tmr.rim.coalesce import Coalescing
from tmr.rim.frame_server import Answerer, FrameServer
from tmr.rim.identity import LOCAL_OPERATOR, BadIdentity, Identity, of_certificate, public_key_hash
from tmr.rim.logs import fields
from tmr.rim.problem import Problem
from tmr.rim.tls import Renewal

log = logging.getLogger(__name__)

HEAD_TIMEOUT = 5.0
"""Seconds in which a request's head must arrive once it began."""
HEAD_LIMIT = 32 * 1024
"""Bytes of request line and headers together."""
KEEP_ALIVE = 75
"""Seconds that an idle connection is kept."""
HANDSHAKE_TIMEOUT = 5.0
"""Seconds that a TLS handshake may take."""
GRACE = 3
"""Seconds that requests under way have at an orderly stop."""
RENEWAL_CHECK = 60.0
"""Seconds between looks at the certificate files."""


class CannotListen(Exception):
    """An address cannot be listened on; the text names it and the reason."""


class Listener(msgspec.Struct, frozen=True):
    """One listening socket: with `tls` the peer is who its certificate says, without it `local`."""

    sock: socket.socket
    tls: ssl.SSLContext | None = None
    local: Identity | None = None
    path: Path | None = None

    @property
    def port(self) -> int:
        """The TCP port: asked for with 0, the kernel chose one."""
        return int(self.sock.getsockname()[1])

    def close(self) -> None:
        """Stop listening; a Unix socket leaves no file behind."""
        self.sock.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def tcp_listener(address: str, port: int, tls: ssl.SSLContext) -> Listener:
    """Listen on an IPv4 or IPv6 address; `::` takes IPv6 alone. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # Naming TCP is what makes asyncio set TCP_NODELAY: without it each answer waits 40 ms for an ACK.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {address} port {port}: {error.strerror}") from None
    return Listener(sock, tls=tls)


if sys.platform != "win32":

    def unix_listener(path: Path, mode: int = 0o660) -> Listener:
        """Listen on a Unix socket; its mode decides who is the local operator. Raises CannotListen."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
                path.unlink()
            sock.bind(str(path))
            path.chmod(mode)
        except OSError as error:
            sock.close()
            raise CannotListen(f"cannot listen on {path}: {error.strerror}") from None
        return Listener(sock, local=LOCAL_OPERATOR, path=path)


class PeerProtocol(HttpToolsProtocol):
    """HTTP/1.1 on one connection, which knows its peer."""

    system: str
    local: Identity | None = None
    answerer: Answerer | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _head_size: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if self.answerer is not None and self._spoken(transport) == frames.ALPN:
            self._hand_over(transport, self.answerer)
            return
        super().connection_made(Coalescing(transport, self.loop))  # type: ignore[arg-type]
        self.app_state = {**self.app_state, **self._who()}
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    @staticmethod
    def _spoken(transport: asyncio.Transport) -> str | None:
        ssl_object = transport.get_extra_info("ssl_object")
        return ssl_object.selected_alpn_protocol() if ssl_object is not None else None

    def _hand_over(self, transport: asyncio.Transport, answerer: Answerer) -> None:
        """The peer speaks frames, not HTTP."""
        self.transport = transport
        peer = self._who()["peer"]
        if not isinstance(peer, Identity):
            transport.abort()
            return
        server = FrameServer(peer, answerer, self.connections)
        transport.set_protocol(server)
        server.connection_made(transport)

    def _who(self) -> dict[str, object]:
        if self.local is not None:
            return {"peer": self.local, "local": True}
        ssl_object = self.transport.get_extra_info("ssl_object")
        try:
            return {
                "peer": of_certificate(ssl_object.getpeercert() if ssl_object else None, self.system),
                "ssl": ssl_object,
            }
        except BadIdentity as error:
            return {"peer": None, "peer_error": str(error)}

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def on_message_begin(self) -> None:
        self._head_size = 0
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.timeout_keep_alive_handler)
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        former = self.cycle
        in_head = self._head_timer is not None or former is None or former.response_complete
        super().data_received(data)
        if in_head and self.cycle is former and self._head_timer is not None:
            # All of it belongs to a head that is still not complete: the parser would go on collecting.
            try:
                self._count(len(data))
            except ValueError as error:
                self._stop_head_timer()
                self.send_400_response(str(error))

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_LIMIT:
            raise ValueError("the request's head is too large")

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        super().on_headers_complete()


class PeerServer(Server):
    """uvicorn's server on ready-made listeners. `stop` ends it, as SIGTERM and SIGINT do.

    `answerer` answers those who speak frames instead of HTTP.
    """

    def __init__(
        self,
        app: ASGIApp,
        listeners: Sequence[Listener],
        system: str,
        *,
        on_started: Callable[[], None] = lambda: None,
        on_stopping: Callable[[], None] = lambda: None,
        healthy: Callable[[], bool] = lambda: True,
        renewal: Renewal | None = None,
        answerer: Answerer | None = None,
    ) -> None:
        config = Config(
            app,
            http=PeerProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
        )
        super().__init__(config)
        self._listeners = listeners
        self._system = system
        self._on_started = on_started
        self._on_stopping = on_stopping
        self._healthy = healthy
        self._renewal = renewal
        self._answerer = answerer
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin an orderly stop; call it in the event loop."""
        self.should_exit = True
        self._stop.set()

    def _protocol(self, listener: Listener) -> Callable[[], PeerProtocol]:
        def create() -> PeerProtocol:
            protocol = PeerProtocol(self.config, self.server_state, self.lifespan.state)
            protocol.system = self._system
            protocol.local = listener.local
            protocol.answerer = self._answerer
            return protocol

        return create

    async def startup(self, sockets: Iterable[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(1)
        loop = asyncio.get_running_loop()
        self.servers = []
        for listener in self._listeners:
            options: dict[str, Any] = {"ssl_handshake_timeout": HANDSHAKE_TIMEOUT} if listener.tls else {}
            server = await loop.create_server(
                self._protocol(listener), sock=listener.sock, ssl=listener.tls, backlog=1024, **options
            )
            self.servers.append(server)
        self.started = True
        self._on_started()

    async def main_loop(self) -> None:
        limit = notify.watchdog_interval()
        period = min(1.0, limit / 3) if limit else 1.0
        since_check = 0.0
        while not await self.on_tick(0):
            if self._healthy():
                notify.watchdog()
            since_check += period
            if self._renewal is not None and since_check >= RENEWAL_CHECK:
                since_check = 0.0
                self._check_renewal(self._renewal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), period)

    def _check_renewal(self, renewal: Renewal) -> None:
        try:
            if renewal.check():
                log.info("renewed certificate taken into use")
        except (OSError, ssl.SSLError) as error:
            log.error("renewed certificate cannot be used; keeping the former", extra=fields(error=error))

    async def shutdown(self, sockets: Iterable[socket.socket] | None = None) -> None:
        notify.stopping()
        self._on_stopping()
        await super().shutdown()
        for listener in self._listeners:
            listener.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """SIGTERM and SIGINT stop in order; unlike uvicorn's own, they do not kill the process afterwards."""
        loop = asyncio.get_running_loop()

        def handle(*_: object) -> None:
            loop.call_soon_threadsafe(self.stop)

        try:
            former = {sig: signal.signal(sig, handle) for sig in (signal.SIGTERM, signal.SIGINT)}
        except ValueError:  # not the main thread: whoever runs us there calls `stop`
            former = {}
        try:
            yield
        finally:
            for sig, handler in former.items():
                signal.signal(sig, handler)


def peer_of(request: Request) -> Identity:
    """Who sent the request. Raises Problem 403 wrong-role where the certificate does not say."""
    peer: Identity | None = getattr(request.state, "peer", None)
    if peer is None:
        reason = getattr(request.state, "peer_error", "the connection has no certificate")
        raise Problem(
            "wrong-role",
            403,
            "Unknown peer",
            f"Refused: {reason}.",
            "Connect with a certificate issued by this TMR system.",
        )
    return peer


def public_key_of(request: Request) -> str:
    """SHA-256, hexadecimal, of the public key in the peer's certificate (SubjectPublicKeyInfo, DER).

    Empty where the connection has no certificate.
    """
    ssl_object = getattr(request.state, "ssl", None)
    der = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
    return public_key_hash(der) if der else ""


Peer = Annotated[Identity, Depends(peer_of)]
"""A route's parameter of this type is who asks."""


def demand_local(request: Request) -> None:
    """Raise Problem 403 wrong-role unless the request came through the administration socket."""
    if not getattr(request.state, "local", False):
        raise Problem(
            "wrong-role",
            403,
            "Only on the machine itself",
            "This is answered on the administration socket only.",
            "Log in to the machine and use its command there.",
        )


def demand(peer: Identity, *roles: str) -> None:
    """Raise Problem 403 wrong-role unless `peer` has one of `roles`."""
    if peer.role not in roles:
        raise Problem(
            "wrong-role",
            403,
            "Wrong role",
            f"This needs the role {' or '.join(roles)}; your certificate is of {peer}.",
            "Use a certificate of that role, or ask whoever runs the TMR system.",
        )


def require(*roles: str) -> Any:
    """A dependency of a route or router: the peer must have one of `roles`, else 403 wrong-role."""

    def check(peer: Peer) -> Identity:
        demand(peer, *roles)
        return peer

    return Depends(check)
