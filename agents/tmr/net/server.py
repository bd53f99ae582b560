# SPDX-License-Identifier: Apache-2.0
"""Serving an ASGI app on several listeners of one process, with the peer's identity in each request.

uvicorn does the HTTP; this module adds mutual TLS whose certificate becomes `request.state.peer`, Unix
sockets, renewed certificates, the service manager's notifications, an orderly stop. What one connection may
take is bounded in `connection`, what all may take in `room`.
"""

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import ssl
import stat
import sys
import time
from asyncio import sslproto
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config, Server

from tmr.net.addresses import has_ipv6
from tmr.net.connection_limits import ConnectionLimiter
from tmr.net.frame_server import Answerer
from tmr.net.http_protocol import PeerProtocol, unknown_peer
from tmr.net.identity import LOCAL_OPERATOR, Identity, public_key_hash
from tmr.net.problem import ProblemError, internal
from tmr.net.renewal import Renewal
from tmr.runtime import systemd
from tmr.runtime.logs import fields

log = logging.getLogger(__name__)

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept."""
HANDSHAKE_TIMEOUT = 5.0
"""Seconds that a TLS handshake may take."""
SHUTDOWN_TIMEOUT = 5.0
"""Seconds that a peer has to confirm the end of a TLS connection, and to take what was sent before."""
TLS_BUFFER = 32 * 1024
"""Bytes that asyncio fills for each TLS connection, before the peer has said a word; 256 KiB of its own."""
BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted."""
GRACE = 3
"""Seconds that requests under way have at an orderly stop."""
RENEWAL_CHECK = 10.0
"""Seconds between looks at the certificate files, and at the connected peers."""


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
    try:
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:  # such as a kernel without IPv6
        raise CannotListen(f"cannot listen on {address} port {port}: {error.strerror}") from None
    try:
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {address} port {port}: {_reason(error, port)}") from None
    return Listener(sock, tls=tls)


def tcp_listeners(addresses: Sequence[str], port: int, tls: ssl.SSLContext) -> list[Listener]:
    """Listen on each address, but not on all IPv6 addresses of a kernel without IPv6. Raises CannotListen."""
    there = addresses if has_ipv6() else [address for address in addresses if address != "::"]
    return [tcp_listener(address, port, tls) for address in there or addresses]


def _reason(error: OSError, port: int) -> str:
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        reason += f"; as root, `ss -ltnp 'sport = :{port}'` names the program that has it: end that"
    return reason


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


