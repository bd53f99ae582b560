# SPDX-License-Identifier: Apache-2.0
"""Makes the records of campaigns that never took place: a tiny licence server that does all things right.

Each operation is carried out at one moment, `now`. It was sent a little earlier and is answered a little
later, so that operations of different clients overlap. What a test breaks, it breaks in the finished records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from chaos import records
from chaos.history import History
from chaos.records import Campaign, Fault, Holders, Licence, Sample
from testbed.workload.operations import Operation, Verb

FIRM, TTL, SESSION_TTL = 6000013, 2.0, 10.0
SEATS, METER, ALONE, STATION, LOAN = 300, 301, 302, 303, 304
SERVERS = ("up1", "up2", "up3", "tmr1", "tmr2")
_BEGAN_MS = 1_790_000_000_000
_EVERY_S = 0.5
_DARK = {
    "power-cut": "off",
    "restart-all": "off",
    "twins-lost": "off",
    "majority-lost": "off",
    "freeze": "frozen",
}


def licences() -> list[Licence]:
    return [
        Licence(FIRM, SEATS, 1, 2),
        Licence(FIRM, METER, 2, 3, 1000, 1000),
        Licence(FIRM, ALONE, 3, 2),
        Licence(FIRM, STATION, 4, 1),
        Licence(FIRM, LOAN, 5, 1),
    ]


class Plant:
    """A system and its clients. Every call moves time on."""

    def __init__(self) -> None:
        self.now, self.epoch, self.index = 1.0, 10, 5
        self.licences = {one.product_code: one for one in licences()}
        self.units = {METER: 1000}
        self.held: dict[str, Operation] = {}
        self.operations: list[Operation] = []
        self.lines: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self._unknown: set[str] = set()
        self._free: dict[str, float] = {}
        self._count: dict[str, int] = {}

    # -- what clients do -------------------------------------------------------------------------------------

    def ask(
        self,
        client: str,
        verb: Verb,
        product: int,
        *,
        before: float = 0.02,
        after: float = 0.02,
        **values: Any,
    ) -> Operation:
        """A request that is carried out now, sent and answered a little before and after."""
        self.now = max(self.now, self._free.get(client, 0.0)) + 0.05
        number = self._count[client] = self._count.get(client, 0) + 1
        sent = max(self._free.get(client, 0.0), self.now - before)
        operation = Operation(
            client, number, verb, product, f"{client}-{number:05}", sent, self.now + after, **values
        )
        self._free[client] = self.now + after
        self.operations.append(operation)
        return operation

    def lose(self, operation: Operation) -> Operation:
        """The answer is lost: the client gives up, and knows nothing."""
        self._unknown.add(operation.session)
        operation.outcome = operation.problem = ""
        if operation.verb in ("checkout", "wait", "borrow"):
            operation.session = ""
        operation.status = operation.remaining = operation.in_use = operation.epoch = (
            operation.valid_until
        ) = None
        operation.given_up, operation.answered = operation.answered, None
        return operation

    def checkout(
        self,
        client: str,
        product: int,
        mode: str = "user-limit",
        station: str = "",
        *,
        before: float = 0.02,
        after: float = 0.02,
    ) -> Operation:
        operation = self.ask(
            client, "checkout", product, before=before, after=after, mode=mode, station=station or client
        )
        licence = self.licences[product]
        problem = self._denied(product, mode, operation.station)
        if problem:
            operation.outcome, operation.status, operation.problem = "refused", 409, problem
            self._line("denied", operation, reason=problem)
            return operation
        self._grant(operation, f"s-{client}-{operation.number}", licence)
        return operation

    def wait(self, client: str, product: int, **times: float) -> Operation:
        """Ask for a place in the queue; when it is asked again with `again`, it may be a session by then."""
        operation = self.ask(client, "wait", product, mode="user-limit", station=client, **times)
        operation.session, operation.epoch = f"s-{client}-{operation.number}", self.epoch
        if self._denied(product, "user-limit", client):
            operation.outcome, operation.status = "waiting", 202
            self._line("queued", operation)
        else:
            self._grant(operation, operation.session, self.licences[product])
        return operation

    def again(self, place: Operation, **times: float) -> Operation:
        """Ask for the same place once more, which gets a seat if one is free."""
        operation = self.ask(
            place.client, "wait", place.product, mode="user-limit", station=place.client, **times
        )
        operation.key, operation.session, operation.epoch = place.key, place.session, self.epoch
        if self._denied(place.product, "user-limit", place.client):
            operation.outcome, operation.status = "waiting", 202
        else:
            self._grant(operation, place.session, self.licences[place.product])
        return operation

    def heartbeat(self, grant: Operation, **times: float) -> Operation:
        operation = self.ask(
            grant.client, "heartbeat", grant.product, session=grant.session, epoch=self.epoch, **times
        )
        operation.key = ""
        if grant.session in self.held:
            operation.outcome, operation.valid_until = "alive", operation.sent + SESSION_TTL
        else:
            operation.outcome, operation.problem = "gone", "session-lost"
        return operation

    def release(self, grant: Operation, **times: float) -> Operation:
        operation = self.ask(
            grant.client, "release", grant.product, session=grant.session, outcome="freed", **times
        )
        operation.key = ""
        if self.held.pop(grant.session, None):
            self._line("released", grant)
        return operation

    def consume(self, grant: Operation, units: int, **times: float) -> Operation:
        operation = self.ask(
            grant.client, "consume", grant.product, session=grant.session, units=units, **times
        )
        self.units[grant.product] -= units
        operation.outcome, operation.remaining, operation.epoch = (
            "consumed",
            self.units[grant.product],
            self.epoch,
        )
        operation.tmr_id = grant.tmr_id
        self._line("units", grant, units=units)
        return operation

    def borrow(self, client: str, **times: float) -> Operation:
        operation = self.ask(client, "borrow", LOAN, station=client, **times)
        if self._denied(LOAN, "user-limit", client):
            operation.outcome, operation.status, operation.problem = "refused", 409, "borrow-failed"
            self._line("denied", operation, reason="borrow-failed")
            return operation
        operation.outcome, operation.session, operation.tmr_id = (
            "borrowed",
            f"b-{client}-{operation.number}",
            5,
        )
        operation.valid_until = operation.sent + 54
        self.held[operation.session] = msgspec.structs.replace(operation)
        self._line("borrowed", operation)
        return operation

    def give_back(self, loan: Operation, **times: float) -> Operation:
        operation = self.ask(loan.client, "return", LOAN, session=loan.session, outcome="returned", **times)
        operation.key = ""
        if self.held.pop(loan.session, None):
            self._line("returned", loan, reason="release")
        return operation

    def read(self, client: str, product: int, **times: float) -> Operation:
        operation = self.ask(client, "read", product, outcome="read", in_use=self.seats(product), **times)
        operation.key, operation.quantity = "", self.licences[product].quantity
        operation.tmr_id, operation.remaining = self.licences[product].tmr_id, self.units.get(product)
        return operation

    def expire(self, grant: Operation) -> None:
        """Nobody has heard of the session for its time to live."""
        promised = [one.valid_until or 0.0 for one in self.operations if one.session == grant.session]
        self.now = max(self.now, grant.sent + SESSION_TTL, *promised) + 1.0
        del self.held[grant.session]
        self._line("expired", grant)

    def strike(
        self, kind: str, *machines: str, seconds: float = 3.0, silent: float = 0.0, told: Iterable[str] = ()
    ) -> Fault:
        """A fault, during which nothing is asked; who asked just before waits for `silent` seconds more."""
        fault = Fault(kind, list(machines), self.now + 0.1, self.now + 0.1 + seconds, told=list(told))
        self.faults.append(fault)
        self.now += seconds + 0.2 + silent
        return fault

    # -- what the system is ----------------------------------------------------------------------------------

    def seats(self, product: int) -> int:
        held = [one for one in self.held.values() if one.product == product]
        shared = {one.station for one in held if one.mode == "station-share"}
        return len(shared) + sum(1 for one in held if one.mode != "station-share")

    def _denied(self, product: int, mode: str, station: str) -> str:
        held = [one for one in self.held.values() if one.product == product]
        if any(one.mode == "exclusive" for one in held) or (mode == "exclusive" and held):
            return "exclusive-conflict"
        shares = mode == "station-share" and any(one.station == station for one in held)
        full = self.seats(product) >= self.licences[product].quantity
        return "no-more-licences" if full and not shares else ""

    def _grant(self, operation: Operation, session: str, licence: Licence) -> None:
        operation.session, operation.tmr_id, operation.epoch = session, licence.tmr_id, self.epoch
        self.held[session] = msgspec.structs.replace(operation)
        operation.outcome, operation.status, operation.quantity = "granted", 201, licence.quantity
        operation.in_use, operation.remaining = (
            self.seats(operation.product),
            self.units.get(operation.product),
        )
        operation.valid_until = operation.sent + SESSION_TTL
        self._line("granted", operation)

    def _line(self, event: str, about: Operation, **values: Any) -> None:
        self.index += 1
        line = {
            "firm_code": FIRM,
            "seq": len(self.lines) + 1,
            "time_ms": _BEGAN_MS + int(self.now * 1000),
            "index": self.index,
            "event": event,
            "product_code": about.product,
            "tmr_id": self.licences[about.product].tmr_id,
            "id": about.session,
            "client": "client",
            "user": about.client,
            "station": about.station,
            "mode": about.mode,
            **values,
        }
        if event == "denied":
            del line["id"], line["tmr_id"]
        self.lines.append({name: value for name, value in line.items() if value != ""})

    # -- the records -----------------------------------------------------------------------------------------

    def close(self) -> History:
        """Everybody gives back what is left; the campaign's records."""
        for grant in list(self.held.values()):
            if grant.verb == "borrow":
                self.give_back(grant)
            elif grant.session in self._unknown:
                self.expire(grant)
            else:
                self.release(grant)
        finished = self.now + 1.0
        for product, left in self.units.items():
            licence = self.licences[product]
            self.licences[product] = msgspec.structs.replace(licence, units_after=left)
        campaign = Campaign(
            1,
            finished - 1.0,
            TTL,
            SESSION_TTL,
            len(self._count),
            list(self.licences.values()),
            finished,
            journal=dict.fromkeys(("up1", "up2", "up3"), self.index),
        )
        operations = sorted(self.operations, key=lambda one: one.sent)
        samples = self._samples(finished)
        return History(campaign, operations, self.faults, samples, export(self.lines), holders(samples))

    def _samples(self, finished: float) -> list[Sample]:
        found, active, epoch = [], "tmr1", self.epoch
        for look in range(int(finished / _EVERY_S) + 4):
            at = look * _EVERY_S
            struck = {
                machine: _DARK.get(fault.kind, "on")
                for fault in self.faults
                for machine in fault.machines
                if fault.kind not in ("clock-jump", "vip-stolen", "switchover")
                and fault.began <= at <= (fault.ended or finished)
            }
            twins = [name for name in ("tmr1", "tmr2") if name not in struck]
            able = len({"up1", "up2", "up3"} - set(struck)) >= 2
            if twins and active not in twins:
                active, epoch = twins[0], epoch + 1
            for machine in SERVERS:
                sample = Sample(at, machine, struck.get(machine, "on"))
                if machine not in struck and machine.startswith("up"):
                    sample.voting, sample.commit = True, self.index
                elif machine not in struck:
                    serves = able and machine == active
                    sample.role, sample.serving, sample.vip = (
                        "active" if serves else "passive",
                        serves,
                        serves,
                    )
                    sample.epoch = epoch
                found.append(sample)
        return found


