# SPDX-License-Identifier: Apache-2.0
"""Requests read, and answers written, by hand: JSON over HTTPS."""

import re
from typing import Final, TypeVar

from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from tmr.api.fields import IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY
from tmr.net.body import read_body
from tmr.net.identity import Identity
from tmr.net.problem import bad_request
from tmr.net.server import demand, peer_of

BODY_LIMIT: Final = 256 * 1024
"""Bytes of a request's body: a thousand session ids of 128 characters fit."""
_KEY: Final = re.compile(IDEMPOTENCY_KEY)

M = TypeVar("M", bound=BaseModel)


def client_of(request: Request) -> Identity:
    """The peer, which may use licences. Raises ProblemError 403 wrong-role."""
    peer = peer_of(request)
    demand(peer, "client", "operator")
    return peer


def address_of(request: Request) -> str:
    """The IP address that the request came from; empty on a Unix socket."""
    return request.client.host if request.client else ""


def answer(model: BaseModel, status: int = 200) -> Response:
    """The model as JSON."""
    return Response(
        model.__pydantic_serializer__.to_json(model, by_alias=True), status, None, "application/json"
    )


async def body_of(request: Request, kind: type[M]) -> M:
    """The request's body. Raises ProblemError bad-request, which names each wrong member."""
    body = await read_body(request, BODY_LIMIT)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        mistakes = [
            f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors(include_url=False)
        ]
        known = ", ".join(kind.model_fields)
        raise bad_request(
            f"{'; '.join(mistakes)}.", f"Correct what is named and ask again. The members are: {known}."
        ) from None


def idempotency_key_of(request: Request) -> str:
    """The idempotency key that names the request. Raises ProblemError bad-request."""
    key = request.headers.get(IDEMPOTENCY_HEADER, "")
    if not _KEY.fullmatch(key):
        given = (
            f"{IDEMPOTENCY_HEADER} is ill-formed" if key else f"The header {IDEMPOTENCY_HEADER} is missing"
        )
        raise bad_request(
            f"{given}: it has 8 to 128 of the characters A-Z a-z 0-9 . _ ~ -",
            "Send a new random key with each new request, and the same one when you repeat it.",
        )
    return key
