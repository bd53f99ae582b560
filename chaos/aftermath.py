# SPDX-License-Identifier: Apache-2.0
"""After the last fault: what is still held, the units that are left, and whether the records agree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from chaos.plan import UPSTREAMS
from chaos.records import CAMPAIGN, OPERATIONS, TRACKING, Campaign, Licence, append
from chaos.watcher import Look, Watcher
from chaos.workload import TTL_S
from testbed.deployment import Say
from testbed.fault_injector import boottime
from testbed.operator import Operator
from testbed.site import BIN, Done, Site
from testbed.steps import StepFailed, wait_for
from testbed.vendor import FIRM, Vendor, ours
from testbed.workload.operations import Operation
from tmr.api.licences import Item

_OPERATOR = "operator"
_RECORDS_S = 75.0
"""The active twin looks for gaps in the records every 30 s, and then copies what is missing."""


class Aftermath:
    """Asks the operator's way, and completes the campaign's document."""

    def __init__(
        self,
        site: Site,
        operator: Operator,
        vendor: Vendor,
        watcher: Watcher,
        directory: Path,
        began: float,
        say: Say,
    ) -> None:
        self._site, self._operator, self._vendor, self._watcher = site, operator, vendor, watcher
        self._directory, self._began, self._say = directory, began, say

    def write(self, campaign: Campaign, first: int) -> None:
        """Wait for what ends by itself, and write everything down."""
        self._give_back(first)
        try:
            wait_for(lambda: self._held(first), 2.0 * TTL_S + 10, "what nobody knows of has ended")
        except StepFailed as failure:
            self._say(str(failure))
        sessions = self._operator.sessions()
        campaign.sessions_after = (
            len([session for session in sessions.sessions if session.firm_code == FIRM])
            + len([place for place in sessions.queue if place.firm_code == FIRM])
            + sum(1 for borrowing in self._operator.borrowings() if borrowing.firm_code == FIRM)
        )
        left = {
            (one.product_code, one.tmr_id): one.units_before
            for one in licences(self._operator.items(), first)
        }
        campaign.licences = [
            msgspec.structs.replace(one, units_after=left.get((one.product_code, one.tmr_id)))
            for one in campaign.licences
        ]
        self._watcher.wait(lambda look: look.unwhole(lag=0) or _uneven(look), _RECORDS_S)
        campaign.journal = _journal(self._watcher.latest)
        campaign.records_agree = self._records()
        (self._directory / CAMPAIGN).write_bytes(msgspec.json.format(msgspec.json.encode(campaign)))

    def _give_back(self, first: int) -> None:
        """Borrowings that their clients never heard of: their seats would come back in minutes only."""
        for number, borrowing in enumerate(self._operator.borrowings(), 1):
            if borrowing.firm_code != FIRM or borrowing.product_code < first:
                continue
            sent = boottime() - self._began
            self._operator.give_back(borrowing.id)
            line = Operation(
                client=_OPERATOR,
                number=number,
                verb="return",
                product=borrowing.product_code,
                key="",
                sent=sent,
                answered=boottime() - self._began,
                outcome="returned",
                status=204,
                session=borrowing.id,
                tmr_id=borrowing.tmr_id or 0,
            )
            append(self._directory / OPERATIONS, [line])

    def _held(self, first: int) -> str:
        found = self._operator.sessions()
        mine = [session.id for session in found.sessions if session.firm_code == FIRM]
        mine += [place.id for place in found.queue if place.firm_code == FIRM]
        used = sum(item.in_use for item in ours(self._operator.items(), first))
        return f"{len(mine)} sessions and places, {used} seats" if mine or used else ""

    # -- the records -----------------------------------------------------------------------------------------

    def _records(self) -> bool:
        """Export the merged record until all three containers vouch for it, and verify it offline."""
        self._vendor.ask()
        seen: list[Done] = []

        def unverified() -> str:
            seen[:] = [self._export()]
            if seen[0].code == 0:
                seen[0] = self._verify()
            vouched = seen[0].out.count(": valid")
            return "" if seen[0].code == 0 and vouched == len(UPSTREAMS) else seen[0].text

        try:
            wait_for(unverified, _RECORDS_S, "the three records agree", pause_s=1.0)
        except StepFailed as failure:
            self._say(str(failure))
            return False
        self._say("three containers vouch for the record; its chain is unbroken")
        return True

    def _export(self) -> Done:
        target = self._directory / TRACKING
        target.unlink(missing_ok=True)
        return self._tmr("export", "--firm", str(FIRM), "--output", target)

    def _verify(self) -> Done:
        asked = [f"--request={file}" for file in self._vendor.requests]
        return self._tmr("verify", self._directory / TRACKING, *asked)

    def _tmr(self, *words: str | Path) -> Done:
        config = self._site.names.directory / "pki" / "operator.toml"
        enter = ("ip", "netns", "exec", self._site.names.fabric)
        return self._site.run(*enter, BIN / "tmr", "--config", config, "tracking", *words)


def licences(items: Iterable[Item], first: int) -> list[Licence]:
    """The campaign's licences as clients see them, with the units that are left."""
    return [
        Licence(item.firm_code, item.product_code, item.tmr_id or 0, item.quantity or 0, item.units_remaining)
        for item in ours(items, first)
    ]


def _journal(look: Look) -> dict[str, int]:
    """Last committed entry of each upstream that answered."""
    found = {name: look.upstreams.get(name) for name in UPSTREAMS}
    return {name: status["commit"] for name, status in found.items() if status is not None}


def _uneven(look: Look) -> str:
    """Ends of the journals, unless alike: an upstream hears of a commit with the next append."""
    journal = _journal(look)
    return "" if len(journal) == len(UPSTREAMS) and len({*journal.values()}) == 1 else f"journals {journal}"
