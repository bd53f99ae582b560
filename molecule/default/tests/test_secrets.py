# SPDX-License-Identifier: Apache-2.0
"""No private key in a log, in a list of processes, or in a file that others can read; nothing runs with more
rights than it needs."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from machines import Machine

OURS = "/etc/tmr $(ls -d /var/lib/tmr* /run/tmr* 2>/dev/null)"
PLACES = f"/opt/tmr {OURS}"
EXPOSURE_MAX = 2.0


def key_lines(machine: Machine) -> list[str]:
    """The line that holds the secret, the first of the PEM, of every private key of the system here.

    What follows in a key of this kind is the public key, which may be anywhere.
    """
    found = machine.run(
        f"for key in $(grep -rlsI 'PRIVATE KEY-----' {OURS}); do sed -n 2p $key; done"
    ).split()
    assert found, "every machine has a key"
    return found


def test_no_private_key_is_in_a_log(machine: Machine) -> None:
    wanted = ["PRIVATE KEY", *key_lines(machine)]
    patterns = " ".join(f"-e '{text}'" for text in wanted)
    logs = machine.host.run(
        f"{{ journalctl --all --quiet --no-pager --output=cat; cat /var/log/*.log; }} 2>/dev/null "
        f"| grep --count --fixed-strings {patterns}"
    )
    assert logs.stdout.strip() == "0"
    assert int(machine.run("journalctl --quiet --no-pager | wc -l")) > 0, "there is a log to look at"


def test_no_private_key_is_in_a_process_list(machine: Machine) -> None:
    patterns = " ".join(f"-e '{text}'" for text in ["PRIVATE KEY-----", *key_lines(machine)])
    # The shell that looks has the patterns in its own arguments: it reads them from a file instead.
    machine.run(f"umask 077; printf '%s\\n' {patterns.replace('-e ', '')} > /root/.patterns")
    try:
        seen = machine.run(
            "for process in /proc/[0-9]*; do tr '\\0' '\\n' < $process/cmdline; tr '\\0' '\\n' "
            "< $process/environ; done 2>/dev/null > /root/.seen; "
            "wc -l < /root/.seen; grep --count --fixed-strings --file=/root/.patterns /root/.seen || true"
        ).split()
    finally:
        machine.run("rm -f /root/.patterns /root/.seen")
    assert int(seen[0]) > 20, "there are processes to look at"
    assert seen[1] == "0"


def test_nobody_else_reads_a_key_or_writes_anything(machine: Machine) -> None:
    assert machine.run(f"find {PLACES} -not -type l -not -type s -perm /022") == ""
    assert machine.run(f"find {PLACES} -type s -perm /002") == ""
    assert machine.run(f"grep -rlsI 'PRIVATE KEY-----' {OURS} | xargs -r stat -c '%a' | sort -u") in {
        "640",
        "600\n640",
    }
    assert machine.run(f"find {PLACES} -type f -perm /6000") == ""
    assert machine.run(f"find {PLACES} -type f -exec getcap {{}} +") == ""


def test_keys_on_the_controller_are_its_owners_alone(pki: Path) -> None:
    assert stat.S_IMODE(pki.stat().st_mode) == 0o700
    files = [path for path in pki.rglob("*") if path.is_file()]
    assert {"ca.key", "operator.key"} <= {path.name for path in files}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files if path.suffix == ".key"} == {0o600}


def test_every_unit_is_well_fenced_in(machine: Machine) -> None:
    """All that the roles install, by the measure of systemd itself: 0 is safest, 10 unsafe."""
    units = machine.run("ls /etc/systemd/system | grep '^tmr-.*service$' || true").split()
    assert set(units) >= {f"{unit}.service" for unit in machine.units}
    assert ("tmr-firewall.service" in units) == (machine.group != "clients")
    exposure = {}
    for unit in units:
        told = machine.run("systemd-analyze security --no-pager %s", unit)
        found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
        assert found, told
        exposure[unit] = float(found[1])
    assert {unit: value for unit, value in exposure.items() if value > EXPOSURE_MAX} == {}


def test_a_stolen_disk_is_refused_on_another_machine(upstreams: list[Machine]) -> None:
    """The whole state directory of one upstream, key and all, brought to another."""
    owner, thief = upstreams[:2]
    stolen = owner.run("tar -C /var/lib -cz tmr-upstream | base64 --wrap=0")
    thief.run("mkdir -m 700 /root/stolen")
    try:
        for start in range(0, len(stolen), 100_000):
            thief.run(f"printf %s {stolen[start : start + 100_000]} >> /root/stolen/archive")
        thief.run("base64 -d /root/stolen/archive | tar -C /root/stolen -xz")
        thief.run(
            "sed 's,^state_dir.*,state_dir = \"/root/stolen/tmr-upstream\",' /etc/tmr/upstream.toml "
            "> /root/stolen/upstream.toml"
        )
        done = thief.host.run(
            "timeout 20 /opt/tmr/current/bin/tmr-upstream --config /root/stolen/upstream.toml"
        )
        assert done.rc not in (0, 124)
        assert "the store belongs to another machine" in done.stdout + done.stderr
    finally:
        thief.run("rm -rf /root/stolen")
