# SPDX-License-Identifier: Apache-2.0
"""One flipped bit in what an upstream has stored: it begins anew by itself, and both twins name it."""

import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from testbed.loopback import Machines, Twin, Upstream, body, key, until

PRODUCT = 92
ROWS = {
    "journal": (
        "SELECT idx, body FROM journal ORDER BY idx DESC LIMIT 1",
        "UPDATE journal SET body = ? WHERE idx = ?",
    ),
    "snapshot": ("SELECT id, state FROM snapshot", "UPDATE snapshot SET state = ? WHERE id = ?"),
    "promise": ("SELECT id, incarnation FROM meta", "UPDATE meta SET incarnation = ? WHERE id = ?"),
}
"""What is struck → how the row is read, and how it is written."""


def flip(store: Path, what: str) -> None:
    """Change one bit within a row, in the middle of its longest value."""
    read, write = ROWS[what]
    with sqlite3.connect(store) as raw:
        row, value = raw.execute(read).fetchone()
        struck = bytearray(value.encode() if isinstance(value, str) else value)
        struck[len(struck) // 2] ^= 1
        fresh = struck.decode() if isinstance(value, str) else bytes(struck)
        raw.execute(write, (fresh, row))
    raw.close()


def own_status(upstream: Upstream) -> dict[str, Any]:
    """What the upstream says of itself."""
    with upstream.admin() as admin:
        found: dict[str, Any] = admin.get("/v1/status").json()
    return found


def listens(upstream: Upstream) -> bool:
    """Whether it has read its store, and takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", upstream.port)) == 0


def named(machines: Machines, twin: Twin, upstream: Upstream) -> bool:
    """Whether the twin has an alarm of damage on the disk of this upstream."""
    status = machines.status(twin)
    return status is not None and any(f"the disk of {upstream.name}" in text for text in status["alarms"])


@pytest.mark.timeout(600)
def test_a_flipped_bit_costs_nothing_and_is_named(machines: Machines) -> None:
    """In a row of the journal, in the snapshot, in the promise; each time the power of all five is cut."""
    active = machines.serve(product=PRODUCT, quantity=2)
    wanted = body(PRODUCT, ttl=600)
    granted = machines.client(active).post("/v1/sessions", json=wanted, headers=key())
    assert granted.status_code == 201, granted.text
    session = granted.json()["id"]
    struck = machines.upstreams[0]
    container = own_status(struck)["container"]
    # The first damage ends with a snapshot, which is sent to the upstream that began anew.
    for what in ROWS:
        for daemon in (*machines.twins, *machines.upstreams):
            daemon.kill()
        flip(struck.config.parent / "state" / "upstream.db", what)
        struck.start()
        until(lambda: listens(struck), "the damaged upstream runs, and is the only one that does")
        active = machines.whole()
        own = own_status(struck)
        assert own["voting"], what
        assert own["container"] == container, "its licences are still there"
        assert any("the disk changed what this upstream had stored" in text for text in own["alarms"])
        until(
            lambda: all(named(machines, twin, struck) for twin in machines.twins),
            "both twins name the machine",
        )
        status = machines.status_of(active)
        (licence,) = [one for one in status["licences"] if one["product_code"] == PRODUCT]
        assert (licence["in_use"], licence["votes"]) == (1, 3), "nothing that was acknowledged is lost"
    assert machines.client(active).delete(f"/v1/sessions/{session}").status_code == 204
    struck.kill()
    active = machines.whole()
    until(
        lambda: not any(named(machines, twin, struck) for twin in machines.twins),
        "the alarm ends with the next start",
    )
