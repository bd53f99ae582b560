# SPDX-License-Identifier: Apache-2.0
"""Rules for the head of a request that the parser does not hold: one meaning for every program (RFC 9112).

Pure. Whatever two programs might read differently is refused, and ends the connection.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from tmr.net.problem import ProblemError, bad_request

VERSIONS: Final = frozenset({"1.0", "1.1"})
SINGLE: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"idempotency-key",
        b"authorization",
        b"expect",
    }
)
"""Header fields of which a request has one at most."""


def head_refusal(version: str, headers: Sequence[tuple[bytes, bytes]]) -> ProblemError | None:
    """400 for a head that is refused; None for one that is not. `headers`: names in lower case."""
    if version not in VERSIONS:
        return _refusal(f"HTTP/{version} is not spoken here.", "Speak HTTP/1.1.")
    counts = Counter(name for name, _ in headers)
    for name in sorted(SINGLE & counts.keys()):
        if counts[name] > 1:
            return _refusal(f"The header field {name.decode()} comes {counts[name]} times.", "Send it once.")
    if version == "1.1" and not counts[b"host"]:
        return _refusal("The header field host is missing.", "Name the server in it, as HTTP/1.1 demands.")
    if counts[b"transfer-encoding"]:
        (coding,) = (value for name, value in headers if name == b"transfer-encoding")
        if version != "1.1" or counts[b"content-length"]:
            return _refusal(
                "Transfer-Encoding comes with Content-Length, or in HTTP/1.0.",
                "Send either a length or chunks, the latter in HTTP/1.1.",
            )
        if coding.strip().lower() != b"chunked":
            return _refusal("The Transfer-Encoding is not chunked.", "Send chunks, or a length.")
    return None


def _refusal(detail: str, remedy: str) -> ProblemError:
    return bad_request(detail, remedy, status=400)
