# SPDX-License-Identifier: Apache-2.0
"""Answers of a server, as bytes."""

import json
from typing import Any

from tmr.api.problems import PROBLEMS
from tmr.client._operations import Answer


def problem_answer(slug: str, status: int | None = None, **members: Any) -> Answer:
    """A problem document; `status` for one that the table does not know."""
    kind = PROBLEMS.get(slug)
    code = status or (kind.status if kind else 500)
    document = {
        "type": f"urn:tmr:problem:{slug}",
        "title": kind.title if kind else "Something new",
        "status": code,
        "detail": f"{slug} for the test",
        "code": kind.code if kind else None,
        "remedy": kind.remedy if kind else "",
        **members,
    }
    return Answer(code, json.dumps(document).encode())
