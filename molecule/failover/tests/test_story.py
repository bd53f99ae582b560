# SPDX-License-Identifier: Apache-2.0
"""Machines die and come back; the licence stays, and so does the session."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from licences import FIRM, Held, Licence
from machines import LAB, ROOT, Machine, machine_named, names, playbook

from system import (
    active,
    active_status,
    caught_up,
    lab,
    other,
    roles,
    statuses,
    tmr,
    until,
    upstream_status,
    vip_holders,
    whole,
)

UPSTREAM_PORT = 22351


def active_now() -> str:
    return str(until(active, "one twin is active and alone has the virtual address"))


def taken_over_by(twin: str, held: Held, licence: Licence) -> None:
    """The twin serves: address, session, seats."""
    until(lambda: active() == twin, f"{twin} is active and alone has the virtual address")
    held.lives_on()
    assert licence.seats_while_granted_once_more() == 2
    assert licence.seats() == 1


def stays_passive(twin: str, licence: Licence) -> None:
    """The returned twin follows what the active one does, and leaves the term to it."""
    until(lambda: roles()[twin] == "passive", f"{twin} is back as the passive one")
    epoch = active_status()["epoch"]
    assert licence.seats_while_granted_once_more() == 2
    commit = active_status()["commit"]

    def follows() -> bool:
        status = statuses()[twin]
        return bool(status) and status["commit"] >= commit

    until(follows, f"{twin} knows the whole journal")
    assert roles() == {twin: "passive", other(twin): "active"}
    assert vip_holders() == [other(twin)]
    assert active_status()["epoch"] == epoch


def health(twin: str) -> str:
    """Health of the system, as this twin knows it; empty: it does not answer."""
    status = statuses()[twin]
    return str(status["health"]["state"]) if status else ""


def is_down(twin: str) -> bool:
    return health(twin) == "down"


def reasons(twin: str, about: str) -> list[str]:
    """What this twin tells of that machine."""
    status = statuses()[twin]
    return (
        [each["what"] for each in status["health"]["reasons"] if each["machine"] == about] if status else []
    )


def test_the_active_server_is_killed(held: Held, licence: Licence) -> None:
    first = active_now()
    lab("shell", first, "sh", "-c", "kill -9 $(systemctl show --property=MainPID --value tmr-server)")
    taken_over_by(other(first), held, licence)
    stays_passive(first, licence)


def test_the_active_twin_loses_power(held: Held, licence: Licence) -> None:
    first = active_now()
    lab("power-off", first)
    taken_over_by(other(first), held, licence)
    until(lambda: reasons(other(first), first), f"{other(first)} misses {first}")
    until(lambda: health(other(first)) == "degraded", f"{other(first)} says that redundancy is lost")
    until(lambda: tmr("status")[0] == 1, "tmr status says so")
    lab("power-on", first)
    stays_passive(first, licence)
    until(lambda: not reasons(other(first), first), f"{first} could take over again")


def test_the_active_twin_loses_its_front_cable(held: Held, licence: Licence) -> None:
    first = active_now()
    lab("cut", first, "front")
    taken_over_by(other(first), held, licence)
    lab("heal", first, "front")
    stays_passive(first, licence)


def test_the_front_of_the_active_twin_is_filtered(held: Held, licence: Licence) -> None:
    first = active_now()
    port = ("ns-exec", "fabric", "bridge", "link", "set", "dev", f"{first}.front", "state")
    lab(*port, "0")  # disabled: nothing passes, and the carrier stays
    taken_over_by(other(first), held, licence)
    lab(*port, "3")  # forwarding
    stays_passive(first, licence)


def test_the_vip_manager_of_the_active_twin_stands_still(held: Held, licence: Licence) -> None:
    first = active_now()
    lab("shell", first, "systemctl", "kill", "--signal=STOP", "tmr-vip")
    taken_over_by(other(first), held, licence)
    lab("shell", first, "systemctl", "kill", "--signal=CONT", "tmr-vip")
    stays_passive(first, licence)


def test_the_socket_of_the_vip_manager_is_lost(held: Held, licence: Licence) -> None:
    """With its directory, while nobody commands: systemd makes both anew."""
    first = active_now()
    second = other(first)
    kill = "kill -9 $(systemctl show --property=MainPID --value tmr-server)"
    lab("shell", second, "sh", "-c", f"rm -rf /run/tmr-vip; {kill}")

    def able() -> bool:
        status = statuses()[second]
        return status is not None and not any("virtual address" in alarm for alarm in status["alarms"])

    until(able, f"{second} could hold the virtual address again")
    lab("shell", first, "sh", "-c", kill)
    taken_over_by(second, held, licence)
    stays_passive(first, licence)


def test_a_planned_switchover(held: Held, licence: Licence) -> None:
    first = active_now()
    playbook("playbooks/operate/switchover.yml")
    taken_over_by(other(first), held, licence)
    stays_passive(first, licence)


def test_upstreams_are_lost_one_by_one_and_come_back(held: Held, licence: Licence) -> None:
    """The first one right after a deployment, which ends with `answer.yml`: it keeps what was written."""
    written = machine_named("up3").run("cat /etc/tmr/upstream.toml")
    lab("shell", "up3", "sh", "-c", "cp /etc/tmr/upstream.toml /etc/tmr/new; mv /etc/tmr/new /etc/tmr/kept")
    playbook("playbooks/deploy/answer.yml")
    lab("power-off", "up3")
    until(lambda: not upstream_status("up3")["reachable"], "the active twin misses up3")
    assert licence.seats_while_granted_once_more() == 2
    held.lives_on()

    lab("power-off", "up2")
    until(lambda: vip_holders() == [], "without a majority nobody keeps the virtual address")
    for twin in names("twins"):
        until(partial(is_down, twin), f"{twin} says that the system is down")
    until(lambda: tmr("status")[0] == 3, "tmr status says so")
    refused, _, reason = tmr("run", licence.wanted, "--patience", "8", "--", "touch", "/run/ran-without")
    assert refused == 3, reason
    assert not machine_named("client").host.file("/run/ran-without").exists
    _, _, errors = tmr("list", "--json", "--patience", "8")
    problem = json.loads(errors)["problem"]
    assert problem["type"] == "urn:tmr:problem:no-quorum"
    (ours,) = [each for each in problem["unavailable"] if each["product_code"] == licence.product]
    states = {each["upstream"]: each["state"] for each in ours["constituents"]}
    assert states == {"up1": "available", "up2": "unreachable", "up3": "unreachable"}
    for name in ("up2", "up3"):
        assert name in reason, "a person is told, too"
    assert held.program_runs(), held.told()

    lab("power-on", "up2")
    active_now()
    held.lives_on()
    assert licence.seats() == 1
    assert licence.seats_while_granted_once_more() == 2

    lab("power-on", "up3")
    until(caught_up, "up3 votes, and has the whole journal")
    assert lab("shell", "up3", "cat", "/etc/tmr/kept").strip() == written.strip()
    lab("shell", "up3", "rm", "/etc/tmr/kept")
    until(whole, "all is as before")
    held.lives_on()
    assert licence.seats() == 1


def test_an_upstream_refuses_a_client(
    licence: Licence, upstreams: list[Machine], client: Machine, tmp_path: Path
) -> None:
    """Neither can a client reach it, nor would its certificate help."""
    for name in ("client.crt", "client.key", "ca.crt"):
        (tmp_path / name).write_text(client.run("cat %s", f"/etc/tmr/pki/{name}"))
    request = {"firm_code": FIRM, "product_code": licence.product, "tmr_id": 1, "station": "cad-07"}
    for upstream in upstreams:
        address = upstream["tmr_back_address"]
        assert not client.reaches(address, UPSTREAM_PORT)

        ask = ["curl", "--silent", "--max-time", "10", "--cacert", "ca.crt", "--cert", "client.crt"]
        ask += ["--key", "client.key", "--json", json.dumps(request)]
        # From the network of a twin, where the firewall lets it through.
        enter = [sys.executable, "-m", "lab", "--name", LAB, "ns-exec", "tmr1", "--"]
        there = ["env", "--chdir", str(tmp_path), *ask, f"https://{address}:{UPSTREAM_PORT}/v1/sessions"]
        done = subprocess.run([*enter, *there], cwd=ROOT, capture_output=True, text=True, check=True)
        problem = json.loads(done.stdout)
        assert problem["status"] == 403
        assert problem["type"] == "urn:tmr:problem:tmr-id-outside-tmr"
        assert problem["detail"]


EXCHANGED = """
upstreams:
  hosts:
    up1: {tmr_back_address: 10.30.0.12}
    up2: {tmr_back_address: 10.30.0.11}
