"""The firewall, from the outside in."""

from __future__ import annotations

from machines import Machine, from_fabric

UPSTREAM, TWIN, SSH = 22351, 22350, 22


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


def test_flushing_all_rules_by_their_service_does_not_open_us(upstream: Machine) -> None:
    upstream.run("systemctl start nftables")
    try:
        upstream.run("systemctl restart nftables")
        upstream.run("systemctl start tmr-firewall")  # changes nothing, but waits for a job under way
        assert "policy drop" in upstream.run("nft list table inet tmr")
        assert not stranger_reaches(upstream["tmr_back_address"], UPSTREAM)
    finally:
        upstream.run("systemctl stop nftables")
        upstream.run("systemctl start tmr-firewall")
