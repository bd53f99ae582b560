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
from bench.deployed import events
from bench.deployed.figures import CABLE, KEEPALIVED, PLANNED, POWER, Gap, Holding
from bench.deployed.stand import SETTLE_S, Stand
from bench.deployed.tmr import gap
from lab import image
from lab.command import run
from lab.topology import machine_named
from testbed import vip_watcher
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


class Keepalived:
    """On both twins. It runs while the block of `running` does."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._setting = DEFAULT

    def install(self) -> None:
        """Copy it, and the libraries that the machines lack, to where nothing else looks."""
        tree = debs.fetch(["keepalived"], debs.ROOT / "machines", machine=image.ensure())
        bundle = self._stand.names.directory / "keepalived.tar"
        with tarfile.open(bundle, "w") as packed:
            packed.add(tree / _BINARY, _BINARY)
            for library in sorted(tree.glob("**/*-linux-gnu/*.so*")):
                packed.add(library, f"lib/{library.name}")
        accept = Path(__file__).with_name("accept.py")
        for twin in TWINS:
            self._stand.site.must_inside(twin, f"mkdir -p {_HOME}")
            self._stand.site.put(twin, accept, f"{_HOME}/accept.py")
            self._stand.site.put(twin, bundle, f"{_HOME}/bundle.tar")
            self._stand.site.must_inside(twin, f"cd {_HOME} && tar xf bundle.tar && rm bundle.tar && sync")

    @contextmanager
    def running(self, setting: Setting) -> Iterator[None]:
        """Both twins run it so."""
        self._setting = setting
        try:
            for twin in TWINS:
                self._begin(twin)
            self._settle()
            yield
        finally:
            for twin in TWINS:
                self._end(twin)

    # -- events ----------------------------------------------------------------------------------------------

    def event(self, event: str, number: int) -> Gap:
        """Strikes the holder of the address, and makes all whole again."""
        stand = self._stand
        deeds: dict[str, tuple[events.Deed, events.Deed]] = {
            POWER: (stand.faults.power_off, self._boot),
            CABLE: (stand.site.cut, stand.site.heal),
            PLANNED: (self._stop, self._begin),
        }
        deed, mend = deeds[event]
        self._settle()
        victim = vip_watcher.holders(stand.names, ADDRESS)[0]
        took = events.take_over(stand, ADDRESS, PORT, victim, deed)
        mend(victim)
        self._settle()
        return gap(event, KEEPALIVED, self._setting.name, number, victim, took)

    def holder(self, number: int) -> Holding:
        """All processes of keepalived are killed where the address is. Debian's unit does not restart it."""
        self._settle()
        victim = vip_watcher.holders(self._stand.names, ADDRESS)[0]
        took, seen = events.watch(
            self._stand, ADDRESS, PORT, victim, lambda twin: self._stand.kill(twin, _UNIT)
        )
        self._end(victim)
        self._begin(victim)
        self._settle()
        return Holding(KEEPALIVED, self._setting.name, number, victim, seen, took.pause.ms)

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
        self._stand.faults.inside(twin, script, configuration(self._setting))

    def _stop(self, twin: str) -> None:
        self._stand.faults.inside(twin, f"systemctl stop {_UNIT}")

    def _end(self, twin: str) -> None:
        """It is gone, however it was, and so is what it left."""
        self._stand.faults.inside(
            twin,
            f"systemctl stop {_UNIT} 2>/dev/null || true; "
            f"systemctl reset-failed {_UNIT} 2>/dev/null || true; "
            f"ip address delete {ADDRESS}/32 dev eth0 2>/dev/null || true",
        )

    def _boot(self, twin: str) -> None:
        self._stand.faults.power_on(twin)
        self._begin(twin)

    # -- how it is -------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait until TMR is whole, one twin has the address, and the other has heard of it some times."""
        self._stand.settle()
        before: dict[str, int] = {}

        def lacks() -> str:
            for twin in TWINS:
                for unit in (_UNIT, _LISTENER):
                    if not self._stand.faults.processes(twin, unit):
                        return f"{unit} does not run on {twin}"
            holders = vip_watcher.holders(self._stand.names, ADDRESS)
            if len(holders) != 1:
                return f"{ADDRESS} is on {' and '.join(holders) or 'no twin'}"
            listens = other(holders[0])
            heard = self._heard(listens)
            since = before.setdefault(listens, heard)
            return "" if heard - since >= _HEARD else f"{listens} has heard {heard - since} times of it"

        wait_for(lacks, SETTLE_S, "keepalived on both twins, and its address on one")

    def _heard(self, twin: str) -> int:
        """Advertisements that came in since the last boot."""
        namespace = self._stand.names.namespace(machine_named(twin))
        told = run("ip", "netns", "exec", namespace, "nft", "-j", "list", "counter", "inet", "tmr", _COUNTER)
        counters = [entry["counter"] for entry in json.loads(told.stdout)["nftables"] if "counter" in entry]
        return int(counters[0]["packets"])
