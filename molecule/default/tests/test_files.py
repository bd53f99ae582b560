# SPDX-License-Identifier: Apache-2.0
"""Permissions to read and to write files."""

from __future__ import annotations

from machines import Machine

KEYS = {
    "upstreams": ("/etc/tmr/pki/upstream.key", "tmr-upstream", "tmr-upstream"),
    "twins": ("/etc/tmr/pki/server.key", "tmr-server", "tmr-vip"),
    "clients": ("/etc/tmr/pki/client.key", "root", "tmr"),
}
CONFIGURATIONS = {
    "upstreams": ["upstream.toml"],
    "twins": ["server.toml", "vip.toml"],
    "clients": ["client.toml"],
}


def test_the_key_is_for_its_daemon_alone(machine: Machine) -> None:
    path, owner, group = KEYS[machine.group]
    key = machine.host.file(path)
    assert (key.user, key.group, key.mode) == (owner, group, 0o640)


def test_no_private_key_lies_about(machine: Machine) -> None:
    places = "/etc/tmr /opt/tmr/current/share /var/lib /run /tmp /var/tmp /root /home"
    found = machine.host.run(f"grep -rlsI --exclude-dir=.ssh 'PRIVATE KEY-----' {places}").stdout.split()
    own = {"/var/lib/tmr-upstream/container.key"} if machine.group == "upstreams" else set()
    assert set(found) == {KEYS[machine.group][0]} | own


def test_only_root_writes_configuration_and_release(machine: Machine) -> None:
    assert machine.run("find /etc/tmr /opt/tmr -not -type l -perm /022") == ""
    assert machine.run("find /opt/tmr -not -user root") == ""
    assert machine.run("find /etc/tmr -not -user root -not -name '*.key'") == ""


def test_the_configuration_holds_no_secret(machine: Machine) -> None:
    for name in CONFIGURATIONS[machine.group]:
        file = machine.host.file(f"/etc/tmr/{name}")
        assert file.mode == 0o644
        assert "PRIVATE" not in file.content_string


def test_the_state_of_an_upstream_is_its_own(upstream: Machine) -> None:
    state = upstream.host.file("/var/lib/tmr-upstream")
    assert (state.user, state.group, state.mode) == ("tmr-upstream", "tmr-upstream", 0o700)
    assert upstream.run("find /var/lib/tmr-upstream -type f -perm /077") == ""


def test_sockets_are_for_those_who_command(server: Machine) -> None:
    wanted = {
        "upstreams": ("/run/tmr-upstream/admin.sock", "tmr-upstream", "tmr-upstream"),
        "twins": ("/run/tmr-vip/vip.sock", "tmr-vip", "tmr-vip"),
    }
    path, owner, group = wanted[server.group]
    socket = server.host.file(path)
    assert socket.is_socket
    assert (socket.user, socket.group, socket.mode) == (owner, group, 0o660)


def test_the_release_is_one_link_away(machine: Machine) -> None:
    current = machine.run("readlink /opt/tmr/current")
    assert current.startswith("/opt/tmr/releases/")
    assert machine.host.file(f"{current}/complete").exists
    assert machine.run("tmr --version").split()[-1] in current


def test_nothing_of_the_installation_is_left(machine: Machine) -> None:
    assert machine.run("find /var/tmp /tmp -name '*tmr-*.pyz' -o -name 'tmr-*' -name '*.whl'") == ""
