# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of the client API: exact about bodies that are read by hand, problems and roles.

A route says `openapi_extra=documented(…)`; `install` completes the document from what all routes said.
"""

from typing import Annotated, Any, Final

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel

from tmr.api.fields import IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY, PAGE_MAX
from tmr.api.problem import MEDIA_TYPE, Problem
from tmr.api.problems import PROBLEMS
from tmr.service.pagination import AFTER

CLIENTS: Final = ("client", "operator")
"""Roles that may use licences."""
OPERATORS: Final = ("operator",)
ANYONE: Final = ()
"""Every role of the system."""
SERVING: Final = ("no-quorum", "not-active")
"""Problems of every route that only the active twin answers."""
JOURNAL: Final = ("overloaded",)
"""Problems of a route that writes to the journal, or that may be turned away (`tmr.http.load_limits`)."""
VALIDITY: Final = ("licence-expired", "licence-not-active")
"""A licence that is held is not valid any more."""
DECIDING: Final = ("storage-full", "time-in-doubt")
"""Problems of a route that decides something new."""
STORING: Final = (*DECIDING, *JOURNAL)
"""Problems of a route that stores something new."""
HOLDING: Final = ("session-lost", "access-denied", "licence-unavailable", *VALIDITY, *JOURNAL)
"""Problems of a route about a session that is held."""
WISHING: Final = (
    "entry-not-found",
    "no-more-licences",
    "exclusive-conflict",
    "access-denied",
    *VALIDITY,
    "maintenance-ended",
    "feature-missing",
    "licence-unavailable",
    "tmr-id-outside-tmr",
    "conflicting-key",
    *STORING,
)
"""Problems of a route that asks for a seat."""

_NAME: Final = r"^[A-Za-z0-9._~-]{1,128}$"
Serial = Annotated[str, Path(description="Serial of a container.", pattern=_NAME, examples=["131-1234567"])]
"""A container in a path."""
SessionName = Annotated[str, Path(description="Id of a session, or of a place in a queue.", pattern=_NAME)]
"""A session in a path."""
BorrowingName = Annotated[str, Path(description="Id of a borrowing.", pattern=_NAME)]
"""A borrowing in a path."""

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Entries of one page.")]
"""Length of a page."""
After = Annotated[str | None, Query(pattern=AFTER, description="`next` of the page before.")]
"""Position at which the page before ended."""

_SLUGS: Final = "x-tmr-problems"
_ROLES: Final = "x-tmr-roles"
_REFERENCE: Final = "#/components/schemas/"
_SCHEME: Final = "certificate"
_BODY_STATUSES: Final = {"408": "The body did not arrive in time.", "413": "The body is too large."}
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})


def documented(
    *slugs: str,
    takes: type[BaseModel] | None = None,
    key: bool = False,
    roles: tuple[str, ...] = CLIENTS,
    serving: bool = True,
) -> dict[str, Any]:
    """Description of a route, as `openapi_extra`.

    `slugs`: the problems that it can give, besides those that its parameters and body bring. `takes`: the
    model of the body that it reads by hand. `key`: it wants an idempotency key. `roles`: who may ask, ()
    being everyone. `serving`: the active twin alone answers. Raises KeyError for an unknown problem.
    """
    wanted = {*slugs, "wrong-role", *(SERVING if serving else ())}
    described: dict[str, Any] = {
        _SLUGS: sorted(PROBLEMS[slug].slug for slug in wanted),
        _ROLES: list(roles),
    }
    if takes is not None:
        schema = takes.model_json_schema(ref_template=_REFERENCE + "{model}")
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if key:
        described["parameters"] = [
            {
                "name": IDEMPOTENCY_HEADER,
                "in": "header",
                "required": True,
                "description": "Random; the same one when the same request is repeated.",
                "schema": {"type": "string", "pattern": IDEMPOTENCY_KEY},
            }
        ]
    return described


def install(app: FastAPI) -> None:
    """Have `app` give the completed document."""
    generate = app.openapi

    def completed() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = complete(generate())
        return app.openapi_schema

    app.openapi = completed  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with problems, roles and all schemas that it refers to. Changes and returns it."""
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)  # FastAPI's own; here everything wrong is a Problem
    _hoist(schemas, Problem.model_json_schema(mode="serialization", ref_template=_REFERENCE + "{model}"))
    for item in document["paths"].values():
        for method, operation in item.items():
            if method in _METHODS:
                _complete(operation, schemas)
    document["components"]["securitySchemes"] = {
        _SCHEME: {
            "type": "mutualTLS",
            "description": "A certificate of the system's CA with one URI `spiffe://SYSTEM/ROLE/NAME`. "
            "The roles that an operation lists are those that may ask.",
        }
    }
    return document


def _complete(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["schema"] = {"$ref": _REFERENCE + _hoist(schemas, content["schema"])}
    roles = operation.pop(_ROLES, CLIENTS)
    operation["security"] = [{_SCHEME: [role]} for role in roles] or [{_SCHEME: []}]
    responses = operation["responses"]
    responses.pop("default", None)
    by_status: dict[str, list[str]] = {}
    for slug in operation.pop(_SLUGS, ("wrong-role", *SERVING)):
        by_status.setdefault(str(PROBLEMS[slug].status), []).append(slug)
    parameters = operation.get("parameters", ())
    if parameters or "requestBody" in operation:
        by_status["422"] = ["bad-request"]
    if any(parameter["in"] == "path" for parameter in parameters):
        by_status.setdefault("404", []).append("bad-request")  # the path is none that there is
        by_status.setdefault("400", []).append("bad-request")  # two programs might read the path differently
    for status, slugs in by_status.items():
        means = "; ".join(f"`{slug}`: {PROBLEMS[slug].title}" for slug in slugs)
        responses[status] = _response(means, slugs, retry=status == "503")
    if "requestBody" in operation:
        for status, means in _BODY_STATUSES.items():
            responses[status] = _response(f"`bad-request`: {means}", ["bad-request"])


def _response(means: str, slugs: list[str], *, retry: bool = False) -> dict[str, Any]:
    types = [PROBLEMS[slug].type for slug in slugs]
    schema = {
        "allOf": [{"$ref": f"{_REFERENCE}Problem"}, {"properties": {"type": {"enum": types}}}],
    }
    response: dict[str, Any] = {"description": means, "content": {MEDIA_TYPE: {"schema": schema}}}
    if retry:
        response["headers"] = {
            "Retry-After": {
                "description": "Seconds after which to ask again, where that may help.",
                "schema": {"type": "integer", "minimum": 0},
            }
        }
    return response


def _hoist(schemas: dict[str, Any], schema: dict[str, Any]) -> str:
    """Put a model's schema and those within it among the components. Returns its name there.

    Raises ValueError where two models of one name would read differently.
    """
    found: dict[str, Any] = {**schema.pop("$defs", {}), schema["title"]: schema}
    for name, one in found.items():
        plain = _without_null_defaults(one)
        if schemas.setdefault(name, plain) != plain:
            raise ValueError(
                f"the API description has two schemas {name}: give one of the models another name"
            )
    return str(schema["title"])


def _without_null_defaults(part: Any) -> Any:
    """As FastAPI writes schemas."""
    if isinstance(part, dict):
        return {
            key: _without_null_defaults(value)
            for key, value in part.items()
            if not (key == "default" and value is None)
        }
    return [_without_null_defaults(one) for one in part] if isinstance(part, list) else part
