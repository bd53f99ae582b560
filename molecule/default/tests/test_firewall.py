# SPDX-License-Identifier: Apache-2.0
"""The firewall, from the outside in."""

from __future__ import annotations

import pytest
from machines import Machine, from_fabric

UPSTREAM, TWIN, SSH = 22351, 22350, 22
RULES = "/etc/nftables-tmr.nft"


def stranger_reaches(address: str, port: int) -> bool:
    """From a machine on the same LAN that is not one of ours."""
    place = f"exec 3<>/dev/tcp/{address}/{port}"
    return from_fabric("timeout", "2", "bash", "-c", place).returncode == 0


def test_twins_reach_the_upstreams(twin: Machine, upstreams: list[Machine]) -> None:
    assert [up.name for up in upstreams if not twin.reaches(up["tmr_back_address"], UPSTREAM)] == []


def test_clients_do_not_reach_an_upstream(client: Machine, upstream: Machine) -> None:
    assert not client.reaches(upstream["tmr_back_address"], UPSTREAM)
    assert client.host.run("ping -c 1 -W 1 %s", upstream["tmr_back_address"]).rc != 0


def test_a_stranger_in_the_back_network_does_not_either(upstream: Machine) -> None:
    assert not stranger_reaches(upstream["tmr_back_address"], UPSTREAM)
    assert stranger_reaches(upstream["tmr_back_address"], SSH), "ssh of the controller must get in"


def test_upstreams_do_not_talk_to_one_another(upstream: Machine, upstreams: list[Machine]) -> None:
    for other in upstreams:
        if other.name != upstream.name:
            assert not upstream.reaches(other["tmr_back_address"], UPSTREAM)


def test_clients_reach_the_twins_for_licences_only(client: Machine, twin: Machine) -> None:
    address = twin["tmr_front_addresses"][0]
    assert client.reaches(address, TWIN)
    assert not client.reaches(address, SSH)
    assert client.host.run("ping -c 1 -W 1 %s", address).rc == 0


def test_clients_reach_the_twins_by_ipv6_too(client: Machine, twin: Machine) -> None:
    address = twin["tmr_front_addresses"][1]
    assert client.reaches(address, TWIN)
    assert not client.reaches(address, SSH)


def test_tables_of_others_survive_a_reload(upstream: Machine) -> None:
    upstream.run("nft add table inet others")
    try:
        upstream.run("systemctl reload tmr-firewall")
        assert "table inet others" in upstream.run("nft list tables")
        assert "policy drop" in upstream.run("nft list table inet tmr")
    finally:
        upstream.run("nft delete table inet others")


def in_force(server: Machine) -> bool:
    """The rules are in the kernel."""
    shown = server.host.run("nft list table inet tmr")
    return shown.rc == 0 and "policy drop" in shown.stdout


def test_nothing_done_with_the_service_of_all_rules_opens_us(upstream: Machine) -> None:
    try:
        for doing in ("start", "stop", "start", "restart", "reload", "stop"):
            upstream.run("systemctl %s nftables", doing)
            assert in_force(upstream), doing
            assert upstream.host.service("tmr-upstream").is_running, doing
        assert not stranger_reaches(upstream["tmr_back_address"], UPSTREAM)
    finally:
        upstream.run("systemctl stop nftables")


def test_rules_come_back_after_another_program(server: Machine) -> None:
    """`tests/netns` has the other ways to change them."""
    listed = "nft --stateless list table inet tmr"
    before = server.run(listed)
    server.run("nft flush ruleset")
    server.run("timeout 60 sh -c %s %s", f'until [ "$({listed} 2>&1)" = "$0" ]; do sleep 0.1; done', before)
    assert [server.host.service(unit).is_running for unit in server.units] == [True] * len(server.units)


def test_the_rules_stay_when_our_unit_is_stopped(server: Machine) -> None:
    pids = [server.run("systemctl show --property=MainPID %s", unit) for unit in server.units]
    server.run("systemctl stop tmr-firewall")
    assert in_force(server)
    server.run("systemctl start tmr-firewall")
    assert pids == [server.run("systemctl show --property=MainPID %s", unit) for unit in server.units]


def test_rules_that_shut_everybody_out_end_by_themselves(server: Machine) -> None:
    """As `site.yml` tries them; nobody confirms these."""
    step = "bash /usr/local/lib/tmr-firewall-try.sh"
    listed = "nft --stateless list table inet tmr"
    before = server.run(listed)
    server.run("sed '/dport 22 accept/d' %s >%s.new", RULES, RULES)
    server.run(f"{step} try 5")
    wait = f'until [ "$({listed} 2>&1)" = "$0" ]; do sleep 0.2; done'
    server.run("timeout 60 sh -c %s %s", wait, before)
    assert stranger_reaches(server["tmr_back_address"], SSH)
    assert server.host.run(f"{step} confirm").rc == 1
    assert server.host.service("tmr-firewall-watch").is_running


@pytest.mark.parametrize(
    ("rules", "told"),
    [("table inet tmr {", f"{RULES}:1:"), ("", "No such file or directory")],
    ids=["broken", "empty"],
)
def test_no_daemon_listens_without_its_rules(server: Machine, rules: str, told: str) -> None:
    unit, port = ("tmr-upstream", UPSTREAM) if server.group == "upstreams" else ("tmr-server", TWIN)
    server.run("cp --preserve %s %s.good", RULES, RULES)
    try:
        server.run("printf %%s %s >%s", rules, RULES)
        # As after a boot: nothing is in the kernel.
        server.run("systemctl stop %s tmr-firewall && nft flush ruleset", unit)
        assert server.host.run("systemctl start tmr-firewall").rc != 0
        assert server.host.run("systemctl start %s", unit).rc != 0
        assert server.run("ss -Hltn sport = :%s", str(port)) == ""
        assert told in server.run("journalctl --quiet --output=cat --lines=30 --unit %s", unit)
    finally:
        server.run("mv %s.good %s", RULES, RULES)
    # Both try again and again: once the file is good, nobody has to start them.
    for one in (unit, "tmr-firewall"):
        server.run("timeout 60 sh -c %s", f"until systemctl --quiet is-active {one}; do sleep 0.2; done")
    assert in_force(server)
