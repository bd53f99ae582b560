# SPDX-License-Identifier: Apache-2.0
"""Configuration mistakes are named, with the file, the key and the remedy."""

import sys
from pathlib import Path

import pytest

from testbed.pki import make_system
from tests.support.upstream_process import UpstreamProcess
from tmr.runtime.config import ConfigError
from tmr.upstream import config
from tmr.upstream.fingerprint import machine_fingerprint


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamProcess:
    system = make_system(tmp_path, upstreams=["up1"], twins=[], clients=[], operators=[])
    made = UpstreamProcess(tmp_path, system)
    made.configure(port=22351)
    return made


def mistake(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        config.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_a_right_one_is_read(upstream: UpstreamProcess) -> None:
    found = config.read(upstream.config)
    assert (found.name, found.port, found.lease_ttl) == ("up1", 22351, 2.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lisen": "10.0.0.1"}, "unknown key 'lisen'; did you mean 'listen'?"),
        ({"colour": "blue"}, "unknown key 'colour'; known keys: name, system"),
        ({"port": "22351"}, "key 'port': expected `int`, got `str`"),
        ({"port": 70_000}, "port = 70000 is outside 0 to 65535"),
        ({"listen": "back"}, "listen = 'back' is no IP address"),
        ({"listen": ["10.0.0.1", "front"]}, "listen = 'front' is no IP address"),
        ({"listen": []}, "listen is empty; give this machine's address"),
        ({"mode": "twin"}, "key 'mode'"),
        ({"record_days": 0}, "record_days = 0 is outside 1 to 36500 days"),
        ({"disk_reserve": -1}, "disk_reserve = -1 is outside 0 to 1048576 MiB"),
        ({"lease_ttl": 0.1}, "lease_ttl = 0.1 is outside 0.5 to 60 seconds"),
        ({"act_id": "no good"}, "act_id = 'no good' is no name"),
        ({"state_dir": "/nonexistent/state"}, "state_dir = '/nonexistent/state' is no directory; create it"),
    ],
)
def test_a_wrong_value_is_named(upstream: UpstreamProcess, values: dict[str, object], words: str) -> None:
    upstream.configure(**values)
    assert words in mistake(upstream.config)


def test_a_network_licence_server_listens_where_clients_ask(upstream: UpstreamProcess) -> None:
    upstream.configure(mode="network", listen=["10.0.0.1", "fd00::1"])
    lines = upstream.config.read_text().splitlines(keepends=True)
    upstream.config.write_text("".join(line for line in lines if not line.startswith("port")))
    found = config.read(upstream.config)
    assert (found.mode, found.addresses, found.listen_port) == ("network", ("10.0.0.1", "fd00::1"), 22350)
    upstream.config.write_text(upstream.config.read_text().replace('"network"', '"tmr"'))
    assert config.read(upstream.config).listen_port == 22351


def test_wrong_files_and_tables_are_named(upstream: UpstreamProcess, tmp_path: Path) -> None:
    text = upstream.config.read_text()
    upstream.config.write_text(text.replace('name = "up1"\n', ""))
    assert "key 'name' is missing; add it" in mistake(upstream.config)
    upstream.config.write_text(text + 'cert = "x"\n')
    assert "unknown key 'tls.cert'" in mistake(upstream.config)
    upstream.config.write_text(text + 'port = "=\n')
    assert "not valid TOML" in mistake(upstream.config)
    upstream.config.write_bytes(b"name = '\xff'\n")
    assert "is not UTF-8" in mistake(upstream.config)
    upstream.config.unlink()
    assert "no such file; give the right one with --config FILE" in mistake(upstream.config)
    Path(upstream.system.upstream("up1").key).write_text("nonsense")
    upstream.configure()
    assert "tls: " in mistake(upstream.config)
    Path(upstream.system.upstream("up1").key).unlink()
    assert "cannot be read: No such file" in mistake(upstream.config)


def test_a_mistake_ends_the_program_with_2_and_no_traceback(upstream: UpstreamProcess) -> None:
    upstream.configure(lisen="x")
    done = upstream.command()
    assert done.returncode == 2
    assert done.stderr.startswith(f"tmr-upstream: {upstream.config}: unknown key")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /etc/machine-id")
def test_the_fingerprint_is_stable_and_does_not_show_the_machine_id() -> None:
    machine = Path("/etc/machine-id").read_text().strip()
    assert machine_fingerprint() == machine_fingerprint()
    assert len(machine_fingerprint()) == 64
    assert machine not in machine_fingerprint()
