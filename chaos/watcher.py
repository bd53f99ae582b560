# SPDX-License-Identifier: Apache-2.0
"""Looks at the machines from outside, several times a second, and writes down what it sees."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.plan import TWINS, UPSTREAMS
from chaos.records import SAMPLES, Licence, Sample, append
from lab import machine
from lab.keeper import BootRecord
from lab.names import LabNames
from lab.topology import machine_named
from testbed.addresses import SERVERS, VIP
from testbed.addresses import TWINS as ADDRESSES
from testbed.fault_injector import boottime
from testbed.http import Connection
from testbed.observer import Observer
from testbed.operator import enter
from testbed.vip_watcher import has_address
from tmr.api.status import Role, Status
from tmr.client import AsyncClient, Policy, TmrError, load

_EVERY_S = 0.4
_ANSWER_S = 0.35
_POLICY = Policy(
    patience=0.0, refusal_patience=0.0, connect=_ANSWER_S, longest_connect=_ANSWER_S, read=_ANSWER_S
)
_LAG = 200
"""Journal entries by which an upstream may be behind while clients work, and count as caught up."""


@dataclass(frozen=True)
class Look:
    """Everything that was seen at one moment."""

    at: float
    state: Mapping[str, str] = field(default_factory=dict)
    vip: frozenset[str] = frozenset()
    twins: Mapping[str, Status | None] = field(default_factory=dict)
    upstreams: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)

    def alarms(self, name: str) -> tuple[str, ...]:
        """Alarms that a machine raises, as it says itself."""
        if status := self.twins.get(name):
            return status.alarms
        own = self.upstreams.get(name)
        return tuple(own["alarms"]) if own else ()

    def behind(self, upstream: str) -> str:
        """Entries that this upstream lacks of all that a twin has confirmed to clients; empty: none."""
        own = self.upstreams.get(upstream)
        known = max((status.commit for status in self.twins.values() if status), default=None)
        if own is None or known is None:
            return f"{upstream} or both twins are silent"
        return f"entries {own['last_index'] + 1} to {known}" if own["last_index"] < known else ""

    def short_of_votes(self) -> str:
        """Licences that lack a constituent, as the active twin says; empty: none."""
        active = self.active()
        status = None if active is None else self.twins[active]
        if status is None:
            return "no twin is active"
        short = [f"{one.product_code}: {one.votes}" for one in status.licences if one.votes < len(UPSTREAMS)]
        return ", ".join(short)

    def active(self) -> str | None:
        """The one twin that serves and alone has the virtual address."""
        found = [name for name, status in self.twins.items() if status and status.role is Role.ACTIVE]
        return found[0] if len(found) == 1 and self.vip == set(found) else None

    def unwhole(self, *, lag: int = _LAG) -> str:
        """Reason why the system is not whole; empty: it is."""
        if dark := [f"{name} is {state}" for name, state in self.state.items() if state != "on"]:
            return ", ".join(dark)
        if (active := self.active()) is None:
            roles = {name: status and str(status.role) for name, status in self.twins.items()}
            return f"roles {roles}, virtual address on {', '.join(self.vip) or 'no machine'}"
        for name, status in self.twins.items():
            if status is None or (name != active and status.role is not Role.PASSIVE):
                return f"{name} is {status.role if status else 'silent'}, {active} is active"
        status = self.twins[active]
        assert status is not None  # noqa: S101 - for the type checker: it is active
        for upstream in status.upstreams:
            behind = status.commit - (upstream.match or 0)
            if not upstream.reachable or not upstream.voting or behind > lag:
                return (
                    f"{upstream.name}: reachable {upstream.reachable}, voting {upstream.voting}, "
                    f"{behind} entries behind"
                )
        return ""


class Watcher(Observer):
    """One thread, which lives in the lab's fabric. `latest` is what it saw last."""

    def __init__(self, names: LabNames, directory: Path, began: float, licences: list[Licence]) -> None:
        super().__init__("watcher")
        self._names, self._began = names, began
        self._file = directory / SAMPLES
        self._products = {(licence.firm_code, licence.product_code) for licence in licences}
        self.latest = Look(0.0)

    def observe(self) -> None:
        enter(self._names.fabric)
        asyncio.run(self._watch())

    async def _watch(self) -> None:
        config = load(self._names.directory / "pki" / "operator.toml")
        async with AsyncClient(config, policy=_POLICY) as client:
            while not self.over.is_set():
                started = boottime()
                look = await self._look(client, started - self._began)
                self.latest = look
                append(self._file, self._samples(look))
                await asyncio.sleep(max(0.05, _EVERY_S - (boottime() - started)))

    async def _look(self, client: AsyncClient, at: float) -> Look:
        state = {name: machine.state(self._names, machine_named(name)) for name in SERVERS}
        vip = frozenset(name for name in SERVERS if has_address(self._names, VIP, name))
        running = {name for name in SERVERS if state[name] == "on"}
        twins = [self._twin(client, name) if name in running else _nothing() for name in TWINS]
        upstreams = [self._upstream(name) if name in running else _nothing() for name in UPSTREAMS]
        said, known = await asyncio.gather(asyncio.gather(*twins), asyncio.gather(*upstreams))
        return Look(
            at, state, vip, dict(zip(TWINS, said, strict=True)), dict(zip(UPSTREAMS, known, strict=True))
        )

    def _leader(self, name: str) -> int | None:
        record = BootRecord.read(self._names.boot_record(machine_named(name)))
        return record.leader if record else None

    async def _twin(self, client: AsyncClient, name: str) -> Status | None:
        try:
            async with asyncio.timeout(2 * _ANSWER_S):
                return await client.status(ADDRESSES[name])
        except (TmrError, TimeoutError):
            return None

    async def _upstream(self, name: str) -> dict[str, Any] | None:
        """Its own word, from its administration socket, which is a file: no network is needed."""
        socket = f"/proc/{self._leader(name)}/root/run/tmr-upstream/admin.sock"
        connection = None
        try:
            async with asyncio.timeout(_ANSWER_S):
                connection = await Connection.over_unix(socket)
                status, body = await connection.ask("GET", "/v1/status")
            found: dict[str, Any] = json.loads(body)
            return found if status == 200 else None
        except (OSError, EOFError, ValueError):
            return None
        finally:
            if connection is not None:
                connection.abort()

    def _samples(self, look: Look) -> list[Sample]:
        lines = []
        for name in SERVERS:
            sample = Sample(round(look.at, 3), name, look.state[name], name in look.vip)
            if status := look.twins.get(name):
                sample.role, sample.epoch, sample.commit = str(status.role), status.epoch, status.commit
                sample.serving = status.role is Role.ACTIVE
                if sample.serving:
                    sample.seats = sum(
                        licence.in_use
                        for licence in status.licences
                        if (licence.firm_code, licence.product_code) in self._products
                    )
            elif own := look.upstreams.get(name):
                sample.commit, sample.voting, sample.epoch = own["commit"], own["voting"], own["promised"]
            lines.append(sample)
        return lines

    # -- waiting for what it sees ----------------------------------------------------------------------------

    def wait(self, unmet: Callable[[Look], str], timeout_s: float) -> str:
        """Until a look that began from now on has nothing `unmet`; what the last one lacked, else empty."""
        asked = boottime()
        pause = threading.Event()
        while True:
            if self.failure is not None:
                raise self.failure
            look = self.latest
            fresh = look.at + self._began >= asked
            lacks = unmet(look) if fresh else "no look yet"
            if not lacks or boottime() - asked > timeout_s:
                return lacks
            pause.wait(0.05)


async def _nothing() -> None:
    """A machine that does not run has nothing to say."""
