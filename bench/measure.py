"""One case, one number of clients, once: the load in its own process, and what it cost the servers."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from bench import processes
from bench.load.drive import Measured
from bench.peers import Peer


class Run(msgspec.Struct):
    """One measurement. Costs are for one operation, over the whole run with its warm-up."""

    case: str
    round: int
    load: Measured
    cpu: dict[str, float]
    """Processor seconds of each server process over warm-up and run."""
    syncs: float
    """Syncs of all members over warm-up and run."""

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.load.rate

    @property
    def line(self) -> str:
        """The figures for people."""
        return f"{self.rate:9,.0f}/s p50 {1e3 * self.load.p50:6.2f} p99 {1e3 * self.load.p99:7.2f} ms"

    @property
    def answered(self) -> int:
        """Operations of warm-up and run together, which `cpu` and `syncs` are of."""
        return self.load.all_operations


def measure(case: str, peer: Peer, clients: int, seconds: float, warm_up: float, number: int) -> Run:
    """Raises subprocess.CalledProcessError where the load was not carried out as asked."""
    before, synced = {name: processes.cpu(pid) for name, pid in peer.pids().items()}, peer.syncs()
    target = msgspec.json.encode(peer.target()).decode()
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", case, str(clients), str(seconds), str(warm_up), target],
        check=True,
        stdout=subprocess.PIPE,
    )
    after = {name: processes.cpu(pid) for name, pid in peer.pids().items()}
    return Run(
        case=case,
        round=number,
        load=msgspec.json.decode(done.stdout, type=Measured),
        cpu={name: after[name] - before[name] for name in after},
        syncs=peer.syncs() - synced,
    )
