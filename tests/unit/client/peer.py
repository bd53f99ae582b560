# SPDX-License-Identifier: Apache-2.0
"""A small licence server for the client's tests: real HTTPS with mutual TLS on loopback, one licence with its
sessions, queue, units and borrowings, an access list, and faults on demand.

Bodies are read and written by the wire models, so that nothing is answered that no server could answer.
"""

import contextlib
import datetime as dt
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
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import parse_qs

from pydantic import BaseModel

from tests.support.lending import Borrower, Lender, item
from tmr.api.access import AccessList
from tmr.api.borrowing import Borrowing, BorrowingList, BorrowRequest
from tmr.api.explain import Candidate, ExplainRequest, Explanation
from tmr.api.licences import Holder, LicenceState
from tmr.api.problems import PROBLEMS
from tmr.api.problems import problem as problem_document
from tmr.api.sessions import (
    Consumption,
    EndedBy,
    EndedSession,
    Heartbeat,
    Heartbeats,
    HeartbeatsRequest,
    HeldSession,
    QueuedRequest,
    QueuePlace,
    Session,
    SessionList,
    SessionRequest,
    UnitsRequest,
)
from tmr.net.tls import TlsFiles

NOW = "2026-03-01T12:00:00Z"
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SERIAL = "131-1234567"
CLIENT = "alice"
TMR_ID = 1


M = TypeVar("M", bound=BaseModel)


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


class Waiter(NamedTuple):
    """A request in the queue."""

    key: str
    asked: SessionRequest


class State:
    """What outlives a failover. One licence with `quantity` seats, of which other clients have `others`."""

    def __init__(self, quantity: int = 5) -> None:
        self.lock = threading.Lock()
        self.quantity = quantity
        self.others = 0
        self.ttl: int | None = None
        """Seconds to live that are granted whatever was asked for."""
        self.units: int | None = None
        """Units left; None: no Unit Counter."""
        self.warnings: tuple[str, ...] = ()
        self.by_key: dict[str, Session | Consumption | Borrowing] = {}
        self.questions: dict[str, Any] = {}
        """What was asked with each idempotency key."""
        self.sessions: dict[str, SessionRequest] = {}
        self.queue: dict[str, Waiter] = {}
        self.ended: dict[str, EndedSession] = {}
        self.borrowings: dict[str, Borrowing] = {}
        self.lender = Lender(item(activation_ms=None, expiration_ms=None))
        self.access = AccessList(version=0)
        self.ids = itertools.count(1)
        self.page: int | None = None
        """Entries in a page of a list; None: all."""
        self.status: dict[str, Any] = {}
        self.items: dict[str, Any] = {"items": [], "unavailable": []}

    @property
    def in_use(self) -> int:
        return len(self.sessions) + len(self.borrowings) + self.others

    def free(self, seats: int = 1) -> None:
        """Other clients give seats back."""
        with self.lock:
            self.others -= seats
            self.promote()

    def end(self, session: str, by: EndedBy, who: str = "") -> None:
        """End a session, or a place in the queue."""
        self.sessions.pop(session, None)
        self.queue.pop(session, None)
        self.ended[session] = EndedSession(id=session, by=by, who=who, at=NOON)
        self.promote()

    def promote(self) -> None:
        while self.queue and self.in_use < self.quantity:
            place, (key, asked) = next(iter(self.queue.items()))
            del self.queue[place]
            self.grant(place, key, asked)

    def grant(self, session: str, key: str, asked: SessionRequest) -> Session:
        self.sessions[session] = asked
        if self.units is not None:
            self.units -= asked.units
        granted = Session(
            id=session,
            container=SERIAL,
            firm_code=asked.firm_code,
            product_code=asked.product_code,
            tmr_id=asked.tmr_id or TMR_ID,
            access_mode=asked.access_mode,
            ttl=self.ttl or asked.ttl,
            granted_at=NOON,
            in_use=self.in_use,
            quantity=self.quantity,
            epoch=7,
            units_remaining=self.units,
            warnings=self.warnings,
        )
        self.by_key[key] = granted
        return granted


