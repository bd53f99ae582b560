# SPDX-License-Identifier: Apache-2.0
"""Every route of the client API against every role."""

import re
import time
from collections.abc import Mapping

import httpx

TRIES = 30


def refused_by_role(peers: Mapping[str, httpx.Client]) -> int:
    """Ask for each route with each role that it does not admit; how many were refused, as all must be.

    The API's own description says who may ask.
    """
    document = next(iter(peers.values())).get("/openapi.json").json()
    refused = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            query = {
                one["name"]: "6000010"
                for one in operation.get("parameters", ())
                if one["in"] == "query" and one.get("required")
            }
            allowed = {role for one in operation["security"] for role in one["certificate"]}
            for role, peer in peers.items():
                if not allowed or role in allowed:
                    continue
                given = _asked(peer, method, re.sub(r"{.*?}", "x", path), query)
                assert given.status_code == 403, (role, method, path, given.text)
                assert given.json()["type"] == "urn:tmr:problem:wrong-role"
                refused += 1
    return refused


def _asked(peer: httpx.Client, method: str, path: str, query: Mapping[str, str]) -> httpx.Response:
    """The answer, once the machine of the test leaves the server time for one."""
    for _ in range(TRIES):
        given = peer.request(method, path, params=query)
        if given.status_code != 503 or "Retry-After" not in given.headers:
            break
        time.sleep(float(given.headers["Retry-After"]))
    return given
