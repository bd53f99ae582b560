# SPDX-License-Identifier: Apache-2.0
"""The status page for people: one file, no external assets; it reads `/v1/status` every two seconds."""

import base64
import hashlib
import importlib.resources
import re

from starlette.responses import HTMLResponse

_TEXT = (importlib.resources.files("tmr.http") / "page.html").read_text(encoding="utf-8")


def _digest(tag: str) -> str:
    """The hash source (Content Security Policy level 3, 2.3.1) of the page's own element."""
    inside = re.search(rf"<{tag}>(.*?)</{tag}>", _TEXT, re.DOTALL)
    assert inside is not None  # noqa: S101
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside[1].encode()).digest()).decode()}'"


_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; connect-src 'self'; script-src {_digest('script')};"
        f" style-src {_digest('style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def page() -> HTMLResponse:
    """The page; it may load and run nothing but itself."""
    return HTMLResponse(_TEXT, headers=_HEADERS)
