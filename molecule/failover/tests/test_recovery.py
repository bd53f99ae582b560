# SPDX-License-Identifier: Apache-2.0
"""An upstream is damaged, put back to an old copy, replaced by a new machine; a client works all the time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from licences import FIRM, Products
from machines import SSH_CONFIG, Machine, machine_named, names, playbook

from system import active_status, caught_up, fails, lab, tmr, tmr_operator, until, upstream_status, vendor

pytestmark = pytest.mark.timeout(900)
LOAD = "load"
STATE = "/var/lib/tmr-upstream"
TRY = """
while :; do
  began=$(date +%s.%N)
  if tmr run {wanted} --patience 20 -- true; then echo "ok $began"; else echo "error $?"; fi
done
"""


class Load:
    """A client that takes a seat and gives it back, again and again; each try is a line of its log."""

    def __init__(self, client: Machine, product: int) -> None:
        self._client = client
        self._wanted = f"--firm {FIRM} --product {product}"

    def start(self) -> None:
        script = TRY.format(wanted=self._wanted)
        self._client.host.run(f"systemctl stop {LOAD}; systemctl reset-failed {LOAD}")
        self._client.run(
            f"systemd-run --quiet --unit={LOAD} /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin bash -c %s",
            script,
        )
        self.goes_on()

    def tries(self) -> list[str]:
        this = f"_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value {LOAD})"
        return self._client.run(f"journalctl {this} --output=cat --no-pager").splitlines()

    def goes_on(self) -> None:
        """One more seat is granted, and not a single try has failed so far."""
        before = len(self.tries())
        until(lambda: len(self.tries()) > before + 1, "one more seat is granted")
        assert [line for line in self.tries() if not line.startswith("ok ")] == []

    def stop(self) -> None:
        self._client.host.run(f"systemctl stop {LOAD}")


@pytest.fixture(scope="module")
def load(products: Products) -> Iterator[Load]:
    one = Load(machine_named("client"), products.story)
    one.start()
    yield one
    one.goes_on()
    one.stop()


def up(name: str, script: str) -> str:
    """Run a shell script on an upstream, as root."""
    return lab("shell", name, "sh", "-c", script)


def last_start(name: str) -> str:
    """What the upstream has logged since its last start."""
    this = "_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value tmr-upstream)"
    return up(name, f"journalctl {this} --output=cat --no-pager")


def own_status(name: str) -> Any:
    """What the upstream says of itself, on the machine."""
    return json.loads(up(name, "/opt/tmr/current/bin/tmr-upstream status --json"))


def seen_votes(product: int) -> list[int]:
    return [each["votes"] for each in active_status()["licences"] if each["product_code"] == product]


def alarms(about: str) -> list[str]:
    return [text for text in active_status()["alarms"] if about in text]


def reissue(upstream: str) -> None:
    """The vendor issues all licences to the three containers; the new one of this upstream is trusted."""
    home = SSH_CONFIG.parent
    playbook("playbooks/licences/request.yml", "-e", f"firm_code={FIRM} directory={home / 'requests'}")
    update = home / f"reissued-{time.time_ns()}.json"
    files = [f"--request={home / 'requests' / f'{name}-{FIRM}.request.json'}" for name in names("upstreams")]
    vendor("reissue", f"--dir={home / 'firm'}", *files, f"--out={update}")
    playbook("playbooks/operate/replace_upstream.yml", "-e", f"upstream={upstream} update_file={update}")


def test_an_old_copy_is_put_back(load: Load) -> None:
    """It goes on with two; the old copy counts again when it has what it had confirmed, and all say so."""
    up("up2", f"systemctl stop tmr-upstream && cp -a {STATE} /root/copy && systemctl start tmr-upstream")
    until(caught_up, "up2 is back")
    load.goes_on()
    before = own_status("up2")
    load.goes_on()
    up(
        "up2",
        f"systemctl stop tmr-upstream && rm -r {STATE} && mv /root/copy {STATE} && "
        "systemctl start tmr-upstream",
    )
    until(lambda: own_status("up2")["alarms"], "up2 has been told that it went back")
    until(caught_up, "up2 has everything again")
    status = own_status("up2")
    assert status["replica_id"] == before["replica_id"]
    assert status["last_index"] >= before["last_index"]
    assert "old copy" in status["alarms"][0]
    assert alarms("up2 had less than it had confirmed")
    load.goes_on()
    up("up2", "systemctl restart tmr-upstream")
    until(lambda: not own_status("up2")["alarms"], "its own alarm ends with the next start")


def test_a_machine_is_lost_and_replaced(load: Load, products: Products, tmp_path: Path) -> None:
    """A broken page, found at the start; then a new machine in its place, a new container, three votes."""
    up("up3", "systemctl stop tmr-upstream")
    up("up3", f"dd if=/dev/urandom of={STATE}/upstream.db bs=4096 seek=1 count=6 conv=notrunc status=none")
    up("up3", "systemctl start tmr-upstream || true")

    def given_up() -> bool:
        shown = up("up3", "systemctl show --property=ActiveState,ExecMainStatus,NRestarts tmr-upstream")
        return {"ActiveState=failed", "ExecMainStatus=3", "NRestarts=0"} <= set(shown.split())

    until(given_up, "up3 does not start with this store, and is not started again and again")
    told = last_start("up3")
    assert "the store is damaged" in told
    assert f"move the whole directory {STATE} away" in told
    load.goes_on()
    until(lambda: not upstream_status("up3")["reachable"], "the active twin misses up3")
    assert "Repair that one first" in fails(
        lambda: playbook("playbooks/operate/replace_upstream.yml", "-e", "upstream=up2")
    ), "a second one must not be touched"

    # Another machine of the same name: nothing of the old one is on it.
    up(
        "up3",
        f"systemctl disable --now tmr-firewall tmr-upstream; rm -rf {STATE} /opt/tmr /etc/tmr "
        "/etc/systemd/system/tmr-*; userdel tmr-upstream; systemctl daemon-reload; systemctl reset-failed",
    )
    said = playbook("playbooks/operate/replace_upstream.yml", "-e", "upstream=up3")
    assert "playbooks/licences/request.yml" in said, "it says what remains"
    until(caught_up, "up3 votes, and has everything")
    assert "voting=False" in last_start("up3"), (
        "it did not vote before the active twin had sent it everything"
    )
    load.goes_on()
    (alarm,) = alarms("tmr trust up3")
    shown = own_status("up3")["fingerprint"]
    assert shown in alarm
    wrong = "0" * 64
    code, _, errors = tmr_operator("trust", "up3", wrong)
    assert code == 1
    assert shown in errors

    assert seen_votes(products.story) == [2], "the constituents of the lost container are lost"
    reissue("up3")
    until(lambda: seen_votes(products.story) == [3], "its constituents count")
    assert not alarms("up3 has another container")
    load.goes_on()
    code, output, errors = tmr_operator("trust", "up3", shown, "--json")
    assert code == 0, errors
    assert json.loads(output)["changed"] is False


def test_a_store_is_lost_and_then_a_machine(load: Load, products: Products) -> None:
    """Two of three upstreams vote; one of their containers has the licence: nothing is granted."""
    load.goes_on()
    load.stop()
    up("up2", f"systemctl stop tmr-upstream && mv {STATE} /root/lost && systemctl start tmr-upstream")
    until(caught_up, "up2 votes, and has everything")
    until(lambda: seen_votes(products.story) == [2], "its former container does not count any more")
    _, shown, _ = tmr_operator("status")
    assert "2 of 3" in shown
    assert alarms("tmr trust up2")

    lab("power-off", "up1")
    until(lambda: not upstream_status("up1")["reachable"], "the active twin misses up1")
    wanted = f"--firm {FIRM} --product {products.story}"
    refused, _, reason = tmr("run", wanted, "--patience", "4", "--", "touch", "/run/ran-with-one")
    assert refused == 1, reason
    assert "Too few constituents" in reason
    assert not machine_named("client").host.file("/run/ran-with-one").exists
    assert seen_votes(products.story) == [1]

    lab("power-on", "up1")
    until(lambda: seen_votes(products.story) == [2], "up1 is back, and two are enough")
    until(caught_up, "up1 votes, and has everything")
    load.start()
    reissue("up2")
    until(lambda: seen_votes(products.story) == [3], "three constituents again")
    load.goes_on()
