# SPDX-License-Identifier: Apache-2.0
"""One case, one number of clients, once: the load in its own process, and what it cost the servers."""

from __future__ import annotations

import time

import msgspec

from bench import processes
from bench.load.job import Begun, Job, Timeline
from bench.load.process import Load
from bench.peers import Peer
from testbed.figures import Latency, latency

_MORE = 60.0
"""Seconds that a load may take to begin and to end."""


class Run(msgspec.Struct):
    """One measurement. Costs are for one operation, over the whole run with its warm-up."""

    case: str
    round: int
    clients: int
    seconds: float
    """Without the warm-up."""
    load: Latency
    answered: int
    """Operations of warm-up and run together, which `cpu` and `syncs` are of."""
    cpu: dict[str, float]
    """Processor seconds of each server process over warm-up and run."""
    syncs: float
    """Syncs of all members over warm-up and run."""

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.load.count / self.seconds

    @property
    def line(self) -> str:
        """The figures for people."""
        return f"{self.rate:9,.0f}/s p50 {1e3 * self.load.p50:6.2f} p99 {1e3 * self.load.p99:7.2f} ms"


def measure(case: str, peer: Peer, clients: int, seconds: float, warm_up: float, number: int) -> Run:
    """Raises RuntimeError where the load was not carried out as asked."""
    before, synced = {name: processes.cpu(pid) for name, pid in peer.pids().items()}, peer.syncs()
    with Load(Job(case, peer.target(), clients, warm_up + seconds + _MORE)) as load:
        start = load.hear(Begun).at + warm_up
        time.sleep(warm_up + seconds)
        timeline = load.end(Timeline)
    if timeline.turned_away:
        raise RuntimeError(f"{timeline.turned_away} requests of {case} were turned away")
    after = {name: processes.cpu(pid) for name, pid in peer.pids().items()}
    took = timeline.done(start, start + seconds) or timeline.took  # one at least, however slow
    return Run(
        case=case,
        round=number,
        clients=clients,
        seconds=seconds,
        load=latency(took),
        answered=len(timeline.took),
        cpu={name: after[name] - before[name] for name in after},
        syncs=peer.syncs() - synced,
    )
