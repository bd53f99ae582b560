# SPDX-License-Identifier: Apache-2.0
"""Request bodies with a bound on size and time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from tmr.net.problem import ProblemError, bad_request

READ_TIMEOUT = 10.0
"""Seconds in which a request's body must have arrived."""


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body of at most `limit` bytes. Raises ProblemError: 413 too large, 408 too slow."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        detail = f"The body did not arrive within {READ_TIMEOUT:g} s."
        raise bad_request(detail, "Send the body at once.", status=408) from None
    except ClientDisconnect:
        raise bad_request("The connection ended within the body.", "Send it again.", status=400) from None
    return bytes(body)


def _too_large(limit: int) -> ProblemError:
    return bad_request(f"The body is larger than {limit} bytes.", "Send less in one request.", status=413)
