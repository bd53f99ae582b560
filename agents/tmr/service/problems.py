# SPDX-License-Identifier: Apache-2.0
"""Problem documents of the client API, each with the explanation that belongs to it."""

from typing import Any

from tmr.api.problems import PROBLEMS
from tmr.net.problem import ProblemError


def problem(
    slug: str,
    detail: str,
    *,
    remedy: str | None = None,
    retry_after: int | None = None,
    **members: Any,
) -> ProblemError:
    """The problem `slug` of the table. `members`: further members; empty ones are left out."""
    kind = PROBLEMS[slug]
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return ProblemError(
        slug,
        kind.status,
        kind.title,
        detail,
        kind.remedy if remedy is None else remedy,
        code=kind.code,
        headers=headers,
        **{name: value for name, value in members.items() if value},
    )
