# SPDX-License-Identifier: Apache-2.0
"""Playbooks that fail, or come after one that was broken off: nobody is locked out, and the system serves."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from machines import SSH_CONFIG, machine_named, playbook

from system import active, caught_up, fails, lab, until, upstream_status

pytestmark = pytest.mark.timeout(900)

CONFIG = "/etc/tmr/upstream.toml"
BROKEN = "/etc/systemd/system/tmr-upstream.service.d"


def on(name: str, script: str) -> str:
    """Output of a shell script that runs on a machine as root, and came there without ssh."""
    return lab("shell", name, "sh", "-c", script)


def firewall(name: str) -> str:
    """The rules that are in force."""
    return on(name, "nft --stateless list table inet tmr 2>&1 || true")


def watched(name: str) -> bool:
    """Whether the rules are watched over."""
    return on(name, "systemctl is-active tmr-firewall-watch || true").strip() == "active"


def process(name: str) -> str:
    """Process number of the upstream."""
    return on(name, "systemctl show --property=MainPID --value tmr-upstream").strip()


def runs(name: str) -> Any:
    """What the upstream says that it runs; None: it does not run."""
    return json.loads(on(name, "cat /run/tmr-upstream/running.json 2>/dev/null || echo null"))


def test_rules_that_lock_out_are_taken_back_and_lost_ones_loaded(tmp_path: Path) -> None:
    """The role alone: site.yml looks for the controller's address before."""
    on("up2", "systemctl stop tmr-firewall-watch && nft delete table inet tmr")
    lost, before = firewall("up2"), firewall("up3")
    assert "policy drop" not in lost
    assert "policy drop" in before
    role = {"become": True, "gather_facts": False, "roles": ["tmr_firewall"]}
    nowhere = {"tmr_firewall_management_networks": ["192.0.2.0/24"]}
    file = tmp_path / "firewall.yml"
    file.write_text(json.dumps([{"hosts": "up2", **role}, {"hosts": "up3", **role, "vars": nowhere}]))
    said = fails(lambda: playbook(str(file), "-e", "__tmr_firewall_seconds=20 ansible_ssh_timeout=5"))
    assert "up3: with the new rules of the firewall the controller cannot log in" in said
    until(lambda: firewall("up3") == before, "up3 has its former rules")
    until(lambda: firewall("up2") == before.replace("10.30.0.13", "10.30.0.12"), "up2 has its rules")
    for name in ("up2", "up3"):
        until(partial(watched, name), f"the rules of {name} are watched over")
        assert machine_named(name).host.run("true").rc == 0


def test_a_first_failure_stops_the_run_and_the_next_run_restarts_what_was_left() -> None:
    """Two upstreams run something else than their disks have; the first one cannot be started."""
    for name in ("up1", "up2"):
        on(
            name,
            f"cp -a {CONFIG} /root/config && echo '# former' >>{CONFIG} && systemctl restart tmr-upstream",
        )
        on(name, f"mv /root/config {CONFIG}")
        until(caught_up, f"{name} is back")
    former = {name: (process(name), runs(name)) for name in ("up1", "up2")}
    on("up1", f"mkdir {BROKEN} && printf '[Service]\nExecStartPre=/bin/false\n' >{BROKEN}/broken.conf")
    said = fails(lambda: playbook("site.yml", "--limit", "up1,up2", "--tags", "upstream"))
    assert "Unable to restart service tmr-upstream.service" in said
    until(lambda: not upstream_status("up1")["reachable"], "up1 is down")
    assert (process("up2"), runs("up2")) == former["up2"]
    assert active()

    said = fails(lambda: playbook("site.yml", "--limit", "up2", "--tags", "upstream"))
    assert "up1 does not vote, or is not reachable: a restart of up2 would leave no majority" in said
    assert (process("up2"), runs("up2")) == former["up2"]

    on("up1", f"rm -r {BROKEN} && systemctl daemon-reload && systemctl restart tmr-upstream")
    until(caught_up, "up1 is repaired")
    repaired = process("up1")
    playbook("site.yml", "--limit", "up1,up2", "--tags", "upstream")
    assert process("up1") == repaired
    assert process("up2") != former["up2"][0]
    assert runs("up2")["files"][CONFIG] == on("up2", f"sha256sum {CONFIG}").split()[0]


def test_an_upstream_that_is_off_does_not_keep_others_from_certificates() -> None:
    lab("power-off", "up3")
    # The connection that is kept open would outlive the machine.
    subprocess.run(["ssh", "-F", SSH_CONFIG, "-O", "exit", "up3"], check=False, capture_output=True)
    said = fails(lambda: playbook("site.yml", "--tags", "pki,upstream", "-e", "ansible_ssh_timeout=5"))
    assert said.startswith("site.yml --tags pki")
    assert "up3 is not reachable, and left out" in said
    recap = said.partition("PLAY RECAP")[2]
    assert "failed=1" not in recap
    assert recap.count("unreachable=1") == 1
    assert process("up1") != "0"
