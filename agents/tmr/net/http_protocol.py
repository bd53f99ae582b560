# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on one connection, which knows its peer: uvicorn's protocol with bounds on time, size and room."""

import asyncio
import re
import ssl
import urllib.parse
from collections.abc import Hashable
from functools import partial
from typing import Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from tmr.net import framing
from tmr.net.buffered_transport import BufferedTransport
from tmr.net.certificate_policy import CertificatePolicy
from tmr.net.connection_limits import ConnectionLimiter
from tmr.net.fair_selector import Share, turns_of_sockets
from tmr.net.frame_server import Answerer, FrameServer
from tmr.net.http_rules import head_refusal
from tmr.net.identity import BadIdentity, Identity, of_certificate
from tmr.net.problem import ProblemError, bad_request

HEAD_TIMEOUT: Final = 5.0
"""Seconds in which a request's head must arrive once it began."""
HEAD_LIMIT: Final = 32 * 1024
"""Bytes of request line and headers together."""
BODY_TIMEOUT: Final = 15.0
"""Seconds in which a request's body must arrive, also of a body that is not read: `read_body` waits less."""
_PLAIN: Final = re.compile(rb"(?:/[A-Za-z0-9_~-]+)+")
"""A path that all programs read alike."""
PIPELINE: Final = 8
"""Requests that may wait for the answer to the one before them."""


