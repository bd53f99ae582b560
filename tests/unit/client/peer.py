"""A small licence server for the client's tests: real HTTPS with mutual TLS on loopback, a few sessions, and
faults on demand."""

import contextlib
import itertools
import json
import re
import socket
import socketserver
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple, Self

from tmr.client.models import SessionRequest
from tmr.client.problems import PROBLEMS
from tmr.rim.tls import TlsFiles

NOW = "2026-03-01T12:00:00Z"
SERIAL = "131-1234567"


class Seen(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    key: str
    body: Any
    connection: int
    """Number of the TCP connection it came over."""
    source: str
    """Address that it came from."""


Fault = Callable[["_Handler"], bool]
"""Done before the request is carried out; False: that was all, nothing more is answered."""


def problem(slug: str, retry_after: int | None = None, **members: Any) -> Fault:
    """Answer with this problem."""

    def fault(handler: "_Handler") -> bool:
        kind = PROBLEMS[slug]
        document = {
            "type": kind.type,
            "title": kind.title,
            "status": kind.status,
            "detail": f"{slug} for the test",
            "code": kind.code,
            "remedy": kind.remedy,
            **members,
        }
        handler.answer(kind.status, document, retry_after=retry_after)
        return False

    return fault


def raw(status: int, body: bytes) -> Fault:
    """Answer with something that is no JSON of ours."""

    def fault(handler: "_Handler") -> bool:
        handler.answer_bytes(status, body, "text/plain", None)
        return False

    return fault


def drop(handler: "_Handler") -> bool:
    """Break the connection instead of doing anything."""
    handler.drop()
    return False


def drop_after(handler: "_Handler") -> bool:
    """Carry the request out, but break the connection instead of answering."""
    handler.silent = True
    return True


def cut_answer(handler: "_Handler") -> bool:
    """Carry the request out, and break the connection in the middle of the answer."""
    handler.cut = True
    return True


def hang(handler: "_Handler") -> bool:
    """Carry the request out, but answer nothing until the server stops."""
    handler.do_request()
    handler.silent = True
    handler.peer.stopping.wait()
    return False


class State:
    """What outlives a failover: the sessions, by id and by idempotency key."""

    def __init__(self, quantity: int = 5) -> None:
        self.lock = threading.Lock()
        self.quantity = quantity
        self.ttl: int | None = None
        """Seconds to live that are granted whatever was asked for."""
        self.by_key: dict[str, dict[str, Any]] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        self.ids = itertools.count(1)
        self.status: dict[str, Any] = {}
        self.items: dict[str, Any] = {"items": [], "unavailable": []}


class Peer:
    """One server at `address`. `start` and `stop` may alternate; the port stays the same."""

    def __init__(
        self, files: TlsFiles, state: State, *, address: str = "127.0.0.1", port: int = 0, name: str = "tmr1"
    ) -> None:
        self.files = files
        self.state = state
        self.address = address
        self.port = port
        self.name = name
        self.seen: list[Seen] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.stopping = threading.Event()
        self.connections = itertools.count(1)
        self._open: set[socket.socket] = set()
        self._server: socketserver.ThreadingTCPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        self.stopping.clear()
        peer = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.files.ca)
        context.load_cert_chain(self.files.certificate, self.files.key)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = True
            request_queue_size = 64
            address_family = socket.AF_INET6 if ":" in peer.address else socket.AF_INET

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Broken connections are what these tests are about."""

        class Handler(_Handler):
            pass

        Handler.peer = self
        Handler.context = context
        self._server = Server((self.address, self.port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def stop(self) -> None:
        if self._server is None or self._thread is None:
            return
        self.stopping.set()
        self._server.shutdown()
        self._thread.join()
        for open_socket in list(self._open):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._server = None

    def requests(self, method: str, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method and re.fullmatch(path, seen.path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer
    context: ssl.SSLContext

    def setup(self) -> None:
        self.number = next(self.peer.connections)
        self.plain = self.request
        self.request = self.context.wrap_socket(self.request, server_side=True)
        self.peer._open.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.peer._open.discard(self.request)
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def drop(self) -> None:
        self.close_connection = True
        self.silent = True
        with contextlib.suppress(OSError):
            self.request.shutdown(socket.SHUT_RDWR)

    def answer(self, status: int, document: Any, *, retry_after: int | None = None) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        kind = "application/json" if status < 400 else "application/problem+json"
        self.answer_bytes(status, body, kind, retry_after)

    def answer_bytes(self, status: int, body: bytes, kind: str, retry_after: int | None) -> None:
        if self.silent:
            self.drop()
            return
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.cut else body)
        if self.cut:
            self.drop()

    def handle_any(self) -> None:
        self.silent = self.cut = False
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.document: Any = json.loads(body) if body else None
        self.key = self.headers.get("Idempotency-Key", "")
        source = self.client_address[0]
        self.peer.seen.append(Seen(self.command, self.path, self.key, self.document, self.number, source))
        fault = self.peer.faults.popleft() if self.peer.faults else self.peer.always
        if fault is None or fault(self):
            self.answer(*self.do_request())

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def do_request(self) -> tuple[int, Any]:
        state = self.peer.state
        with state.lock:
            match (self.command, self.path.strip("/").split("/")[1:]):
                case ("GET", ["containers"]):
                    return 200, {"containers": [container(self.peer)]}
                case ("GET", ["containers", serial, "items"]) if serial == SERIAL:
                    return 200, state.items
                case ("POST", ["sessions"]):
                    return self.open_session(state)
                case ("GET", ["sessions"]):
                    return 200, {"sessions": list(state.sessions.values())}
                case ("PUT", ["sessions", session, "heartbeat"]) if session in state.sessions:
                    ttl = state.sessions[session]["ttl"]
                    return 200, {"id": session, "ttl": ttl, "epoch": 7}
                case ("POST", ["heartbeats"]):
                    asked = self.document["sessions"]
                    alive = [each for each in asked if each in state.sessions]
                    return 200, {"alive": alive, "lost": [each for each in asked if each not in alive]}
                case ("DELETE", ["sessions", session]):
                    state.sessions.pop(session, None)
                    return 204, None
                case ("GET", ["status"]):
                    return 200, {**state.status, "name": self.peer.name}
                case ("POST", ["operator", "switchover"]):
                    return 202, {"from": self.peer.name}
                case _:
                    kind = PROBLEMS["session-lost"]
                    return kind.status, {"type": kind.type, "title": kind.title, "status": kind.status}

    def open_session(self, state: State) -> tuple[int, Any]:
        if self.key in state.by_key:
            return 200, state.by_key[self.key]
        if len(state.sessions) >= state.quantity:
            kind = PROBLEMS["no-more-licences"]
            holder = {
                "user": "ada",
                "station": "cad-01",
                "access_mode": "user-limit",
                "since": NOW,
                "seats": 1,
            }
            return kind.status, {
                "type": kind.type,
                "title": kind.title,
                "status": kind.status,
                "code": kind.code,
                "detail": f"all {state.quantity} seats are taken",
                "remedy": kind.remedy,
                "holders": [{**holder, "since": NOW, "seats": 1}],
            }
        asked = SessionRequest.model_validate(self.document).model_dump(mode="json")
        identity = f"s-{next(state.ids)}"
        session = {
            "id": identity,
            "container": SERIAL,
            "firm_code": asked["firm_code"],
            "product_code": asked["product_code"],
            "tmr_id": asked["tmr_id"] or 1,
            "access_mode": asked["access_mode"],
            "ttl": state.ttl or asked["ttl"],
            "granted_at": NOW,
            "in_use": len(state.sessions) + 1,
            "quantity": state.quantity,
            "epoch": 7,
            "station": asked["station"],
            "user": asked["user"],
            "process": asked["process"],
            "client": "alice",
        }
        state.by_key[self.key] = state.sessions[identity] = session
        return 201, session


def container(peer: Peer) -> dict[str, Any]:
    upstreams = [{"name": f"up{n}", "container": f"130-{n}", "state": "available"} for n in (1, 2, 3)]
    return {
        "serial": SERIAL,
        "kind": "virtual container of a TMR system",
        "act_id": "lab-4f3a000000000001",
        "items": len(peer.state.items["items"]),
        "epoch": 7,
        "certified_time": NOW,
        "upstreams": upstreams,
        "unavailable": peer.state.items["unavailable"],
    }


@contextlib.contextmanager
def silent_address(address: str, port: int) -> Iterator[None]:
    """A machine whose kernel takes connections while nothing behind it ever answers."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(16)
        yield
