# SPDX-License-Identifier: Apache-2.0
"""Problem documents (RFC 9457) as exceptions of a server, and as its HTTP responses."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from tmr.api.problem import MEDIA_TYPE, TYPE_PREFIX, Problem


class ProblemError(Exception):
    """Ends a request with a problem document.

    `code` is CodeMeter's number where one exists; `members` are further members of the document.
    """

    def __init__(
        self,
        slug: str,
        status: int,
        title: str,
        detail: str,
        remedy: str,
        *,
        code: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.problem = Problem(
            type=TYPE_PREFIX + slug,
            title=title,
            status=status,
            detail=detail,
            code=code,
            remedy=remedy,
            **members,
        )

    @property
    def body(self) -> bytes:
        """The document as JSON: the members that were given."""
        return self.problem.model_dump_json(include=self.problem.model_fields_set).encode()

    def response(self) -> Response:
        """The HTTP response."""
        return Response(self.body, self.status, self.headers, MEDIA_TYPE)


def bad_request(detail: str, remedy: str, status: int = 422) -> ProblemError:
    """The request itself is wrong."""
    return ProblemError("bad-request", status, "Bad request", detail, remedy)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101
    return error.response()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
    problem = ProblemError(
        "bad-request",
        error.status_code,
        str(error.detail),
        f"{error.detail} (HTTP {error.status_code})",
        "Use a path and method that the API description lists.",
        headers=headers,
    )
    return problem.response()


def _methods(request: Request) -> list[str]:
    """The methods that the path has (RFC 9110, section 10.2.1): each route knows of its own alone."""
    found = set[str]()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    places = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    return bad_request("; ".join(places), "Correct the named members and ask again.").response()


async def _internal(_: Request, __: Exception) -> Response:
    return internal().response()


def internal() -> ProblemError:
    """500: a fault of the server itself, which its log tells about."""
    return ProblemError(
        "internal-error",
        500,
        "Internal error",
        "This server made a mistake. Whether the request was carried out is not known.",
        "Ask again with the same idempotency key. If it stays, look into this server's log, and report it.",
        headers={"Connection": "close"},
    )


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _internal)
