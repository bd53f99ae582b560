# SPDX-License-Identifier: Apache-2.0
"""Faults that the nemesis makes from outside of the machines. `mend` undoes all of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from lab import fabric, machine
from lab.errors import LabError
from lab.keeper import BootRecord, cgroup
from lab.lock import locked
from lab.names import ROOT, LabNames
from lab.topology import FRONT, MACHINES, Machine, machine_named
from lab.wait import until
from testbed import flood, network_faults, store_faults
from testbed.addresses import LEASE_S, SERVERS, TWINS, UPSTREAMS, VIP

_FILLER = "chaos-filler"
_RESTART_S = 20.0
_BOOT_S = 90.0
_CLOCK = "/etc/tmr-chaos"
_OFFSET = f"{_CLOCK}/offset"
_LAG = "/run/tmr-chaos-lag"
_DROP_IN = "/etc/systemd/system/{unit}.service.d/chaos.conf"
_WITH_CLOCK = f"[Service]\nEnvironment=PYTHONPATH={_CLOCK}\n"


def machines(names: Sequence[str]) -> list[Machine]:
    """These machines of the lab."""
    return [machine_named(name) for name in names]


class FaultInjector:
    """Faults of one lab's machines."""

    def __init__(self, names: LabNames) -> None:
        self.names = names
        self._paused: dict[str, float] = {}

    # -- power, freezing, cables -----------------------------------------------------------------------------

    def power_off(self, *targets: str) -> None:
        """Power cut of all of them at one moment."""
        with locked(self.names.directory):
            machine.power_off(self.names, machines(targets))

    def power_on(self, *targets: str) -> None:
        """Boot those that are off; back when all are up."""
        dark = [one for one in machines(targets) if machine.state(self.names, one) == "off"]
        if dark:
            with locked(self.names.directory), ThreadPoolExecutor(len(dark)) as pool:
                list(pool.map(partial(machine.power_on, self.names), dark))

    def freeze(self, *targets: str) -> None:
        """Stop them where they stand."""
        with locked(self.names.directory):
            machine.freeze(self.names, machines(targets))

    def thaw(self, *targets: str) -> None:
        """Let those go on that are frozen."""
        cold = [one for one in machines(targets) if machine.state(self.names, one) == "frozen"]
        if cold:
            with locked(self.names.directory):
                machine.thaw(self.names, cold)

    def cut(self, target: str, network: str) -> None:
        """Pull a cable."""
        one = machine_named(target)
        fabric.cut(self.names, one, one.network(network))

    def heal(self, target: str, network: str) -> None:
        """Put it back."""
        one = machine_named(target)
        fabric.heal(self.names, one, one.network(network))

    # -- the networks ----------------------------------------------------------------------------------------

    def silence(self, target: str, others: Sequence[str], how: str) -> None:
        """`deaf`: `target` hears nothing of the others on the back LAN; `mute`: they hear nothing of it."""
        network_faults.one_way(self.names, machine_named(target), machines(others), how)

    def filter_front(self, target: str) -> None:
        """The switch's port on the front LAN passes nothing any more; the carrier stays."""
        network_faults.forward(self.names, machine_named(target), works=False)

    def unfilter_front(self, target: str) -> None:
        """The port passes everything again."""
        network_faults.forward(self.names, machine_named(target), works=True)

    def hear(self) -> None:
        """Everybody hears everybody again."""
        network_faults.both_ways(self.names)

    def lose_packets(self, target: str, percent: int) -> None:
        """So many of a hundred frames are lost on the machine's back cable, in each direction."""
        network_faults.lossy(self.names, machine_named(target), percent)

    def change_rules(self, target: str, how: str) -> None:
        """Another program changes the rules of the firewall: an argument of `nft`."""
        self.inside(target, f"nft {how}")

    def rules_lack(self, target: str) -> str:
        """Rules that the firewall lacks of those in its file, or empty."""
        shown = self.inside(target, "nft list ruleset")
        port = "22350" if target in TWINS else "22351"
        return "" if "policy drop" in shown and f"tcp dport {port}" in shown else "its firewall has no rules"

    def slow(self, targets: Sequence[str], rate: str) -> None:
        """The back cables of these machines carry so much at most, in each direction: frames wait."""
        for target in targets:
            network_faults.slow(self.names, machine_named(target), rate)

    def quick(self, targets: Sequence[str]) -> None:
        """The back cables of these machines carry everything at once again."""
        for target in targets:
            network_faults.quick(self.names, machine_named(target))

    def thief(self) -> AbstractContextManager[None]:
        """A foreign host in the front LAN has the virtual address meanwhile."""
        return network_faults.thief(self.names, IPv4Address(VIP))

    def flooded(self, target: str, kind: flood.Kind) -> AbstractContextManager[dict[str, int]]:
        """A host in the front LAN floods the twin meanwhile; then, what it was told how often."""
        config = self.names.directory / "pki" / "operator.toml"
        return flood.flooded(
            config, FRONT.ipv4(machine_named(target).number), kind, namespace=self.names.fabric
        )

    # -- processes -------------------------------------------------------------------------------------------

    def processes(self, target: str, unit: str) -> list[int]:
        """Host's pids of a service's processes."""
        group = cgroup(self.names, machine_named(target)).path
        found = []
        for directory in group.rglob(f"{unit}.service"):
            with suppress(OSError):
                found += [int(pid) for pid in (directory / "cgroup.procs").read_text().split()]
        return found

    @contextmanager
    def standing_still(self, target: str, unit: str) -> Iterator[None]:
        """A service stands still meanwhile, as under a debugger; its machine goes on."""
        victims = self.processes(target, unit)
        if not victims:
            raise LabError(f"{unit} does not run on {target}")
        _signal(victims, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(victims, signal.SIGCONT)

    def limit_memory(self, target: str) -> None:
        """The kernel kills the daemon for its memory, each time that it is started."""
        unit = "tmr-server" if target in TWINS else "tmr-upstream"
        self.inside(target, f"systemctl set-property --runtime {unit} MemoryMax=16M MemorySwapMax=0")

    def free_memory(self, target: str) -> None:
        """The daemon has all memory again."""
        unit = "tmr-server" if target in TWINS else "tmr-upstream"
        limited = f"test -e /run/systemd/system.control/{unit}.service.d"
        enough = f"systemctl set-property --runtime {unit} MemoryMax=infinity MemorySwapMax=infinity"
        self.inside(target, f"! {limited} || {{ {enough}; systemctl start {unit}; }}")

    def kill(self, target: str, unit: str) -> None:
        """SIGKILL, as by the out-of-memory killer; back when systemd runs something in its place."""
        victims = self.processes(target, unit)
        if not victims:
            raise LabError(f"{unit} does not run on {target}")
        _signal(victims, signal.SIGKILL)
        until(
            lambda: bool(set(self.processes(target, unit)) - set(victims)),
            _RESTART_S,
            f"{unit} on {target} is not started again",
        )

    def inside(self, target: str, script: str, text: str = "") -> str:
        """Output of a shell script in the machine, entered without ssh. LabError if it fails.

        `text`: what it reads from standard input.
        """
        enter_it = (sys.executable, "-m", "lab", "--name", self.names.name, "shell", target)
        done = subprocess.run(
            [*enter_it, "sh", "-ec", script],
            cwd=ROOT,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"{target}: `{script}` ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def all_inside(self, targets: Sequence[str], script: str, text: str = "") -> list[str]:
        """The same in several machines at once."""
        with ThreadPoolExecutor(len(targets)) as pool:
            return list(pool.map(lambda target: self.inside(target, script, text), targets))

    # -- disks -----------------------------------------------------------------------------------------------

    def fill(self, target: str) -> None:
        """Not one block is left on the machine's disk. Allocated, not written: the host's own stays free."""
        mounted = store_faults.live_disk(self.names, target)
        if mounted is None:
            raise LabError(f"{target} is off: its disk cannot be filled")
        descriptor = os.open(mounted / _FILLER, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            room = os.fstatvfs(descriptor)
            block = room.f_frsize
            chunk, end = room.f_bfree * block, 0
            while chunk >= block:
                try:
                    os.posix_fallocate(descriptor, end, chunk)
                except OSError:
                    chunk = chunk // 2 // block * block
                else:
                    end += chunk
        finally:
            os.close(descriptor)

    def free(self, target: str) -> None:
        """Room again."""
        if mounted := store_faults.live_disk(self.names, target):
            (mounted / _FILLER).unlink(missing_ok=True)

    def lose_store(self, target: str) -> None:
        """The upstream's store is gone while it is off: journal, promise, container and its key."""
        stop, start = "systemctl stop tmr-upstream", "systemctl start tmr-upstream"
        self.inside(target, f"{stop}; rm -rf /{store_faults.STATE}; {start}")

    def copy_stores(self, *targets: str) -> None:
        """Keep copies of these upstreams' stores, all of one moment, as snapshots of virtual machines are."""
        self.freeze(*targets)
        try:
            store_faults.copy(self.names, targets)
        finally:
            self.thaw(*targets)

    def put_back_stores(self, *targets: str) -> None:
        """Put the copies in the place of the stores of these machines, which are off."""
        with locked(self.names.directory):
            store_faults.put_back(self.names, targets)

    def flip_bit(self, target: str, percent: int) -> str:
        """Flip one bit in a row of the journal of an upstream, whose machine is off; the row's name."""
        with locked(self.names.directory):
            return store_faults.flip(self.names, target, percent)

    # -- settings --------------------------------------------------------------------------------------------

    def set_lease(self, target: str, seconds: float) -> None:
        """Set the length of the lease on one machine, as its role does: template and handler."""
        unit = "tmr-server" if target in TWINS else "tmr-upstream"
        file = f"/etc/tmr/{unit.removeprefix('tmr-')}.toml"
        is_so = f"test ! -e {file} || grep -qx 'lease_ttl = {seconds}' {file}"
        change = f"sed -i 's/^lease_ttl = .*/lease_ttl = {seconds}/' {file}; sync {file}"
        self.inside(target, f"{is_so} || {{ {change}; systemctl restart {unit}; }}")

    def fingerprint(self, target: str) -> str:
        """Fingerprint of the upstream's container, read on its machine."""
        shown = self.inside(target, "/opt/tmr/current/bin/tmr-upstream status --json")
        return str(json.loads(shown)["fingerprint"])

    # -- clocks ----------------------------------------------------------------------------------------------

    def install_clocks(self) -> None:
        """Give the daemons of each machine clocks of their own. They are restarted for it, once.

        All machines have the host's clock. libfaketime would give a process another one, and stalls it for
        seconds now and then, as if its disk were slow (0.9.10, threads, a monotonic clock that is not faked).
        """
        module = Path(__file__).with_name("clocks.py").read_text()
        for targets, units in (([*UPSTREAMS], ("tmr-upstream",)), ([*TWINS], ("tmr-vip", "tmr-server"))):
            drop_ins = [_DROP_IN.format(unit=unit) for unit in units]
            parents = " ".join(str(Path(file).parent) for file in drop_ins)
            files = "; ".join(f"printf '{_WITH_CLOCK}' > {file}" for file in drop_ins)
            write = (
                f"mkdir -p {_CLOCK} {parents}; cat > {_CLOCK}/sitecustomize.py; echo 0 > {_OFFSET}; "
                f"ln -sfn {_LAG} {_CLOCK}/lag; {files}; sync; "
                f"systemctl daemon-reload; systemctl restart {' '.join(units)}"
            )
            self.all_inside(targets, f"test -e {drop_ins[-1]} || {{ {write}; }}", module)

    def remove_clocks(self) -> None:
        """The services are as they were deployed, from their next start on."""
        files = " ".join(_DROP_IN.format(unit=unit) for unit in ("tmr-upstream", "tmr-vip", "tmr-server"))
        self.all_inside(SERVERS, f"rm -f {files}; systemctl daemon-reload")

    def pause(self, target: str) -> None:
        """Stop a machine, and its clocks with it, as its host does for a snapshot."""
        self.freeze(target)
        self._paused[target] = boottime()

    def resume(self, target: str) -> None:
        """Let it go on; its daemons' clocks have stood still meanwhile."""
        since = self._paused.pop(target, None)
        record = BootRecord.read(self.names.boot_record(machine_named(target)))
        if since is not None and record is not None and record.leader is not None:
            lag = Path(f"/proc/{record.leader}/root{_LAG}")
            before = int(lag.read_text()) if lag.exists() else 0
            fresh = lag.with_suffix(".new")
            fresh.write_text(str(before + int((boottime() - since) * 1e9)))
            fresh.replace(lag)
        self.thaw(target)

    def set_clock(self, target: str, seconds: str) -> None:
        """The upstream's wall clock is off by so many seconds, such as `+600`."""
        self.inside(target, f"echo {seconds} > {_OFFSET}.new; mv {_OFFSET}.new {_OFFSET}")

    def _are(self, wanted: str) -> bool:
        return all(machine.state(self.names, one) == wanted for one in machines(SERVERS))

    # -- the end ---------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Take every fault away, whether it is there or not: power, frost, cables, disks, settings."""
        self.thaw(*SERVERS)
        for target in SERVERS:
            for unit in ("tmr-vip", "systemd-journald"):
                _signal(self.processes(target, unit), signal.SIGCONT)
        self.hear()
        network_faults.no_thief(self.names, IPv4Address(VIP))
        for one in MACHINES.values():
            for network in one.networks:
                if fabric.is_cut(self.names, one, network):
                    fabric.heal(self.names, one, network)
        self.power_on(*SERVERS)
        for target in TWINS:
            self.unfilter_front(target)
        self.quick(SERVERS)
        up = partial(self._are, "on")
        until(up, _BOOT_S, "not all machines are up: `python3 -m lab status` shows which")
        for target in SERVERS:
            self.free(target)
            self.free_memory(target)
        self.all_inside([*UPSTREAMS], f"if test -e {_OFFSET}; then echo 0 > {_OFFSET}; fi")
        for target in SERVERS:
            self.set_lease(target, LEASE_S)


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def boottime() -> float:
    """Seconds on the clock that all machines and the host share."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
