"""Whom we are measured against, and ourselves: each three members on loopback, every write synced."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.system.machines import FIRM, Machines

from bench import debs, processes
from bench.load.licences import Target

PRODUCT = 100
SEATS = 1_000_000


class Peer(Protocol):
    """What runs, and how to reach it."""

    def target(self) -> object:
        """Of the load, as JSON can hold it."""

    def pids(self) -> dict[str, int]:
        """Its processes by name."""

    def syncs(self) -> float:
        """How often its members have synced their disks, all together."""


class Etcd:
    """Three members of an etcd cluster."""

    def __init__(self, directory: Path) -> None:
        clients, peers = processes.free_ports(3), processes.free_ports(3)
        names = [f"etcd{n}" for n in range(3)]
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, peers, strict=True))
        self.ports = clients
        self._running = {
            name: processes.start(
                [
                    *(debs.binary("etcd"), "--name", name, "--data-dir", directory / name / "data"),
                    *("--listen-client-urls", f"http://127.0.0.1:{client}"),
                    *("--advertise-client-urls", f"http://127.0.0.1:{client}"),
                    *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
                    *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
                    *("--initial-cluster", cluster, "--initial-cluster-token", "bench"),
                    *("--log-level", "error", "--auto-compaction-retention", "1m"),
                ],
                directory / name,
                debs.environment(),
            )
            for name, client, peer in zip(names, clients, peers, strict=True)
        }

    def ready(self) -> bool:
        """It has a leader."""
        return all(processes.listens(port) for port in self.ports) and any(map(self._leads, self.ports))

    @staticmethod
    def _metrics(port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def _leads(self, port: int) -> bool:
        return "\netcd_server_is_leader 1" in self._metrics(port)

    def target(self) -> object:
        return {"port": next(port for port in self.ports if self._leads(port))}

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def syncs(self) -> float:
        names = (
            "etcd_disk_wal_fsync_duration_seconds_count",
            "etcd_disk_backend_commit_duration_seconds_count",
        )
        return sum(
            float(line.split()[1])
            for port in self.ports
            for line in self._metrics(port).splitlines()
            if line.startswith(names)
        )

    def close(self) -> None:
        """End all members."""
        for process in self._running.values():
            processes.end(process)


class Redis:
    """Three Redis servers that know nothing of one another, each of which syncs every write."""

    def __init__(self, directory: Path) -> None:
        self.ports = processes.free_ports(3)
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

    def target(self) -> object:
        return {"ports": self.ports}

    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    def syncs(self) -> float:
        return float("nan")  # redis 7.0 does not count them

    def close(self) -> None:
        """End all servers."""
        for process in self._running.values():
            processes.end(process)


class Tmr:
    """A whole TMR system as processes: three upstreams, two twins, mutual TLS everywhere."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._machines = Machines(directory)
        self._machines.start()

    def serve(self) -> None:
        """Have the licence issued and shown."""
        self._machines.serve(PRODUCT, SEATS)

    def target(self) -> object:
        tls = self._machines.pki.client("alice")
        twin = self._machines.active()
        found = Target(twin.port, twin.name, str(tls.certificate), str(tls.key), str(tls.ca), FIRM, PRODUCT)
        return {name: getattr(found, name) for name in found.__struct_fields__}

    def pids(self) -> dict[str, int]:
        return {one.config.parent.name: one.pid for one in (*self._machines.upstreams, *self._machines.twins)}

    def syncs(self) -> float:
        total = 0
        for upstream in self._machines.upstreams:
            with upstream.admin() as admin:
                total += int(admin.get("/v1/status").json()["syncs"])
        return total

    def close(self) -> None:
        """End all processes."""
        self._machines.stop()


@contextmanager
def etcd(directory: Path) -> Iterator[Etcd]:
    """A cluster with a leader."""
    peer = Etcd(directory / "etcd")
    try:
        processes.wait_for(peer.ready, "etcd has a leader")
        yield peer
    finally:
        peer.close()


@contextmanager
def redis(directory: Path) -> Iterator[Redis]:
    """Three servers."""
    peer = Redis(directory / "redis")
    try:
        processes.wait_for(peer.ready, "three Redis servers listen")
        yield peer
    finally:
        peer.close()


@contextmanager
def tmr(directory: Path) -> Iterator[Tmr]:
    """A system that serves a licence with a million seats."""
    peer = Tmr(directory / "tmr")
    try:
        peer.serve()
        yield peer
    finally:
        peer.close()