class PeerProtocol(HttpToolsProtocol):
    """One connection of a peer.

    `system`: whose certificates count; `local`: who it is on a socket without TLS; `room`: what it takes part
    of. A peer that is not known is told so at each request; a peer that finds no room is not answered. A peer
    that speaks frames instead of HTTP (see `frames`) is answered by `answerer`.
    """

    system: str
    room: ConnectionLimiter
    local: Identity | None = None
    answerer: Answerer | None = None
    holder: Hashable = None
    resting_since: float | None = None
    _serial: int = 0
    _not_after: float = float("inf")
    _refusal: ProblemError | None = None
    _fault: ProblemError | None = None
    _in_head: bool = False
    _in_body: bool = False
    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _head_size: int = 0
    _framed: FrameServer | None = None
    _share: Share | None = None
    _socket: int = -1

    # -- who it is -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(BufferedTransport(transport, self.loop))  # type: ignore[arg-type]
        who = self._who()
        peer = who["peer"]
        self.app_state = {**self.app_state, **who}
        self.resting_since = self.loop.time()
        self._take_turns()
        if not self.room.enter(self):
            self.room.refuse("full", f"no room for more connections of {self.holder}", self.address())
            self.turn_out()
            return
        if self._spoken() != framing.ALPN:
            self._arm_keep_alive()
        elif self.answerer is None or not isinstance(peer, Identity):
            self.turn_out()
        else:
            answer = partial(self.answerer, peer, self.address())
            self._framed = FrameServer(self.transport, answer, self._rest)

    def _take_turns(self) -> None:
        """Read in turns from now on: between peers, then between the addresses of one."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            self._socket, self._share = sock.fileno(), Share((self._flow(), self.address()))
            turns_of_sockets().share(self._socket, self._share)

    def _flow(self) -> Hashable:
        return self.holder.account if isinstance(self.holder, Identity) else self.holder

    def _who(self) -> dict[str, object]:
        if self.local is not None:
            self.holder = self.local
            return {"peer": self.local, "local": True}
        ssl_object: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        certificate = ssl_object.getpeercert() if ssl_object is not None else None
        if certificate:
            self._serial = int(str(certificate["serialNumber"]), 16)
            self._not_after = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        try:
            peer = of_certificate(certificate, self.system)
        except BadIdentity as error:
            self.room.refuse("identity", str(error), self.address())
            self.holder = "nobody"
            self._refusal = unknown_peer(str(error))
            return {"peer": None, "peer_error": str(error)}
        self.holder = peer
        return {"peer": peer, "ssl": ssl_object}

    def _spoken(self) -> str | None:
        ssl_object: ssl.SSLObject | None = self.transport.get_extra_info("ssl_object")
        return ssl_object.selected_alpn_protocol() if ssl_object is not None else None

    def _rest(self, resting: bool) -> None:
        self.resting_since = self.loop.time() if resting else None

    def address(self) -> str:
        """The address that it comes from; empty for a Unix socket."""
        return self.client[0] if self.client else ""

    def objection(self, admission: CertificatePolicy, now: float) -> str:
        """Reason why the peer would not be let in today (Unix time); empty while it would."""
        return admission.objection(self._serial, self._not_after, now) if self.local is None else ""

    def turn_out(self) -> None:
        """End the connection, whatever it is doing."""
        self.transport.abort()

    # -- its end -------------------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        self.room.leave(self)
        if self._share is not None:
            turns_of_sockets().release(self._socket, self._share)
        if self._framed is not None:
            self._framed.connection_lost()
        self._stop_head_timer()
        self._stop_body_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Answer what was asked, then close."""
        if self._framed is not None:
            self._framed.shutdown()
        else:
            super().shutdown()

    def _arm_keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    # -- requests ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._head_size = 0
        self._in_head = True
        self.resting_since = None
        self._stop_head_timer()
        if len(self.pipeline) >= PIPELINE:
            self.transport.abort()
            raise ValueError("too many requests wait for an answer")
        super().on_message_begin()

    def data_received(self, data: bytes) -> None:
        if self._framed is not None:
            self._framed.data_received(data)
            return
        former = self.cycle
        in_head = self._in_head or former is None or former.response_complete
        super().data_received(data)
        if in_head and self.cycle is former and self._in_head:
            # All of it belongs to a head that is still not complete: the parser would go on collecting.
            try:
                self._count(len(data))
            except ValueError as error:
                self._in_head = False
                self._stop_head_timer()
                self.send_400_response(str(error))
        # Most requests come whole, and need no timer.
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT, self.timeout_keep_alive_handler)
        if self._in_body and self._body_timer is None:
            self._body_timer = self.loop.call_later(BODY_TIMEOUT, self.timeout_keep_alive_handler)
        if self._at_rest() and self.timeout_keep_alive_task is None:
            self._arm_keep_alive()  # empty lines, or the rest of a body that nobody read

    def _at_rest(self) -> bool:
        answered = self.cycle is None or self.cycle.response_complete
        return answered and not (self._in_head or self._in_body or self.pipeline)

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
        self._fault = head_refusal(self.parser.get_http_version(), self.headers)
        if self._fault is not None:
            raise ValueError(str(self._fault))
        self._in_head, self._in_body = False, True
        self._stop_head_timer()
        refusal = self._refusal or path_refusal(self.url)
        if refusal is None:
            super().on_headers_complete()
            return
        app = self.app

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            await refusal.response()(scope, receive, send)

        self.app = refuse
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request with a problem document, and end the connection.

        Where an answer is under way or due before it, that one would be taken for this: it just ends.
        """
        cycle = self.cycle
        due = cycle is not None and not cycle.response_complete
        if self.pipeline or (due and (self._in_head or cycle.response_started)):
            self.transport.abort()
            return
        fault = self._fault or bad_request(msg, "Send requests as HTTP/1.1 has them.", status=400)
        response = fault.response()
        response.headers["connection"] = "close"
        fields = [b"%s: %s\r\n" % (name.title(), value) for name, value in response.raw_headers]
        self.transport.write(b"".join((STATUS_LINE[fault.status], *fields, b"\r\n", response.body)))
        self.transport.close()

    def on_message_complete(self) -> None:
        self._in_body = False
        self._stop_body_timer()
        super().on_message_complete()
        if self._at_rest():
            self.resting_since = self.loop.time()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._at_rest():
            self.resting_since = self.loop.time()


def unknown_peer(reason: str) -> ProblemError:
    """403 wrong-role: the certificate does not name its holder."""
    return ProblemError(
        "wrong-role",
        403,
        "Unknown peer",
        f"Refused: {reason}.",
        "Connect with a certificate issued by this TMR system.",
    )


def path_refusal(url: bytes) -> ProblemError | None:
    """400 for a path of which two programs might think differently (RFC 3986, sections 2.3, 6.2.2)."""
    path = url.partition(b"?")[0]
    if _PLAIN.fullmatch(path):
        return None
    for segment in path.split(b"/"):
        plain = urllib.parse.unquote_to_bytes(segment)
        try:
            plain.decode()
        except UnicodeDecodeError:
            return bad_request("The path is not UTF-8.", "Encode it as UTF-8.", status=400)
        if plain in (b".", b"..") or any(octet < 0x20 or octet in b"/\\\x7f" for octet in plain):
            return bad_request(
                "The path has a segment '.' or '..', or an encoded slash or control character.",
                "Ask for the path as the API description has it.",
                status=400,
            )
    return None
