# SPDX-License-Identifier: Apache-2.0
"""Systems that are measured: each three members on loopback, every write synced."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from bench import debs, processes
from bench.load.job import Leader, Ports, Target
from bench.scale.system import PRODUCT, system
from lab.wait import until
from testbed.loopback import FIRM, free_ports
from testbed.pki import Authority
from tmr.net.tls import TlsFiles

_READY_S = 60.0


class Peer(Protocol):
    """A running system, and the way to reach it."""

    def target(self) -> Target | Leader | Ports:
        """Address for the load."""

    def pids(self) -> dict[str, int]:
        """Its processes by name."""

    def syncs(self) -> float:
        """Number of syncs of its members' disks, all together."""


class Etcd:
    """Three members of an etcd cluster; with `authority`, all that they hear and say is over mutual TLS."""

    def __init__(self, directory: Path, authority: Authority | None = None) -> None:
        clients, peers, metrics = (free_ports(3) for _ in range(3))
        names = [f"etcd{n}" for n in range(3)]
        scheme = "http" if authority is None else "https"
        cluster = ",".join(
            f"{name}={scheme}://127.0.0.1:{port}" for name, port in zip(names, peers, strict=True)
        )
        self._clients = dict(zip(metrics, clients, strict=True))
        """Port of each member's metrics → port for clients."""
        self._tls = None if authority is None else authority.issue("client", "bench")
        self._running = {
            name: processes.start(
                [
                    *(debs.binary("etcd"), "--name", name, "--data-dir", directory / name / "data"),
                    *("--listen-client-urls", f"{scheme}://127.0.0.1:{client}"),
                    *("--advertise-client-urls", f"{scheme}://127.0.0.1:{client}"),
                    *("--listen-peer-urls", f"{scheme}://127.0.0.1:{peer}"),
                    *("--initial-advertise-peer-urls", f"{scheme}://127.0.0.1:{peer}"),
                    *("--listen-metrics-urls", f"http://127.0.0.1:{metric}"),
                    *("--initial-cluster", cluster, "--initial-cluster-token", "bench"),
                    *("--log-level", "error", "--auto-compaction-retention", "1m"),
                    *(() if authority is None else _mutual_tls(authority.issue("twin", name))),
                ],
                directory / name,
                debs.environment(),
            )
            for name, client, peer, metric in zip(names, clients, peers, metrics, strict=True)
        }

    def ready(self) -> bool:
        """It has a leader."""
        ports = (*self._clients, *self._clients.values())
        return all(map(processes.listens, ports)) and any(map(self._leads, self._clients))

    @staticmethod
    def _metrics(port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def _leads(self, port: int) -> bool:
        return "\netcd_server_is_leader 1" in self._metrics(port)

    def target(self) -> Leader:
        port = next(client for metrics, client in self._clients.items() if self._leads(metrics))
        if self._tls is None:
            return Leader(port)
        return Leader(port, self._tls.ca, self._tls.certificate, self._tls.key)

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def syncs(self) -> float:
        names = (
            "etcd_disk_wal_fsync_duration_seconds_count",
            "etcd_disk_backend_commit_duration_seconds_count",
        )
        return sum(
            float(line.split()[1])
            for port in self._clients
            for line in self._metrics(port).splitlines()
            if line.startswith(names)
        )

    def close(self) -> None:
        """End all members."""
        for process in self._running.values():
            processes.end(process)


def _mutual_tls(files: TlsFiles) -> Iterator[str]:
    """Options of a member that has one certificate, for clients and for its peers."""
    for kind in ("", "peer-"):
        yield from (f"--{kind}cert-file", files.certificate, f"--{kind}key-file", files.key)
        yield from (f"--{kind}trusted-ca-file", files.ca, f"--{kind}client-cert-auth")


class Redis:
    """Three Redis servers that know nothing of one another, each of which syncs every write."""

    def __init__(self, directory: Path) -> None:
        self.ports = free_ports(3)
        self._running = {
            f"redis{n}": processes.start(
                [
                    *(debs.binary("redis-server"), "--port", str(port), "--bind", "127.0.0.1"),
                    *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
                    *("--dir", directory / f"redis{n}"),
                ],
                directory / f"redis{n}",
                debs.environment(),
            )
            for n, port in enumerate(self.ports)
        }

    def ready(self) -> bool:
        """All three listen."""
        return all(map(processes.listens, self.ports))

    def target(self) -> Ports:
        return Ports(self.ports)

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def syncs(self) -> float:
        return float("nan")  # redis 7.0 does not count them

    def close(self) -> None:
        """End all servers."""
        for process in self._running.values():
            processes.end(process)


class Floor:
    """One process that answers at once."""

    def __init__(self, directory: Path, authority: Authority) -> None:
        served, self._asking = authority.issue("twin", "floor"), authority.issue("client", "bench")
        (self._port,) = free_ports(1)
        self._process = processes.start(
            [sys.executable, "-m", "bench.floor", str(self._port), served.certificate, served.key, served.ca],
            directory,
            {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )

    def ready(self) -> bool:
        """It listens."""
        return processes.listens(self._port)

    def target(self) -> Target:
        files = self._asking
        return Target(self._port, "floor", files.certificate, files.key, files.ca, FIRM, PRODUCT)

    def pids(self) -> dict[str, int]:
        return {"floor": self._process.pid}

    def syncs(self) -> float:
        return 0.0

    def close(self) -> None:
        """End it."""
        processes.end(self._process)


Started = TypeVar("Started", "Etcd", "Redis", "Floor")


@contextmanager
def _running(peer: Started) -> Iterator[Started]:
    try:
        until(peer.ready, _READY_S, f"{type(peer).__name__} is not ready", pause_s=0.05)
        yield peer
    finally:
        peer.close()


def floor(directory: Path) -> AbstractContextManager[Peer]:
    """A server that does nothing, over mutual TLS."""
    return _running(Floor(directory / "floor", Authority(directory / "floor-pki", "bench")))


def etcd(directory: Path) -> AbstractContextManager[Peer]:
    """A cluster with a leader."""
    return _running(Etcd(directory / "etcd"))


def etcd_tls(directory: Path) -> AbstractContextManager[Peer]:
    """The same over mutual TLS."""
    return _running(Etcd(directory / "etcd-tls", Authority(directory / "etcd-tls-pki", "bench")))


def redis(directory: Path) -> AbstractContextManager[Peer]:
    """Three servers."""
    return _running(Redis(directory / "redis"))


def tmr(directory: Path) -> AbstractContextManager[Peer]:
    """A whole TMR system as processes, mutual TLS everywhere, which serves a licence with a million seats."""
    return system(directory / "tmr", 1)
