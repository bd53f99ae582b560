# SPDX-License-Identifier: Apache-2.0
"""New stores on all three upstreams: nobody serves before an operator said so by the playbook."""

from __future__ import annotations

import time

import pytest
from licences import FIRM, UNIT, Licence, Products
from machines import SSH_CONFIG, machine_named, names, playbook
from test_recovery import STATE, fails, own_status, up

from system import active, lab, statuses, tmr, until, vendor, vip_holders, whole

pytestmark = pytest.mark.timeout(600)
FOUND_ANEW = "playbooks/operate/found_anew.yml"


def objects(twin: str) -> bool:
    """The twin says that the stores are new, and what can be done."""
    status = statuses()[twin]
    return status is not None and any("founding-" in alarm for alarm in status["alarms"])


def reissue() -> None:
    """The vendor issues all licences to the three new containers."""
    home = SSH_CONFIG.parent
    playbook("playbooks/licences/request.yml", "-e", f"firm_code={FIRM} directory={home / 'requests'}")
    update = home / f"founded-{time.time_ns()}.json"
    files = [f"--request={home / 'requests' / f'{name}-{FIRM}.request.json'}" for name in names("upstreams")]
    vendor("reissue", f"--dir={home / 'firm'}", *files, "--former-lost", f"--out={update}")
    playbook("playbooks/licences/activate.yml", "-e", f"update_file={update}")


def test_a_system_is_founded_anew_by_its_playbook_alone(products: Products, licence: Licence) -> None:
    machine_named("client").host.run(f"systemctl stop {UNIT}")
    assert "the system has a journal" in fails(lambda: playbook(FOUND_ANEW, "-e", "give_up=lab"))
    former = own_status("up1")["founding"]
    for name in names("upstreams"):  # all before one starts: one at a time would be readmitted
        up(name, f"systemctl stop tmr-upstream && mv {STATE} /root/lost-stores")
    for name in names("upstreams"):
        up(name, "systemctl start tmr-upstream")
    until(lambda: all(map(objects, names("twins"))), "both twins say what has happened")
    lab("shell", "tmr1", "systemctl", "restart", "tmr-server", "tmr-vip")
    until(lambda: objects("tmr1"), "a twin that was started again says so, too")
    assert active() is None
    assert vip_holders() == []
    assert not any(own_status(name)["voting"] for name in names("upstreams"))

    assert "-e give_up=lab" in fails(lambda: playbook(FOUND_ANEW))
    said = playbook(FOUND_ANEW, "-e", "give_up=lab")
    assert "request.yml" in said, "it says what remains"
    until(whole, "the system serves again, with its address")
    until(lambda: own_status("up1")["founding"] not in ("", former), "it is of another founding")
    assert not any(map(objects, names("twins")))
    reissue()
    wanted = f"--firm {FIRM} --product {licence.product}"
    until(lambda: tmr("run", wanted, "--patience", "4", "--", "true")[0] == 0, "a licence is granted")
