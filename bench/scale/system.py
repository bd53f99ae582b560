# SPDX-License-Identifier: Apache-2.0
"""A TMR system on loopback whose size can be chosen: licences, sessions, journal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bench import processes
from bench.load.job import Target
from testbed.loopback import FIRM, Machines, Twin, Upstream, context, until
from tmr.licensing import Licence
from tmr.quorum.lease import Timing
from tmr.rpc.record_messages import ListRecords, RecordList
from tmr.rpc.registry import BY_MESSAGE, decode_reply, encode
from tmr.rpc.upstream_client import CONTENT_TYPE
from tmr.twin.record_sync import gap_of
from tmr.upstream.admin_messages import Status
from tmr.vip import lease_release
from tmr.vip.config import ReleaseConfig
from tmr.vip.config import Target as WillTarget

PRODUCT = 1_000
"""The first Product Code; each licence has the next one."""
SEATS = 1_000_000
EXPIRES_MS = 4_102_444_800_000
"""Licences of some size: they have a name, and end with the year 2099."""
PATIENCE = 180.0
"""Seconds for the containers of a large system to be assembled."""


class System:
    """Leases are as long as those of a system that is deployed with defaults."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.ttl = Timing().ttl
        self.machines = Machines(directory, self.ttl)
        self.licences = 0
        for twin in self.machines.twins:
            twin.vip.on_death = _executor(self.machines, twin)
        self.machines.start()

    def issue(self, count: int) -> float:
        """So many licences more, each of a product of its own; seconds until all three containers count."""
        twin, first = self.machines.whole(), PRODUCT + self.licences
        began = time.monotonic()
        self.machines.activate(
            *(
                Licence(
                    product_code=code,
                    quantity=SEATS,
                    expiration_ms=EXPIRES_MS,
                    name=f"Simulator, module {code}",
                )
                for code in range(first, first + count)
            )
        )
        self.licences += count

        def shown() -> bool:
            licences = (self.machines.status(twin) or {"licences": []})["licences"]
            return len(licences) == self.licences and all(one["votes"] == 3 for one in licences)

        until(shown, f"{self.licences} licences are shown with three constituents", PATIENCE, pause=0.2)
        return time.monotonic() - began

    # -- as a peer of `bench.measure` ----------------------------------------------------------------------

    def target(self, client: str = "bob", twin: Twin | None = None) -> Target:
        """The active twin, or `twin`, as `client` asks it for all products in turn."""
        found, tls = twin or self.machines.active(), self.machines.pki.client(client)
        return Target(
            port=found.port,
            name=found.name,
            certificate=str(tls.certificate),
            key=str(tls.key),
            ca=str(tls.ca),
            firm_code=FIRM,
            product_code=PRODUCT,
            products=self.licences,
        )

    def client_config(self) -> Path:
        """client.toml of alice, who asks the active twin."""
        active, tls = self.machines.active(), self.machines.pki.client("alice")
        file = active.config.with_name("client.toml")
        file.write_text(
            f'system = "lab"\nservers = ["127.0.0.1"]\nport = {active.port}\n'
            f'[tls]\ncertificate = "{tls.certificate}"\nkey = "{tls.key}"\nca = "{tls.ca}"\n'
        )
        return file

    def pids(self) -> dict[str, int]:
        """Of the daemons that run, by name."""
        daemons = (*self.machines.upstreams, *self.machines.twins)
        return {one.config.parent.name: one.pid for one in daemons if one.running}

    def syncs(self) -> float:
        """Of the upstreams that run."""
        running = [upstream for upstream in self.machines.upstreams if upstream.running]
        return float(sum(status(upstream).syncs for upstream in running))

    # -- looks ---------------------------------------------------------------------------------------------

    def cpu(self) -> dict[str, float]:
        """Processor seconds used so far, by daemon."""
        return {name: processes.cpu(pid) for name, pid in self.pids().items()}

    def memory(self) -> dict[str, int]:
        """Resident bytes, by daemon."""
        return {name: processes.memory(pid) for name, pid in self.pids().items()}

    def commit(self) -> int:
        """Journal entries that a twin knows to be committed."""
        return int(self._status(self.machines.active())["commit"])

    def commands(self) -> int:
        """Commands that the active twin has carried out since it was started."""
        active, tls = self.machines.active(), context(self.machines.pki.operator("olga"))
        text = httpx.get(f"https://127.0.0.1:{active.port}/metrics", verify=tls, timeout=10).text
        (value,) = (line.split()[1] for line in text.splitlines() if line.startswith("tmr_commands_total "))
        return round(float(value))

    def _status(self, twin: Twin) -> dict[str, Any]:
        """Status by the twin itself: later, where it is restoring a snapshot."""
        found: dict[str, Any] = until(lambda: self.machines.status(twin), f"{twin.name} answers")
        return found

    def messages(self, upstream: Upstream) -> dict[str, int]:
        """Messages that the upstream has answered, by kind and answer, such as `install appended`."""
        tls = context(self.machines.pki.operator("olga"))
        text = httpx.get(f"https://127.0.0.1:{upstream.port}/metrics", verify=tls, timeout=10).text
        return counted(text)

    def record_gap(self, upstream: Upstream) -> bool:
        """The upstream lacks lines of the licence tracking record."""
        tls, path = (
            context(self.machines.pki.twin("tmr1")),
            BY_MESSAGE[ListRecords].route,
        )
        answer = httpx.post(
            f"https://127.0.0.1:{upstream.port}{path}",
            content=encode(ListRecords()),
            headers={"Content-Type": CONTENT_TYPE},
            verify=tls,
            timeout=30,
        )
        looked = decode_reply(ListRecords, answer.content)
        if not isinstance(looked, RecordList):
            raise TypeError(f"{upstream.name} answered with {answer.status_code}: {answer.text[:200]}")
        return any(gap_of(firm) is not None for firm in looked.firms)


def counted(metrics: str) -> dict[str, int]:
    """Messages by kind and answer, from an upstream's metrics."""
    found = {}
    for line in metrics.splitlines():
        if line.startswith("tmr_upstream_messages_total{"):
            labels, _, value = line.partition("{")[2].rpartition("} ")
            _, kind, _, reply, _ = labels.split('"')
            found[f"{kind} {reply}"] = round(float(value))
    return found


def status(upstream: Upstream) -> Status:
    """Status by the upstream's administration socket."""
    with upstream.admin() as admin:
        return msgspec.json.decode(admin.get("/v1/status").content, type=Status)


def _executor(machines: Machines, twin: Twin) -> Callable[[bytes], None]:
    """Release the lease of `twin` with the code of tmr-vip, which has its TLS context at hand, too."""
    files = machines.pki.twin(twin.name)
    config = ReleaseConfig(
        targets=tuple(WillTarget("127.0.0.1", upstream.port) for upstream in machines.upstreams),
        path="/v1/lease/release",
        certificate=Path(files.certificate),
        key=Path(files.key),
        ca=Path(files.ca),
    )
    tls = lease_release.tls_context(config)
    return lambda body: asyncio.run(lease_release.send(config, tls, body, lambda: True))


@contextmanager
def system(directory: Path, licences: int) -> Iterator[System]:
    """A system that serves so many licences."""
    made = System(directory)
    try:
        if licences:
            made.issue(licences)
        yield made
    finally:
        for twin in made.machines.twins:
            twin.vip.on_death = _nothing  # nobody is there any more to be told
        made.machines.stop()


def _nothing(_: bytes) -> None: ...
