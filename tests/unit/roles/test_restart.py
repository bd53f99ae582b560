# SPDX-License-Identifier: Apache-2.0
"""Restarts: a daemon that runs something else is found, and one that is needed is left alone."""

import base64
import hashlib
import json
from typing import Any

import pytest

from .plugin import load

plugin = load("tmr_operate/filter_plugins/tmr_operate.py")

CONFIG, UNIT = "/etc/tmr/server.toml", "/etc/systemd/system/tmr-server.service"
GROUPS = {"twins": ["tmr1", "tmr2"], "upstreams": ["up1", "up2", "up3"], "clients": ["cad"]}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def running(release: str = "a", config: str = "c", unit: str = "u") -> str:
    files = {CONFIG: digest(config), UNIT: digest(unit)}
    return base64.b64encode(json.dumps({"release": release, "pid": 1, "files": files}).encode()).decode()


DISK = [
    {"item": "/opt/tmr/current", "stat": {"exists": True, "lnk_target": "/opt/tmr/releases/a"}},
    {"item": CONFIG, "stat": {"exists": True, "checksum": digest("c")}},
    {"item": UNIT, "stat": {"exists": True, "checksum": digest("u")}},
]


def test_a_daemon_that_runs_what_lies_on_its_disk_is_left_alone() -> None:
    assert not plugin.differs(running(), DISK)


@pytest.mark.parametrize(
    "found", [running(release="b"), running(config="old"), running(unit="old"), "", "bm8=", "e30="]
)
def test_a_daemon_that_runs_something_else_is_found(found: str) -> None:
    assert plugin.differs(found, DISK)


def test_a_file_that_is_gone_makes_a_difference() -> None:
    assert plugin.differs(running(), [*DISK[:2], {"item": UNIT, "stat": {"exists": False}}])


def states(tmr1: str = "active", tmr2: str = "passive", votes: str = "111") -> dict[str, Any]:
    upstreams = [
        {"name": name, "reachable": True, "voting": vote == "1"}
        for name, vote in zip(GROUPS["upstreams"], votes, strict=True)
    ]
    told = {"tmr1": tmr1, "tmr2": tmr2}
    results = [
        {"item": name, "json": {"role": role, "upstreams": upstreams}}
        if role
        else {"item": name, "unreachable": True}
        for name, role in told.items()
    ]
    found: dict[str, Any] = plugin.answers(results)
    return found


@pytest.mark.parametrize(
    ("host", "seen", "said"),
    [
        ("tmr1", states(), ""),
        ("tmr2", states(), ""),
        ("tmr1", states(tmr2="starting"), "tmr2 (starting) cannot take over"),
        ("tmr1", states(tmr2=""), "tmr2 (does not answer) cannot take over"),
        ("tmr2", states(tmr2="starting"), ""),
        ("tmr1", states(tmr1="starting", tmr2="starting"), ""),
        ("tmr1", {}, ""),
        ("up1", states(), ""),
        ("up1", states(votes="101"), "up2 does not vote"),
        ("up1", states(votes="100"), "up2 and up3 does not vote"),
        ("up1", states(votes="011"), ""),
        ("up1", states(tmr1="starting", votes="100"), ""),
        ("cad", states(votes="100"), ""),
    ],
)
def test_a_restart_that_would_end_the_service_is_refused(host: str, seen: dict[str, Any], said: str) -> None:
    found = plugin.refusal(host, GROUPS, seen)
    assert bool(found) == bool(said)
    assert said in found
    assert not found or "Repair" in found
