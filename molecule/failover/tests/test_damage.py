# SPDX-License-Identifier: Apache-2.0
"""A flipped bit on one upstream's disk, and old copies of two: what comes back, and by whose word."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from licences import FIRM, Products
from machines import names

from system import (
    active_status,
    caught_up,
    lab,
    machines_on,
    roles,
    statuses,
    tmr,
    tmr_operator,
    until,
    whole,
)
from tmr.twin.anchor_file import NAME, AnchorFile

pytestmark = pytest.mark.timeout(900)
STATE = "/var/lib/tmr-upstream"
BIN = "/opt/tmr/current/bin"
FLIP = """
import sqlite3
db = sqlite3.connect("/var/lib/tmr-upstream/upstream.db", isolation_level=None)
row = "SELECT idx, body FROM journal WHERE length(body) > 0 ORDER BY idx DESC"
(entry, body) = db.execute(row).fetchone()
struck = bytearray(body)
struck[len(struck) // 2] ^= 1
db.execute("UPDATE journal SET body = ? WHERE idx = ?", (bytes(struck), entry))
db.close()
"""


def on(name: str, script: str) -> str:
    """Run a shell script on a machine, as root."""
    return lab("shell", name, "sh", "-ec", script)


def take(product: int, units: int, key: str) -> int:
    """Take units of the licence, once with this key; how many are left."""
    wanted = f"--firm {FIRM} --product {product}"
    code, _, errors = tmr("consume", wanted, "--units", str(units), "--once", f"{key}-{product}", "--json")
    assert code == 0, errors
    return left(product)


def left(product: int) -> int:
    """Units of the licence, as a client sees them."""
    code, output, errors = tmr("list", "--json", "--patience", "30")
    assert code == 0, errors
    (item,) = [each for each in json.loads(output)["items"] if each["product_code"] == product]
    units: int = item["units_remaining"]
    return units


def alarm(name: str, word: str) -> str:
    """The alarm with this word that a twin or an upstream raises; empty: there is none."""
    if name in names("twins"):
        status: Any = statuses()[name]
        raised = status["alarms"] if status else []
    else:
        shown = "/opt/tmr/current/bin/tmr-upstream status --json 2>/dev/null || true"
        raised = json.loads(on(name, shown) or '{"alarms": []}')["alarms"]
    return next((text for text in raised if word in text), "")


def test_a_flipped_bit_and_a_power_cut_of_all(products: Products) -> None:
    """The damaged machine is up first. All is served again by itself, and the damaged machine is named."""
    servers, (damaged, *others) = names("upstreams", "twins"), names("upstreams")
    before = take(products.units, 5, "before-the-bit")
    on(damaged, "systemctl stop tmr-upstream")
    lab("shell", damaged, "/opt/tmr/current/bin/python", "-c", FLIP)
    on(damaged, "sync")
    lab("power-off", *servers)
    lab("power-on", damaged)
    until(lambda: alarm(damaged, "the disk changed"), f"{damaged} says what happened to it")
    lab("power-on", *names("twins"))
    lab("power-on", *others)
    until(whole, "all is served again, and three upstreams vote")
    take(products.units, 5, "before-the-bit")
    assert left(products.units) == before, "what was taken is taken once"
    for name in (damaged, *names("twins")):
        assert alarm(name, "has everything again" if name != damaged else "was brought up to date")
    assert f"the disk of {damaged} changed" in tmr_operator("status")[1]
    (votes,) = [one["votes"] for one in active_status()["licences"] if one["product_code"] == products.units]
    assert votes == 3, "its container is whole"

    on(damaged, "systemctl restart tmr-upstream")
    until(caught_up, "it is back")
    until(
        lambda: not any(alarm(name, f"the disk of {damaged}") for name in names("twins")),
        "the alarm ends with the next start",
    )


def anchored(twin: str, index: int, directory: Path) -> bool:
    """Whether the twin has on its disk that this entry was committed."""
    kept = directory / NAME
    kept.write_bytes(base64.b64decode(on(twin, f"base64 /var/lib/tmr-server/{NAME}")))
    found = AnchorFile(directory).read()
    return found is not None and found.anchor.index >= index


def test_old_copies_of_two_serve_when_an_operator_says_so(products: Products, tmp_path: Path) -> None:
    pair, third = names("upstreams")[:2], names("upstreams")[2]
    take(products.units, 1, "before-the-copy")
    for name in pair:
        on(name, "systemctl stop tmr-upstream")
    for name in pair:
        on(name, f"rm -rf /root/moment; cp -a {STATE} /root/moment; systemctl start tmr-upstream")
    until(whole, "all is as before")
    at_the_copy = left(products.units)
    assert take(products.units, 7, "after-the-copy") == at_the_copy - 7
    index = active_status()["commit"]
    for twin in names("twins"):
        until(lambda twin=twin: anchored(twin, index, tmp_path), f"{twin} has it on its disk")  # type: ignore[misc]

    for name in pair:
        on(name, "systemctl stop tmr-upstream")
    for name in pair:
        on(name, f"rm -r {STATE}; mv /root/moment {STATE}; sync")
    lab("power-off", *names("upstreams", "twins"))
    lab("power-on", *pair, *names("twins"))
    ids = {}
    for twin in names("twins"):
        told = until(lambda twin=twin: alarm(twin, "--accept-loss"), f"{twin} objects")  # type: ignore[misc]
        assert re.search(r"would come back: .*\b7 of ", told), told
        assert f"{third} may have it: bring that back" in told
        ids[twin] = re.search(r"--accept-loss (\S+?)`", told)
        assert ids[twin], told
    assert "active" not in roles().values()
    code, _, errors = tmr("list", "--patience", "4")
    assert code == 3, errors

    for twin, found in ids.items():
        assert found is not None
        on(
            twin,
            f"systemctl stop tmr-server; {BIN}/tmr-server --accept-loss {found[1]}; "
            "systemctl start tmr-server",
        )
    until(lambda: "active" in roles().values(), "a twin serves")
    assert not machines_on()[third]
    assert left(products.units) == at_the_copy, "what was answered after the copy is given up"

    lab("power-on", third)
    refused = "what only this upstream has is lost"
    until(lambda: alarm(third, refused), f"{third} keeps what it has as committed, and says so")
    renew = "systemctl stop tmr-upstream; {}/tmr-upstream renew; systemctl start tmr-upstream"
    on(third, renew.format(BIN))
    until(whole, "the third upstream has begun anew, with its container")
    assert left(products.units) == at_the_copy
    assert not any(alarm(twin, "--accept-loss") for twin in names("twins"))
    (votes,) = [one["votes"] for one in active_status()["licences"] if one["product_code"] == products.units]
    assert votes == 3