def holders(samples: Iterable[Sample]) -> list[Holders]:
    """The twin that has the address in each look."""
    having = {sample.at: () for sample in samples} | {
        sample.at: (sample.machine,) for sample in samples if sample.vip
    }
    return [Holders(at, machines, 25) for at, machines in sorted(having.items())]


def export(lines: Iterable[dict[str, Any]]) -> list[bytes]:
    """The lines as `tmr tracking export` writes them, chained by the documented rule."""
    head, last, out = bytes(32), 0, []
    header = {
        "tmr_record": 1,
        "firm_code": FIRM,
        "from_ms": None,
        "to_ms": None,
        "first_seq": 1,
        "before": "0" * 64,
    }
    out.append(_json(header))
    for line in lines:
        data = _json(line)
        head, last = hashlib.sha256(head + data).digest(), line["seq"]
        out.append(b'{"hash":"' + head.hex().encode() + b'","line":' + data + b"}")
    out.append(_json({"last_seq": last, "last_hash": head.hex(), "whole": True, "attestations": [{}, {}]}))
    return out


def write(history: History, directory: Path) -> None:
    """The records in their directory, as a campaign leaves it."""
    (directory / records.CAMPAIGN).write_bytes(msgspec.json.encode(history.campaign))
    records.append(directory / records.OPERATIONS, history.operations)
    records.append(directory / records.FAULTS, history.faults)
    records.append(directory / records.SAMPLES, history.samples)
    records.append(directory / records.HOLDERS, history.holders)
    (directory / records.TRACKING).write_bytes(b"".join(line + b"\n" for line in history.exported))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
