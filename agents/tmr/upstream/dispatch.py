# SPDX-License-Identifier: Apache-2.0
"""Dispatch of the twins' messages to their handlers, by the registry of `tmr.rpc.registry`."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tmr.licensing import BorrowSignature, SignedStatement
from tmr.net.body import read_body
from tmr.net.frame_server import Answerer
from tmr.net.identity import Identity
from tmr.net.peer_requests import PeerRequests
from tmr.net.problem import ProblemError, bad_request
from tmr.quorum import messages as quorum
from tmr.quorum.entries import FORMAT, ProposerId
from tmr.rpc.messages import ReadContainer, SignBorrowing
from tmr.rpc.record_messages import AttestRecord, ListRecords, ReadLines, StoreLines
from tmr.rpc.registry import BY_MESSAGE, RPCS, Rpc, decode_message, encode
from tmr.rpc.upstream_client import CONTENT_TYPE
from tmr.upstream.acceptor_runner import AcceptorRunner, RunnerFailed
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.metrics import Metrics
from tmr.upstream.recorder import Recorder
from tmr.upstream.status import version
from tmr.upstream.twin_policy import TwinCertificatePolicy

_MESSAGES: Final = (
    f"This upstream has the version {version()}, which knows the journal's formats up to {FORMAT}. If "
    "the twin is newer, install its version here, too."
)
"""Remedy for what is no message of this version."""

Endpoint = Callable[[Request], Awaitable[Response]]
Handler = Callable[[Any], Awaitable[object]]


class Dispatch:
    """Answers each message of the registry by its handler, for twins alone."""

    def __init__(
        self,
        runner: AcceptorRunner,
        container_store: ContainerStore,
        borrowings: Borrowings,
        recorder: Recorder,
        metrics: Metrics,
        twins: TwinCertificatePolicy,
    ) -> None:
        self._container_store = container_store
        self._borrowings = borrowings
        self._metrics = metrics
        self._twins = twins
        self._handlers: dict[type, Handler] = {
            quorum.Acquire: runner.call,
            quorum.Append: runner.call,
            quorum.Install: runner.call,
            quorum.Release: runner.call,
            quorum.Subscribe: runner.call,
            quorum.Bootstrap: runner.call,
            quorum.Report: runner.call,
            ReadContainer: self._container,
            SignBorrowing: self._sign,
            ListRecords: recorder.answer,
            ReadLines: recorder.answer,
            StoreLines: recorder.answer,
            AttestRecord: recorder.answer,
        }
        if self._handlers.keys() != BY_MESSAGE.keys():
            raise TypeError("the registry and the handlers differ: each message has one of both")

    def routes(self) -> list[tuple[str, str, Endpoint]]:
        """Path, method and endpoint of each call."""
        return [(rpc.route, "POST", self._endpoint(rpc)) for rpc in RPCS]

    def answerer(self, requests: PeerRequests) -> Answerer:
        """Answers messages that come in frames: all but those that are too large to wait behind."""

        async def answer(peer: Identity, address: str, body: bytes) -> bytes:
            async with requests.one(peer, address, len(body)):
                twin = self._twins.admit(peer, address)
                message = _decoded(body, "frame")
                rpc = BY_MESSAGE[type(message)]
                if not rpc.framed:
                    name = rpc.message.__name__.lower()
                    raise bad_request(f"{name!r} is not sent in a frame.", f"Post it to {rpc.route}.")
                return await self._reply(twin, message)

        return answer

    def _endpoint(self, rpc: Rpc) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            twin = self._twins.admit_request(request)
            message = _decoded(await read_body(request, rpc.body_limit), "body")
            if type(message) is not rpc.message:
                raise bad_request(
                    f"A message of the kind {type(message).__name__.lower()!r} does not belong here.",
                    f"Post it to {BY_MESSAGE[type(message)].route}.",
                )
            return Response(await self._reply(twin, message), media_type=CONTENT_TYPE)

        return endpoint

    async def _reply(self, twin: str, message: Any) -> bytes:
        owner = getattr(message, "owner", None)
        if isinstance(message, SignBorrowing):
            owner = message.read.owner
        if owner is not None:
            _speaks_for(owner, twin)
        try:
            reply = await self._handlers[type(message)](message)
        except RunnerFailed:
            raise failed() from None
        self._metrics.messages.labels(type(message).__name__.lower(), type(reply).__name__.lower()).inc()
        return encode(reply)

    async def _container(self, _: ReadContainer) -> SignedStatement:
        return self._container_store.statement

    async def _sign(self, asked: SignBorrowing) -> BorrowSignature:
        return await self._borrowings.share(asked.borrow, asked.read)


def _decoded(body: bytes, what: str) -> Any:
    """The message in the body or frame. Raises ProblemError bad-request."""
    try:
        return decode_message(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise bad_request(f"The {what} is no message in msgpack: {error}", _MESSAGES) from None


def _speaks_for(owner: ProposerId, twin: str) -> None:
    """Raise ProblemError unless the certificate is of the twin that the message names."""
    if owner.name != twin:
        raise ProblemError(
            "wrong-role",
            403,
            "Wrong twin",
            f"The message speaks for {owner.name!r}, the certificate is of twin {twin}.",
            "Speak for yourself only.",
        )


def failed() -> ProblemError:
    """The store failed: nothing can be answered any more."""
    return ProblemError(
        "overloaded",
        503,
        "Store failed",
        "This upstream's store failed; it is about to restart.",
        "Try again.",
        headers={"Retry-After": "1"},
    )
