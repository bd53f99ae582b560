# SPDX-License-Identifier: Apache-2.0
"""Configuration files, of all daemons and of clients."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tmr.api.errors import ConfigError as ClientConfigError
from tmr.client import config as client
from tmr.runtime.config import ConfigError
from tmr.twin import config as server
from tmr.upstream import config as upstream
from tmr.vip import config as vip

_TLS = 'certificate = "/a"\nkey = "/b"\nca = "/c"\n'
SEEDS = [
    f"""name = "up1"\nsystem = "lab"\nact_id = "lab-0123456789abcdef"\nlisten = ["10.0.0.1", "::1"]\nport = 1
mode = "tmr"\nlease_ttl = 2.0\nvendors = "/v"\nstate_dir = "/s"\nrecord_days = 3\n[tls]\n{_TLS}""".encode(),
    f"""name = "tmr1"\nsystem = "lab"\nact_id = "lab-0123456789abcdef"\ntwins = ["tmr1", "tmr2"]
vip = ["10.0.0.9"]\nlease_ttl = 2.0\n[tls]\n{_TLS}[[upstreams]]\nname = "up1"\naddress = "10.0.0.1"
[[upstreams]]\nname = "up2"\naddress = "10.0.0.2"\n[[upstreams]]\nname = "up3"\naddress = "10.0.0.3"
""".encode(),
    f"""addresses = ["10.0.0.9/32", "fd00::9/128"]\ninterface = "eth0"\nsocket = "/run/s"\npeer_user = "tmr"
[release]\ntargets = ["10.0.0.1:1", "[::1]:2"]\npath = "/v1/lease/release"\n{_TLS}""".encode(),
    f"""system = "lab"\nservers = ["10.0.0.9"]\ntwins = ["a", "b"]\nport = 22350\nsource = "10.0.0.8"
[tls]\n{_TLS}[vendor_keys]\n6000010 = "/v.pem"\n""".encode(),
    b"a = [[[[1]]]]\nb = {c = {d = 1979-05-27T07:32:00Z}}\n'''e''' = 0x1f\n",
]
_DIRECTORY = tempfile.TemporaryDirectory(prefix="tmr-fuzz-")
_FILE = Path(_DIRECTORY.name) / "one.toml"
_READERS: list[tuple[Callable[[Path], Any], type[Exception]]] = [
    (upstream.read, ConfigError),
    (server.read, ConfigError),
    (vip.load, vip.ConfigError),
    (client.load, ClientConfigError),
]


def check(data: bytes) -> None:
    """Every reader gets every file."""
    _FILE.write_bytes(data)
    for read, error in _READERS:
        try:
            read(_FILE)
        except error as told:
            assert str(told).startswith(str(_FILE))
