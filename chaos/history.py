# SPDX-License-Identifier: Apache-2.0
"""A campaign's records, read and validated: what every rule is checked against."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec

from chaos import records
from chaos.records import Campaign, Fault, Holders, Licence, Sample
from testbed.workload.operations import Operation
from tmr.ledger.record import Line, decode_line

BODY: Final = 82
"""Offset of the line in a line of an exported record (docs: reference/record.md)."""

Key = tuple[int, int]
"""A licence: Product Code and TMR-Id."""


class BadRecords(Exception):
    """The directory does not hold the records of a campaign; the message says what to do."""


@dataclass(frozen=True)
class History:
    """Everything that a campaign wrote down. `exported`: the lines of `tracking.jsonl`, exact bytes."""

    campaign: Campaign
    operations: Sequence[Operation]
    faults: Sequence[Fault]
    samples: Sequence[Sample]
    exported: Sequence[bytes]
    holders: Sequence[Holders] = ()

    @cached_property
    def licences(self) -> dict[Key, Licence]:
        """The campaign's licences."""
        return {(one.product_code, one.tmr_id): one for one in self.campaign.licences}

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Lines about the campaign's products, since it began, in the order of the record.

        Those that cannot be read are left out here: the rule about the chain names them.
        """
        products = {one.product_code for one in self.campaign.licences}
        since = _milliseconds(self.campaign.certified_before)
        found = (_line(raw) for raw in self.exported[1:-1])
        return tuple(one for one in found if one and one.product_code in products and one.time_ms >= since)

    @cached_property
    def looks(self) -> tuple[tuple[float, dict[str, Sample]], ...]:
        """Samples taken at one moment: its time, and machine → sample."""
        found: dict[float, dict[str, Sample]] = {}
        for sample in self.samples:
            found.setdefault(sample.at, {})[sample.machine] = sample
        return tuple(sorted(found.items()))

    @cached_property
    def moments(self) -> tuple[float, ...]:
        """The times of the looks."""
        return tuple(at for at, _ in self.looks)

    def looked(self, begin: float, end: float) -> tuple[tuple[float, dict[str, Sample]], ...]:
        """The looks after `begin`, up to `end`."""
        return self.looks[bisect_right(self.moments, begin) : bisect_right(self.moments, end)]

    @cached_property
    def served(self) -> tuple[tuple[float, int, frozenset[str]], ...]:
        """Looks at which a twin served: time, the highest epoch served, who serves."""
        found = []
        for at, machines in self.looks:
            serving = {name: one.epoch for name, one in machines.items() if one.serving}
            if serving:
                found.append((at, max(serving.values()), frozenset(serving)))
        return tuple(found)

    @cached_property
    def end(self) -> float:
        """Seconds after which nobody asked any more."""
        return max([self.campaign.finished, self.campaign.seconds, *(o.sent for o in self.operations)])


def over(operation: Operation, history: History) -> float:
    """Time at which its client stopped waiting: answered, given up, or the campaign was over."""
    for moment in (operation.answered, operation.given_up):
        if moment is not None:
            return moment
    return max(operation.sent, history.end)


def name(operation: Operation) -> str:
    """The operation in one phrase, for a message."""
    return f"{operation.client} #{operation.number} {operation.verb} (sent {operation.sent:.3f} s)"


def load(directory: Path) -> History:
    """Read a campaign's directory. Raises BadRecords."""
    try:
        campaign = msgspec.json.decode((directory / records.CAMPAIGN).read_bytes(), type=Campaign)
        return History(
            campaign,
            sorted(records.read(directory / records.OPERATIONS, Operation), key=lambda one: one.sent),
            sorted(records.read(directory / records.FAULTS, Fault), key=lambda one: one.began),
            list(records.read(directory / records.SAMPLES, Sample)),
            (directory / records.TRACKING).read_bytes().splitlines(),
            list(records.read(directory / records.HOLDERS, Holders)),
        )
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRecords(
            f"{directory} does not hold the records of a campaign: {error}; `make chaos` writes them"
        ) from None


def _line(raw: bytes) -> Line | None:
    try:
        return decode_line(raw[BODY:-1])
    except msgspec.DecodeError:
        return None


def _milliseconds(text: str) -> int:
    if not text:
        return 0
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise BadRecords(f"certified_before is {text!r}, and not a time as in RFC 3339") from None
    return int(moment.timestamp() * 1000)