class ShutdownMiddleware:
    """ASGI middleware: a request that ends without an answer gets a problem document.

    Those that still wait when the time for an orderly stop is up are told where to turn; after a fault of the
    application, that there was one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, note)
            if scope["type"] == "http" and not started:
                raise RuntimeError("the application gave no answer")
        except asyncio.CancelledError:
            if scope["type"] != "http" or started:
                raise
            problem = ProblemError(
                "not-active",
                503,
                "This server is not active",
                "This server stops. Whether the request was carried out is not known.",
                "Ask again with the same idempotency key.",
                headers={"Retry-After": "1"},
            )
            await problem.response()(scope, receive, send)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            log.exception("a request could not be answered", extra=fields(path=scope["path"]))
            await internal().response()(scope, receive, send)


class PeerServer(Server):
    """uvicorn's server on ready-made listeners. `stop` ends it, as SIGTERM and SIGINT do.

    `answerer` answers peers that speak frames instead of HTTP.
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
        on_renewed: Callable[[], None] = lambda: None,
        room: ConnectionLimiter | None = None,
    ) -> None:
        config = Config(
            ShutdownMiddleware(app),
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
        self._on_renewed = on_renewed
        self._room = room or ConnectionLimiter()
        self._accepting: list[asyncio.Task[None]] = []
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
            protocol.room = self._room
            return protocol

        return create

    def _enter(self, listener: Listener) -> Callable[[socket.socket], Coroutine[Any, Any, object]]:
        create, loop = self._protocol(listener), asyncio.get_running_loop()
        options: dict[str, Any] = {}
        if listener.tls is not None:
            options = {
                "ssl": listener.tls,
                "ssl_handshake_timeout": HANDSHAKE_TIMEOUT,
                "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT,
            }

        def enter(sock: socket.socket) -> Coroutine[Any, Any, object]:
            return loop.connect_accepted_socket(create, sock, **options)

        return enter

    async def startup(self, sockets: Iterable[socket.socket] | None = None) -> None:
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(1)
        loop = asyncio.get_running_loop()
        sslproto.SSLProtocol.max_size = TLS_BUFFER
        self.servers = []
        for listener in self._listeners:
            listener.sock.listen(BACKLOG)
            accept = self._room.accept(listener.sock, self._enter(listener))
            task = loop.create_task(accept)
            task.add_done_callback(self._accepting_ended)
            self._accepting.append(task)
        self.started = True
        self._on_started()

    def _accepting_ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.critical("cannot accept connections; stopping", exc_info=error)
            self.stop()

    async def main_loop(self) -> None:
        limit = systemd.watchdog_interval()
        period = min(1.0, limit / 3) if limit else 1.0
        since_check = 0.0
        while not await self.on_tick(0):
            if self._healthy():
                systemd.watchdog()
            since_check += period
            if self._renewal is not None and since_check >= RENEWAL_CHECK:
                since_check = 0.0
                self._check_renewal(self._renewal)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), period)

    def _check_renewal(self, renewal: Renewal) -> None:
        former = renewal.admission.ca
        if renewal.check():
            log.info("renewed certificate files taken into use")
            self._on_renewed()
        self._turn_out(renewal, other_ca=renewal.admission.ca != former)

    def _turn_out(self, renewal: Renewal, *, other_ca: bool) -> None:
        """End the connections of peers that would not be let in any more."""
        now = time.time()
        for connection in list(self.server_state.connections):
            connection = cast("PeerProtocol", connection)
            reason = connection.objection(renewal.admission, now)
            if reason:
                self._room.refuse("certificate", f"{reason}: {connection.holder}", connection.address())
                connection.turn_out()
            elif other_ca and connection.local is None:
                connection.shutdown()  # it comes again, and is looked at again

    async def shutdown(self, sockets: Iterable[socket.socket] | None = None) -> None:
        systemd.stopping()
        self._on_stopping()
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for listener in self._listeners:  # whoever comes now must not wait for the requests under way
            listener.close()
        await super().shutdown()
        for connection in list(self.server_state.connections):  # of peers that do not end theirs
            cast("PeerProtocol", connection).transport.abort()
        await asyncio.sleep(0)  # lets the aborted ones close their sockets

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
    """Identity of the sender of the request.

    Raises ProblemError 403 wrong-role where the certificate does not say.
    """
    peer: Identity | None = getattr(request.state, "peer", None)
    if peer is None:
        raise unknown_peer(getattr(request.state, "peer_error", "the connection has no certificate"))
    return peer


def public_key_of(request: Request) -> str:
    """SHA-256, hexadecimal, of the public key in the peer's certificate (SubjectPublicKeyInfo, DER).

    Empty where the connection has no certificate.
    """
    ssl_object = getattr(request.state, "ssl", None)
    der = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
    return public_key_hash(der) if der else ""


def demand_local(request: Request) -> None:
    """Raise ProblemError 403 wrong-role unless the request came through the administration socket."""
    if not getattr(request.state, "local", False):
        raise ProblemError(
            "wrong-role",
            403,
            "Only on the machine itself",
            "This is answered on the administration socket only.",
            "Log in to the machine and use its command there.",
        )


def demand(peer: Identity, *roles: str) -> None:
    """Raise ProblemError 403 wrong-role unless `peer` has one of `roles`."""
    if peer.role not in roles:
        raise ProblemError(
            "wrong-role",
            403,
            "Wrong role",
            f"This needs the role {' or '.join(roles)}; your certificate is of {peer}.",
            "Use a certificate of that role, or ask whoever runs the TMR system.",
        )
