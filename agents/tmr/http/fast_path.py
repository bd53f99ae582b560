# SPDX-License-Identifier: Apache-2.0
"""A short way to the routes that are asked all the time.

Between a request and its endpoint the framework spends more than the endpoint does: it looks through all
routes, resolves dependencies, and passes three layers of exception handlers. Endpoints here take the request
and read it themselves, so the few hot ones are called at once. They stay routes of the application, which has
them in its description; what this middleware does not know goes the framework's way.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tmr.net.problem import ProblemError

FAST_ROUTES: Final = frozenset(
    {
        ("POST", "/v1/sessions"),
        ("DELETE", "/v1/sessions/{session}"),
        ("PUT", "/v1/sessions/{session}/heartbeat"),
        ("POST", "/v1/sessions/{session}/units"),
        ("POST", "/v1/heartbeats"),
        ("POST", "/v1/batch"),
    }
)
"""Routes that are asked all the time."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9]{1,64}")
"""A path parameter that needs no look at its rules: any other value goes the framework's way."""


class FastPathRouter:
    """ASGI middleware. `hot`: method and path template of routes of `app` that have one parameter at most."""

    def __init__(self, app: ASGIApp, routes: FastAPI, hot: Collection[tuple[str, str]]) -> None:
        self._app = app
        self._hot: dict[tuple[str, str, str, int], tuple[Any, Callable[..., Awaitable[Response]], str]] = {}
        for route in routes.routes:
            if isinstance(route, Route):
                for method in route.methods or ():
                    if (method, route.path) in hot:
                        self._add(method, route)
        if len(self._hot) != len(hot):
            raise ValueError(f"not all of {sorted(hot)} are routes")

    def _add(self, method: str, route: Route) -> None:
        before, brace, rest = route.path.partition("{")
        name, _, after = rest.partition("}")
        if "{" in after:
            raise ValueError(f"{route.path} has more than one parameter")
        self._hot[method, before, after, bool(brace)] = route, route.endpoint, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for (method, before, after, has_name), (route, endpoint, name) in self._hot.items():
                if method != scope["method"]:
                    continue
                path = scope["path"]
                if not has_name:
                    if path == before:
                        return await self._answer(route, endpoint, {}, scope, receive, send)
                elif path.startswith(before) and path.endswith(after):
                    value = path[len(before) : len(path) - len(after)]
                    if _PLAIN.fullmatch(value):
                        return await self._answer(route, endpoint, {name: value}, scope, receive, send)
        await self._app(scope, receive, send)
        return None

    @staticmethod
    async def _answer(
        route: Route,
        endpoint: Callable[..., Awaitable[Response]],
        parameters: dict[str, str],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        scope["route"] = route
        try:
            response = await endpoint(Request(scope, receive), **parameters)
        except ProblemError as problem:
            response = problem.response()
        await response(scope, receive, send)
