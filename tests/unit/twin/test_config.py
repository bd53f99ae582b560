# SPDX-License-Identifier: Apache-2.0
"""server.toml: mistakes are named, each with its key."""

from pathlib import Path

import pytest

from testbed.pki import make_system
from tmr.runtime.config import ConfigError
from tmr.twin.config import read

TEXT = """
name = "tmr1"
system = "lab"
act_id = "lab-0123456789abcdef"
vip = ["10.20.0.100"]
twins = ["tmr1", "tmr2"]
[tls]
certificate = "{certificate}"
key = "{key}"
ca = "{ca}"
[[upstreams]]
name = "up1"
address = "10.30.0.11"
[[upstreams]]
name = "up2"
address = "10.30.0.12"
[[upstreams]]
name = "up3"
address = "10.30.0.13"
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    files = make_system(tmp_path_factory.mktemp("pki")).twin("tmr1")
    return TEXT.format(certificate=files.certificate, key=files.key, ca=files.ca)


def test_a_good_file_with_its_defaults(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text)
    config = read(path)
    assert (config.rank, config.peer, config.port, config.lease_ttl) == (0, "tmr2", 22350, 2.0)
    assert [upstream.port for upstream in config.upstreams] == [22351] * 3


def test_upstreams_are_asked_from_an_address_of_their_kind(tmp_path: Path, text: str) -> None:
    path = tmp_path / "server.toml"
    path.write_text(text.replace('system = "lab"', 'system = "lab"\nsource = ["10.30.0.21", "fd00::21"]'))
    config = read(path)
    assert config.source_for("10.30.0.11") == "10.30.0.21"
    assert config.source_for("fd00::11") == "fd00::21"
    path.write_text(text)
    assert read(path).source_for("10.30.0.11") is None


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "tmr1"', 'name = "tmr3"', "name = 'tmr3'"),
        ('["tmr1", "tmr2"]', '["tmr1", "tmr1"]', "twins names 'tmr1' twice"),
        ('"10.30.0.13"', '"10.30.0.11"', "two of upstreams have the address 10.30.0.11 port 22351"),
        ('"up3"', '"up1"', "two of upstreams have the name up1"),
        ('vip = ["10.20.0.100"]', "vip = []", "vip is empty"),
        ('system = "lab"', 'system = "lab"\nlease_ttl = 0.1', "lease_ttl = 0.1"),
        ('system = "lab"', 'system = "lab"\nleese_ttl = 2.0', "did you mean 'lease_ttl'"),
        ('system = "lab"', 'system = "lab"\nsource = ["up1"]', "source = 'up1' is no IP address"),
        ('act_id = "lab-0123456789abcdef"', "", "'act_id' is missing"),
        ("twin-tmr1.crt", "elsewhere.crt", "tls.certificate"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, old: str, new: str, named: str) -> None:
    path = tmp_path / "server.toml"
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=r"server\.toml") as caught:
        read(path)
    assert named in str(caught.value)
