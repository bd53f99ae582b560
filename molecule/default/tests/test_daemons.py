# SPDX-License-Identifier: Apache-2.0
"""The daemons run as they should: as nobody in particular, fenced in, watched."""

from __future__ import annotations

import json

from machines import Machine

NET_ADMIN_AND_RAW = 1 << 12 | 1 << 13
CAPABILITIES = {"tmr-vip": NET_ADMIN_AND_RAW, "tmr-server": 0, "tmr-upstream": 0}
FENCES = {
    "Type": "notify",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "ProtectProc": "invisible",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "Restart": "always",
    "WatchdogUSec": "10s",
}

ASK = "from tmr.runtime.clock_sync import synchronised; print(synchronised())"
"""Prints what the kernel says of the clock to root: None in a container that may not ask."""


def properties(machine: Machine, unit: str, *keys: str) -> dict[str, str]:
    lines = machine.run("systemctl show --property=%s %s", ",".join(keys), unit).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_daemons_run_and_come_back_with_the_machine(server: Machine) -> None:
    for unit in [*server.units, "tmr-firewall", "tmr-firewall-watch"]:
        service = server.host.service(unit)
        assert service.is_running, unit
        assert service.is_enabled, unit


def test_daemons_describe_what_they_run(server: Machine) -> None:
    """`site.yml` restarts one that runs anything else than its disk has."""
    release = server.run("readlink /opt/tmr/current").rpartition("/")[2]
    for unit in server.units:
        described = json.loads(server.run("cat /run/%s/running.json", unit))
        assert described["release"] == release
        assert str(described["pid"]) == properties(server, unit, "MainPID")["MainPID"]
        files = [f"/etc/tmr/{unit.removeprefix('tmr-')}.toml", f"/etc/systemd/system/{unit}.service"]
        assert list(described["files"]) == files
        for file, digest in described["files"].items():
            assert server.run("sha256sum %s", file).split()[0] == digest


def test_nothing_has_failed(machine: Machine) -> None:
    assert machine.run("systemctl list-units --failed --plain --no-legend") == ""


def test_daemons_are_fenced_in(server: Machine) -> None:
    for unit in server.units:
        assert properties(server, unit, *FENCES) == FENCES, unit
        found = properties(server, unit, "SystemCallFilter", "RestrictAddressFamilies")
        assert "ptrace" not in found["SystemCallFilter"].split()
        assert "connect" in found["SystemCallFilter"].split()
        assert ("AF_PACKET" in found["RestrictAddressFamilies"]) == (unit == "tmr-vip")


def test_daemons_have_the_rights_they_need_and_no_others(server: Machine) -> None:
    for unit in server.units:
        pid = properties(server, unit, "MainPID")["MainPID"]
        assert server.run("stat --format=%%U /proc/%s", pid) == unit
        status = server.run("cat /proc/%s/status", pid)
        rights = {line.split()[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}
        for kind in ("CapEff:", "CapPrm:", "CapBnd:"):
            assert int(rights[kind], 16) == CAPABILITIES[unit], (unit, kind)


def test_users_cannot_log_in(server: Machine) -> None:
    for unit in server.units:
        user = server.host.user(unit)
        assert user.exists
        assert user.uid < 1000
        assert user.shell == "/usr/sbin/nologin"
        assert user.password in ("!", "*", "!*")


def test_no_connection_that_goes_out_takes_their_port(server: Machine) -> None:
    """Also where the range of such ports is made wider: the daemon could not start again."""
    port = "22351" if server.group == "upstreams" else "22350"
    assert port in server.run("sysctl --values net.ipv4.ip_local_reserved_ports").strip().split(",")
    server.run("test -e /etc/sysctl.d/60-tmr.conf")


def test_they_listen_where_they_should_and_nothing_else_does(server: Machine) -> None:
    listening = {line.split()[3] for line in server.run("ss -Hltn").splitlines()}
    ports = {place.rsplit(":", 1)[1] for place in listening}
    if server.group == "upstreams":
        assert f"{server['tmr_back_address']}:22351" in listening
        assert ports == {"22", "22351"}
    else:
        assert {"0.0.0.0:22350", "[::]:22350"} <= listening
        assert ports == {"22", "22350"}


def test_a_client_listens_to_nothing(client: Machine) -> None:
    assert {line.split()[3].rsplit(":", 1)[1] for line in client.run("ss -Hltn").splitlines()} == {"22"}


def test_arp_answers_for_the_own_interface_only(twin: Machine) -> None:
    for key, value in (("arp_ignore", 1), ("arp_announce", 2)):
        assert twin.host.sysctl(f"net.ipv4.conf.eth0.{key}") == value


def test_an_upstream_starts_after_the_time_is_known_and_says_who_keeps_it(server: Machine) -> None:
    """A machine of the lab has the clock of its host: chrony is configured and does not run."""
    if "tmr-upstream" not in server.units:
        return
    order = properties(server, "tmr-upstream", "After", "Wants")
    assert all("time-sync.target" in units.split() for units in order.values())
    waits = server.run("systemctl cat chrony-wait.service")
    assert "chronyc -h 127.0.0.1,::1 waitsync 30 " in waits and "TimeoutStartSec=45" in waits
    status = json.loads(server.run("/opt/tmr/current/bin/tmr-upstream status --json"))
    asked = server.run("/opt/tmr/current/bin/python -c %s", ASK).strip()
    assert str(status["clock_synchronised"]) == asked, "the unit may ask what root may"
    assert not [alarm for alarm in status["alarms"] if "time source" in alarm], "none is demanded there"
