# SPDX-License-Identifier: Apache-2.0
"""Problem documents of the client API, each with the explanation that belongs to it."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from tmr.api.problems import PROBLEMS
from tmr.net.problem import Problem


def problem(
    slug: str,
    detail: str,
    *,
    remedy: str | None = None,
    retry_after: int | None = None,
    **members: Any,
) -> Problem:
    """The problem `slug` of the table. `members`: further members; models, alone or in lists, become JSON."""
    kind = PROBLEMS[slug]
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    plain = {name: _plain(value) for name, value in members.items()}
    return Problem(
        slug,
        kind.status,
        kind.title,
        detail,
        kind.remedy if remedy is None else remedy,
        code=kind.code,
        headers=headers,
        **{name: value for name, value in plain.items() if value},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Iterable) and not isinstance(value, str | dict):
        return [_plain(one) for one in value]
    return value
