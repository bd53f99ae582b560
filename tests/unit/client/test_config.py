# SPDX-License-Identifier: Apache-2.0
"""client.toml: what is taken, and how mistakes are told."""

from pathlib import Path

import pytest

from testbed.pki import System
from tmr.client import ConfigError, TlsFiles, _tls, load
from tmr.client._transport import Credentials
from tmr.client.config import VARIABLE

GOOD = """
system = "lab"
servers = ["10.20.0.100", "fd00:20::100"]
twins = ["10.20.0.21", "tmr2.example"]
[tls]
certificate = "/etc/tmr/pki/client.crt"
key = "pki/client.key"
ca = "/etc/tmr/pki/ca.crt"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "client.toml"


def test_a_good_one(path: Path) -> None:
    path.write_text(GOOD)
    config = load(path)
    assert config.servers == ("10.20.0.100", "fd00:20::100")
    assert config.port == 22350
    assert config.tls.certificate == Path("/etc/tmr/pki/client.crt")
    assert config.tls.key == path.parent / "pki/client.key"


def test_the_environment_names_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(GOOD)
    monkeypatch.setenv(VARIABLE, str(path))
    assert load().system == "lab"
    with pytest.raises(ConfigError, match=r"other\.toml: no such file\. Give the right one with --config"):
        load(path.parent / "other.toml")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('system = "lab"', "", "the key 'system' is missing. Add it."),
        ('system = "lab"', 'sytem = "lab"\nsystem = "lab"', "unknown key 'sytem'. Did you mean 'system'?"),
        ('key = "pki', 'kye = "x"\nkey = "pki', "unknown key 'tls.kye'. Did you mean 'key'?"),
        (
            "[tls]",
            "colour = 1\n[tls]",
            "unknown key 'colour'. Known keys: system, servers, twins, port,",
        ),
        (
            'servers = ["10.20.0.100", "fd00:20::100"]',
            "servers = []",
            "servers = []: at least one address",
        ),
        ('"10.20.0.100"', '"https://10.20.0.100"', "a host name or an IP address, without a port, is needed"),
        ('"10.20.0.100"', '"10.20.0.100/24"', "servers.0 = '10.20.0.100/24'"),
        (
            "[tls]",
            'port = "22350"\n[tls]',
            "port = '22350': input should be a valid integer. Correct",
        ),
        ("[tls]", "port = 0\n[tls]", "port = 0"),
        ('system = "lab"', 'system = "a/b"', "a name of letters, digits and . _ - is needed"),
        ("[tls]", "[tsl]", "'tls'"),
        ("[tls]", "[tls", "not valid TOML: "),
    ],
)
def test_mistakes(path: Path, old: str, new: str, told: str) -> None:
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_files_that_are_no_text(path: Path) -> None:
    path.write_bytes(b"system = \xff")
    with pytest.raises(ConfigError, match="byte 9 is not UTF-8"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path.parent)


def config_of(path: Path, pki: System, **changed: Path) -> TlsFiles:
    files = pki.client("alice")
    named = {"certificate": Path(files.certificate), "key": Path(files.key), "ca": Path(files.ca), **changed}
    return TlsFiles(**named)


def test_certificates_that_cannot_be_used(path: Path, pki: System) -> None:
    missing = path.parent / "missing.key"
    with pytest.raises(ConfigError, match=r"tls\.key: .*missing\.key cannot be read \(No such file"):
        _tls.context(config_of(path, pki, key=missing), "lab")
    with pytest.raises(ConfigError, match="the key must be the certificate's"):
        _tls.context(config_of(path, pki, key=Path(pki.operator("olga").key)), "lab")
    path.write_text("no PEM at all")
    with pytest.raises(ConfigError, match="must be PEM files"):
        _tls.context(config_of(path, pki, ca=path), "lab")


def test_half_written_certificates_are_left_alone(path: Path, pki: System) -> None:
    certificate = path.parent / "client.crt"
    good = Path(pki.client("alice").certificate).read_bytes()
    certificate.write_bytes(good)
    path.write_text(GOOD)
    config = load(path).model_copy(update={"tls": config_of(path, pki, certificate=certificate)})
    credentials = Credentials(config)
    for broken in (b"", good[: len(good) // 2]):
        certificate.write_bytes(broken)
        credentials.refresh()
    certificate.unlink()
    credentials.refresh()
    certificate.write_bytes(good)
    credentials.refresh()
