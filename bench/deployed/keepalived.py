# SPDX-License-Identifier: Apache-2.0
"""keepalived, unpacked on the twins, with an address of its own and a listener that knows nothing."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench import debs
from bench.deployed.figures import CABLE, KEEPALIVED, PLANNED, POWER
from bench.deployed.stand import SETTLE_S, Stand
from bench.deployed.system import Deed, System, Took
from lab import image
from lab.command import run
from lab.topology import machine_named
from testbed.addresses import TWINS, other
from testbed.steps import wait_for

ADDRESS: Final = "10.20.0.101"
PORT: Final = 8099
_HOME: Final = "/opt/tmr-bench"
_BINARY: Final = "usr/sbin/keepalived"
_UNIT: Final = "keepalived"
_LISTENER: Final = "tmr-bench-accept"
_COUNTER: Final = "bench_vrrp"
_HEARD: Final = 2
_RULES: Final = f"""\
nft list counter inet tmr {_COUNTER} >/dev/null 2>&1 || {{
nft add counter inet tmr {_COUNTER}
nft insert rule inet tmr input ip protocol 112 counter name {_COUNTER} accept
nft insert rule inet tmr input tcp dport {PORT} accept
}}
"""


class Setting(msgspec.Struct, frozen=True):
    """Interval of the holder's advertisements, in seconds; VRRP 2 has whole ones."""

    advert_int: float
    version: int

    @property
    def name(self) -> str:
        return f"advert_int {self.advert_int:g}"


DEFAULT: Final = Setting(1.0, 2)
QUICK: Final = Setting(0.1, 3)


def configuration(setting: Setting) -> str:
    """The same on both twins: none is preferred, and who comes back takes nothing."""
    return f"""\
vrrp_instance bench {{
    state BACKUP
    nopreempt
    interface eth0
    version {setting.version}
    virtual_router_id 51
    priority 100
    advert_int {setting.advert_int:g}
    virtual_ipaddress {{
        {ADDRESS}/32
    }}
}}
"""


class Keepalived(System):
    """On both twins. It runs while the block of `running` does."""

    name, address, port = KEEPALIVED, ADDRESS, PORT

    def __init__(self, stand: Stand) -> None:
        super().__init__(stand)
        self._setting = DEFAULT

    def install(self) -> None:
        """Copy it, and the libraries that the machines lack, to where nothing else looks."""
        tree = debs.fetch(["keepalived"], debs.ROOT / "machines", machine=image.ensure())
        bundle = self.stand.names.directory / "keepalived.tar"
        with tarfile.open(bundle, "w") as packed:
            packed.add(tree / _BINARY, _BINARY)
            for library in sorted(tree.glob("**/*-linux-gnu/*.so*")):
                packed.add(library, f"lib/{library.name}")
        accept = Path(__file__).with_name("accept.py")
        for twin in TWINS:
            self.stand.site.must_inside(twin, f"mkdir -p {_HOME}")
            self.stand.site.put(twin, accept, f"{_HOME}/accept.py")
            self.stand.site.put(twin, bundle, f"{_HOME}/bundle.tar")
            self.stand.site.must_inside(twin, f"cd {_HOME} && tar xf bundle.tar && rm bundle.tar && sync")

    @contextmanager
    def running(self, setting: Setting) -> Iterator[None]:
        """Both twins run it so."""
        self._setting, self.setting = setting, setting.name
        try:
            for twin in TWINS:
                self._begin(twin)
            self.settle()
            yield
        finally:
            for twin in TWINS:
                self._end(twin)

    # -- events ----------------------------------------------------------------------------------------------

    def deeds(self) -> dict[str, tuple[Deed, Deed]]:
        faults = self.stand.faults
        return {
            POWER: (faults.power_off, self._boot),
            CABLE: (lambda twin: faults.cut(twin, "front"), lambda twin: faults.heal(twin, "front")),
            PLANNED: (self._stop, self._begin),
        }

    def kill_holder(self, twin: str) -> None:
        """All processes of keepalived. Debian's unit does not restart it."""
        self.stand.kill(twin, _UNIT)

    def restart_holder(self, twin: str) -> None:
        self._end(twin)
        self._begin(twin)

    def keep(self, event: str, number: int, victim: str, took: Took) -> None:
        """Nothing: keepalived's journal is not looked at."""

    # -- on a twin -------------------------------------------------------------------------------------------

    def _begin(self, twin: str) -> None:
        """Starts all that a boot takes away: rules, listener, and keepalived as Debian's unit runs it."""
        script = (
            f"cat > {_HOME}/keepalived.conf\n"
            f"{_RULES}"
            f"systemctl is-active --quiet {_LISTENER} || systemd-run --quiet --unit={_LISTENER} "
            f"python3 {_HOME}/accept.py {PORT}\n"
            f"systemctl reset-failed {_UNIT} 2>/dev/null || true\n"
            f"systemd-run --quiet --unit={_UNIT} --property=Type=notify "
            f"--setenv=LD_LIBRARY_PATH={_HOME}/lib "
            f"{_HOME}/{_BINARY} --dont-fork --use-file={_HOME}/keepalived.conf\n"
        )
        self.stand.faults.inside(twin, script, configuration(self._setting))

    def _stop(self, twin: str) -> None:
        self.stand.faults.inside(twin, f"systemctl stop {_UNIT}")

    def _end(self, twin: str) -> None:
        """It is gone, however it was, and so is what it left."""
        self.stand.faults.inside(
            twin,
            f"systemctl stop {_UNIT} 2>/dev/null || true; "
            f"systemctl reset-failed {_UNIT} 2>/dev/null || true; "
            f"ip address delete {ADDRESS}/32 dev eth0 2>/dev/null || true",
        )

    def _boot(self, twin: str) -> None:
        self.stand.faults.power_on(twin)
        self._begin(twin)

    # -- how it is -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until TMR is whole, one twin has the address, and the other has heard of it some times."""
        self.stand.settle()
        before: dict[str, int] = {}

        def lacks() -> str:
            for twin in TWINS:
                for unit in (_UNIT, _LISTENER):
                    if not self.stand.faults.processes(twin, unit):
                        return f"{unit} does not run on {twin}"
            holders = self.holders()
            if len(holders) != 1:
                return self.where(holders)
            listens = other(holders[0])
            heard = self._heard(listens)
            since = before.setdefault(listens, heard)
            return "" if heard - since >= _HEARD else f"{listens} has heard {heard - since} times of it"

        wait_for(lacks, SETTLE_S, "keepalived on both twins, and its address on one")

    def _heard(self, twin: str) -> int:
        """Advertisements that came in since the last boot."""
        namespace = self.stand.names.namespace(machine_named(twin))
        told = run("ip", "netns", "exec", namespace, "nft", "-j", "list", "counter", "inet", "tmr", _COUNTER)
        counters = [entry["counter"] for entry in json.loads(told.stdout)["nftables"] if "counter" in entry]
        return int(counters[0]["packets"])