twins:
  hosts:
    tmr1: {ansible_host: tmr2, tmr_back_address: 10.30.0.22, tmr_front_addresses: [10.20.0.22, "fd00:20::22"]}
    tmr2: {ansible_host: tmr1, tmr_back_address: 10.30.0.21, tmr_front_addresses: [10.20.0.21, "fd00:20::21"]}
"""


def test_machines_that_are_exchanged_in_the_inventory_stay_as_they_are(held: Held, tmp_path: Path) -> None:
    """Addresses of two upstreams, names of the twins: a deployment would stop both majorities."""
    epoch = active_status()["epoch"]
    inventory = tmp_path / "exchanged.yml"
    inventory.write_text(EXCHANGED)
    with pytest.raises(AssertionError) as failed:
        playbook("-i", str(inventory), "site.yml")
    said = " ".join(str(failed.value).split())
    assert "up1: the machine does not have the address 10.30.0.12 of the inventory, but that of up2" in said
    assert "tmr1: the machine that is reached by this name was deployed as tmr2" in said
    assert "Nothing was changed" in said
    assert active_status()["epoch"] == epoch
    held.lives_on()


def test_the_seat_is_given_back(held: Held, licence: Licence) -> None:
    held.lives_on()
    held.stop()
    assert licence.seats() == 0
