# SPDX-License-Identifier: Apache-2.0
"""A server of our own kind, in a thread: a small application behind the real listener, TLS and HTTP."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from tmr.net import fair_selector
from tmr.net.body import read_body
from tmr.net.connection_limits import ConnectionLimiter, ConnectionLimits
from tmr.net.framing import ALPN
from tmr.net.identity import Identity
from tmr.net.problem import bad_request, install
from tmr.net.renewal import Renewal
from tmr.net.server import PeerServer, peer_of, tcp_listener
from tmr.net.tls import HTTP, TlsFiles, server_context

PATIENCE = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition()` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.01)


class Served:
    """Where it listens, and what is in it. `asked`: the paths of requests that reached the application."""

    def __init__(self, server: PeerServer, room: ConnectionLimiter, port: int, asked: list[str]) -> None:
        self.server = server
        self.room = room
        self.port = port
        self.asked = asked

    def refused(self, kind: str) -> int:
        """How many connections were refused for this kind of reason."""
        (family,) = [one for one in self.room.collect() if one.name == "tmr_connections_refused"]
        return sum(int(sample.value) for sample in family.samples if sample.labels["kind"] == kind)

    def connections(self, state: str) -> int:
        """How many there are now, of those in a `handshake` or `open`."""
        (family,) = [one for one in self.room.collect() if one.name == "tmr_connections"]
        return sum(int(sample.value) for sample in family.samples if sample.labels["state"] == state)


@contextlib.contextmanager
def serving(
    files: TlsFiles, *, system: str = "lab", limits: ConnectionLimits | None = None, frames: bool = False
) -> Iterator[Served]:
    """`GET /name`: who asks; `/read`: the body's length; `/large` has 32 MiB, `/wait` waits, `/fault` fails.

    With `frames`, what comes in frames is answered, too: with who asks, from where, and the question.
    """
    asked: list[str] = []
    app = FastAPI()
    install(app)

    @app.get("/name")
    async def name(request: Request) -> Response:
        asked.append("/name")
        return Response(str(peer_of(request)))

    @app.post("/read")
    async def read(request: Request) -> Response:
        asked.append("/read")
        return Response(str(len(await read_body(request, 2**20))))

    @app.get("/large")
    async def large() -> Response:
        asked.append("/large")
        return Response(bytes(32 * 2**20))

    @app.get("/fault")
    async def fault() -> Response:
        raise RuntimeError("a fault of the application")

    @app.get("/wait")
    async def wait() -> Response:
        asked.append("/wait")
        await asyncio.sleep(PATIENCE)
        return Response()

    async def echo(peer: Identity, address: str, body: bytes) -> bytes:
        asked.append(body[:20].decode())
        match body:
            case b"bad":
                raise bad_request("never that", "Ask for something else.", status=422)
            case b"later":
                await asyncio.sleep(0.5)
            case b"never":
                await asyncio.sleep(PATIENCE)
        return f"{peer} from {address}: ".encode() + body

    room = ConnectionLimiter(limits)
    spoken = (ALPN, HTTP) if frames else (HTTP,)
    tls = server_context(files, room.handshake_failed, spoken)
    listener = tcp_listener("127.0.0.1", 0, tls)
    ready = threading.Event()
    made: list[tuple[PeerServer, asyncio.AbstractEventLoop]] = []

    async def run() -> None:
        server = PeerServer(
            app,
            [listener],
            system,
            on_started=ready.set,
            renewal=Renewal(files, tls),
            room=room,
            answerer=echo if frames else None,
        )
        made.append((server, asyncio.get_running_loop()))
        await server.serve()

    port = listener.port
    thread = threading.Thread(target=lambda: fair_selector.run(run()))
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield Served(made[0][0], room, port, asked)
    finally:
        server, loop = made[0]
        loop.call_soon_threadsafe(server.stop)
        thread.join(PATIENCE)
        assert not thread.is_alive()


def connect(port: int, files: TlsFiles | None, *, ca: str | None = None, source: str = "") -> ssl.SSLSocket:
    """A TLS connection that shows the certificate in `files`, and looks at the server's chain alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(ca or (files.ca if files is not None else None))
    raw = socket.create_connection(
        ("127.0.0.1", port), timeout=PATIENCE, source_address=(source, 0) if source else None
    )
    return context.wrap_socket(raw)


def ask(connection: ssl.SSLSocket, target: str = "/name", *, method: str = "GET") -> tuple[int, bytes]:
    """Status and body of the answer to one request on a connection that is kept."""
    connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return answer(connection)


def answer(connection: ssl.SSLSocket) -> tuple[int, bytes]:
    """Status and body of the next answer. Raises ConnectionError where none comes."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65_536)
        if not part:
            raise ConnectionResetError("closed without an answer")
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65_536)
    return int(head.split()[1]), body


def ended(connection: ssl.SSLSocket) -> bool:
    """Wait for the server to end the connection; whatever it still sends is read and dropped."""
    try:
        while connection.recv(65_536):
            pass
    except (ssl.SSLError, ConnectionError):
        return True
    except TimeoutError:
        return False
    return True