class Refusal(Exception):
    """The problem that is answered."""

    def __init__(self, slug: str, detail: str, **members: Any) -> None:
        self.document = problem_document(slug, detail, **members)


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
        if isinstance(document, bytes):
            body = document
        else:
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

    def read(self, kind: type[M]) -> M:
        return kind.model_validate(self.document)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def do_request(self) -> tuple[int, Any]:
        state = self.peer.state
        try:
            with state.lock:
                status, answer = self.carried_out(state)
        except Refusal as refusal:
            status, answer = refusal.document.status, refusal.document
        return status, answer.model_dump(mode="json", by_alias=True) if isinstance(
            answer, BaseModel
        ) else answer

    def paged(self, state: State, whole: Any, *lists: str) -> dict[str, Any]:
        """A page of these lists, one after the other; `after` is how many entries were shown before."""
        found = whole.model_dump(mode="json")
        entries = [(name, each) for name in lists for each in found[name]]
        asked = parse_qs(self.path.partition("?")[2])
        first = int(asked.get("after", ["0"])[0])
        last = len(entries) if state.page is None else first + state.page
        page = {name: [each for kind, each in entries[first:last] if kind == name] for name in lists}
        return {**found, **page, "next": str(last) if last < len(entries) else None}

    def carried_out(self, state: State) -> tuple[int, Any]:
        if self.key:
            asked = {name: each for name, each in self.document.items() if name not in ("process", "wait")}
            if state.questions.setdefault(self.key, asked) != asked:
                raise Refusal("conflicting-key", f"The idempotency key {self.key} was used before.")
        match (self.command, self.path.partition("?")[0].strip("/").split("/")[1:]):
            case ("GET", ["containers"]):
                return 200, {"containers": [container(self.peer)]}
            case ("GET", ["containers", serial, "items"]) if serial == SERIAL:
                return 200, state.items
            case ("POST", ["explain"]):
                return 200, explained(state, self.read(ExplainRequest))
            case ("POST", ["sessions"]):
                return self.open_session(state)
            case ("GET", ["sessions"]):
                return 200, self.paged(state, listed(state), "sessions", "queue")
            case ("PUT", ["sessions", session, "heartbeat"]):
                held = state.sessions.get(session) or lost(state, session)
                return 200, Heartbeat(id=session, ttl=state.ttl or held.ttl, epoch=7)
            case ("POST", ["heartbeats"]):
                return 200, self.heartbeats(state)
            case ("POST", ["sessions", session, "units"]):
                return self.consume(state, session)
            case ("DELETE", ["sessions", session]):
                if session in state.sessions or session in state.queue:
                    state.end(session, EndedBy.RELEASE)
                return 204, None
            case ("POST", ["borrowings"]):
                return self.borrow(state)
            case ("GET", ["borrowings"]):
                found = BorrowingList(borrowings=tuple(state.borrowings.values()))
                return 200, self.paged(state, found, "borrowings")
            case ("GET", ["borrowings", borrowing, "file"]) if borrowing in state.borrowings:
                return 200, self.borrow_file(state, state.borrowings[borrowing])
            case ("DELETE", ["borrowings", borrowing]):
                state.borrowings.pop(borrowing, None)
                state.promote()
                return 204, None
            case ("GET", ["access"]):
                return 200, state.access
            case ("PUT", ["access"]):
                return self.set_access(state)
            case ("GET", ["status"]):
                return 200, {**state.status, "name": self.peer.name}
            case ("POST", ["operator", "switchover"]):
                return 202, {"from": self.peer.name}
            case (_, ["borrowings", borrowing, *_]):
                raise Refusal("borrowing-ended", f"There is no borrowing {borrowing}.")
            case _:
                raise Refusal("bad-request", f"There is no {self.command} {self.path}.")

    def open_session(self, state: State) -> tuple[int, Any]:
        asked = self.read(SessionRequest)
        known = state.by_key.get(self.key)
        if isinstance(known, Session):
            if known.id not in state.sessions:
                lost(state, known.id)
            return 201, known
        for place, waiter in state.queue.items():
            if waiter.key == self.key and asked.wait:
                return 202, place_of(state, place)
            if waiter.key == self.key:
                state.end(place, EndedBy.RELEASE)
                break
        if asked.units and state.units is None:
            raise Refusal("not-enough-units", "the licence has no Unit Counter")
        if asked.units > (state.units or 0):
            raise Refusal("not-enough-units", f"{asked.units} units are asked for, {state.units} remain")
        identity = f"s-{next(state.ids)}"
        former = [each for each, held in state.sessions.items() if asked.instance and same(held, asked)]
        for each in former:
            state.end(each, EndedBy.REPLACED, identity)
        if state.in_use < state.quantity or asked.access_mode == "no-user-limit":
            return 201, state.grant(identity, self.key, asked)
        if asked.wait:
            state.queue[identity] = Waiter(self.key, asked)
            return 202, place_of(state, identity)
        raise Refusal(
            "no-more-licences",
            f"all {state.quantity} seats are taken",
            holders=(HOLDER,),
            waiting=len(state.queue) or None,
        )

    def heartbeats(self, state: State) -> Heartbeats:
        asked = self.read(HeartbeatsRequest).sessions
        gone = tuple(each for each in asked if each not in state.sessions)
        return Heartbeats(
            alive=tuple(each for each in asked if each not in gone),
            lost=gone,
            ended=tuple(state.ended[each] for each in gone if each in state.ended),
        )

    def consume(self, state: State, session: str) -> tuple[int, Any]:
        known = state.by_key.get(self.key)
        if known is None:
            units = self.read(UnitsRequest).units
            held = state.sessions.get(session) or lost(state, session)
            if units > (state.units or 0):
                raise Refusal("not-enough-units", f"{units} units are asked for, {state.units or 0} remain")
            state.units = (state.units or 0) - units
            known = state.by_key[self.key] = Consumption(
                session=session,
                firm_code=held.firm_code,
                product_code=held.product_code,
                tmr_id=TMR_ID,
                units=units,
                remaining=state.units,
                epoch=7,
            )
        return 200, known

    def borrow(self, state: State) -> tuple[int, Any]:
        known = state.by_key.get(self.key)
        if known is None:
            asked = self.read(BorrowRequest)
            if asked.seconds > (state.lender.item.borrow_s or 0):
                raise Refusal("borrow-failed", "it cannot be borrowed for so long", holders=(HOLDER,))
            since = dt.datetime.now(dt.UTC).replace(microsecond=0)
            fields = {
                **asked.model_dump(include={"firm_code", "product_code", "station", "user"}),
                "id": f"0000000000000000bor-{next(state.ids):04}",
                "client": CLIENT,
                "tmr_id": TMR_ID,
                "from": since,
                "until": since + dt.timedelta(seconds=asked.seconds),
            }
            known = state.by_key[self.key] = Borrowing.model_validate(fields)
            state.borrowings[known.id] = known
        return 201, known

    def borrow_file(self, state: State, lent: Borrowing) -> Any:
        certificate = ssl.DER_cert_to_PEM_cert(self.request.getpeercert(binary_form=True))
        data = state.lender.file(
            Borrower(certificate.encode(), b""),
            borrow=lent.id,
            client=lent.client,
            station=lent.station,
            user=lent.user,
            from_ms=round(lent.since.timestamp() * 1000),
            until_ms=round(lent.until.timestamp() * 1000),
        )
        return data

    def set_access(self, state: State) -> tuple[int, Any]:
        wanted = self.read(AccessList)
        names = [rule.name for rule in wanted.rules]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            mistakes = tuple(f"rule {name!r}: another rule has this name" for name in sorted(twice))
            raise Refusal("bad-request", f"The access list cannot be used: {mistakes[0]}.", mistakes=mistakes)
        if self.path.endswith("?check=true"):
            return 200, wanted
        if wanted.version != state.access.version:
            raise Refusal("access-list-changed", f"The access list is at version {state.access.version}.")
        state.access = wanted.model_copy(update={"version": wanted.version + 1})
        return 200, state.access


