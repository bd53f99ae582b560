# SPDX-License-Identifier: Apache-2.0
"""vip.toml: what is accepted, and that every error names the key and the remedy."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from tmr.vip.config import Config, ConfigError, Target, WatchConfig, load, parse

GOOD = """
addresses = ["10.20.0.100/32", "fd00:20::100/128"]
interface = "eth0"
socket = "/run/tmr-vip/vip.sock"
peer_user = "tmr-server"
[release]
targets = ["10.30.0.11:22351", "[fd00:30::12]:22351"]
path = "/v1/lease/release"
certificate = "/etc/tmr/pki/server.crt"
key = "/etc/tmr/pki/server.key"
ca = "/etc/tmr/pki/ca.crt"
[watch]
source = "10.20.0.21"
targets = ["10.20.0.1", "10.20.0.22"]
"""


def test_good() -> None:
    config = parse(GOOD)
    assert config.addresses == (IPv4Address("10.20.0.100"), IPv6Address("fd00:20::100"))
    assert config.release.targets == (Target("10.30.0.11", 22351), Target("fd00:30::12", 22351))
    assert [str(target) for target in config.release.targets] == ["10.30.0.11:22351", "[fd00:30::12]:22351"]
    assert isinstance(config, Config)
    assert config.watch == WatchConfig(
        IPv4Address("10.20.0.21"), (IPv4Address("10.20.0.1"), IPv4Address("10.20.0.22"))
    )
    assert parse(GOOD.partition("[watch]")[0]).watch is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("10.20.0.100/32", "10.20.0.100/24", "write 10.20.0.100/32"),
        ("10.20.0.100/32", "10.20.0.999", "'10.20.0.999' is no IP address"),
        ("10.20.0.100/32", "127.0.0.1", "cannot be reached"),
        ("10.20.0.100/32", "224.0.0.1", "cannot be reached"),
        ("10.20.0.100/32", "fd00:20:0::100", "stands there twice"),
        ('"10.20.0.100/32", "fd00:20::100/128"', "", "addresses: none given"),
        ('interface = "eth0"', 'interface = "an interface name too long"', "interface:"),
        ('interface = "eth0"', "interface = 7", "`$.interface`"),
        ('interface = "eth0"\n', "", "`interface`"),
        ('interface = "eth0"', 'interface = "eth0"\nfailback = true', "`failback`"),
        ('"/run/tmr-vip/vip.sock"', '"vip.sock"', "socket: 'vip.sock' is relative"),
        ('"/run/tmr-vip/vip.sock"', f'"/{"x" * 120}"', "socket: longer than 107 bytes"),
        ("10.30.0.11:22351", "up1:22351", "not ADDRESS:PORT"),
        ("10.30.0.11:22351", "10.30.0.11", "not ADDRESS:PORT"),
        ("10.30.0.11:22351", "10.30.0.11:0", "not ADDRESS:PORT"),
        ("10.30.0.11:22351", "10.30.0.11:70000", "not ADDRESS:PORT"),
        ("10.30.0.11:22351", "fd00:30::12:22351", "not ADDRESS:PORT"),
        ("10.30.0.11:22351", "[fd00:30::12]:22351", "release.targets: one stands there twice"),
        ('"10.30.0.11:22351", "[fd00:30::12]:22351"', "", "release.targets: none given"),
        ("/v1/lease/release", "v1/lease", "release.path:"),
        ("/v1/lease/release", "/v1/lease release", "release.path:"),
        ("/etc/tmr/pki/server.key", "server.key", "release.key: 'server.key' is relative"),
        ("[release]", "[will", "not TOML"),
        ('"10.20.0.1", "10.20.0.22"', "", "watch.targets: none given"),
        ('"10.20.0.1", "10.20.0.22"', '"10.20.0.1", "10.20.0.1"', "watch.targets: one stands there twice"),
        ('"10.20.0.1"', '"gateway"', "watch.targets: 'gateway' is no IPv4 address"),
        ('"10.20.0.1"', '"10.20.0.21"', "watch.targets: 10.20.0.21 is this machine's own, or virtual"),
        ('"10.20.0.1"', '"10.20.0.100"', "watch.targets: 10.20.0.100 is this machine's own, or virtual"),
        ('"10.20.0.21"', '"fd00:20::21"', "watch.source: 'fd00:20::21' is no IPv4 address"),
    ],
)
def test_error_names_the_key(old: str, new: str, says: str, tmp_path: Path) -> None:
    assert old in GOOD
    file = tmp_path / "vip.toml"
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{file}: ")


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "bytes.toml")