HOLDER = Holder.model_validate(
    {"user": "ada", "station": "cad-01", "access_mode": "user-limit", "since": NOW, "seats": 1}
)


def lost(state: State, session: str) -> Any:
    raise Refusal("session-lost", f"There is no session {session}.", ended=state.ended.get(session))


def same(held: SessionRequest, asked: SessionRequest) -> bool:
    """The same instance of the same program at the same station."""
    return (held.station, held.instance, held.product_code) == (
        asked.station,
        asked.instance,
        asked.product_code,
    )


def place_of(state: State, place: str) -> QueuePlace:
    asked = state.queue[place].asked
    return QueuePlace(
        id=place,
        firm_code=asked.firm_code,
        product_code=asked.product_code,
        position=list(state.queue).index(place) + 1,
        waiting=len(state.queue),
        since=NOON,
        ttl=state.ttl or asked.ttl,
        epoch=7,
    )


def listed(state: State) -> SessionList:
    shared = {"firm_code", "product_code", "access_mode", "station", "user"}
    return SessionList(
        sessions=tuple(
            HeldSession(
                **asked.model_dump(include={*shared, "ttl", "process", "instance"}),
                id=session,
                client=CLIENT,
                tmr_id=TMR_ID,
                granted_at=NOON,
                remaining_ms=41_000,
            )
            for session, asked in state.sessions.items()
        ),
        queue=tuple(
            QueuedRequest(
                **waiter.asked.model_dump(include=shared),
                id=place,
                client=CLIENT,
                position=number,
                since=NOON,
            )
            for number, (place, waiter) in enumerate(state.queue.items(), 1)
        ),
    )


def explained(state: State, asked: ExplainRequest) -> Explanation:
    full = state.in_use >= state.quantity
    problem = "no-more-licences" if full else ""
    detail = f"{state.in_use} of {state.quantity} seats are in use" if full else ""
    return Explanation(
        granted=not full,
        problem=problem,
        detail=detail,
        asked=asked.model_dump(mode="json", exclude_none=True),
        licences=(
            Candidate(
                firm_code=asked.firm_code,
                product_code=asked.product_code,
                tmr_id=TMR_ID,
                name="Simulator",
                state=LicenceState.AVAILABLE,
                granted=not full,
                problem=problem,
                detail=detail,
                in_use=state.in_use,
                quantity=state.quantity,
                units_remaining=state.units,
                constituents=(),
                holders=(HOLDER,) if full else (),
            ),
        ),
        waiting=len(state.queue),
        certified_time=NOON,
    )


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
