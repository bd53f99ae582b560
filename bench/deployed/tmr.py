# SPDX-License-Identifier: Apache-2.0
"""Events of the TMR system, and its repair after each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.deployed import application, events
from bench.deployed.figures import (
    AT_WORK,
    CABLE,
    HOLDER,
    PLANNED,
    POWER,
    SERVER,
    TMR,
    Gap,
    Holding,
    Requests,
)
from bench.deployed.stand import Stand
from testbed.addresses import SERVER_PORT, VIP


class Tmr:
    """The system on the twins and upstreams; `product`: what an application asks for."""

    def __init__(self, stand: Stand, product: int, journals: Path) -> None:
        self._stand, self._product, self._journals = stand, product, journals
        self.setting = ""

    def event(self, event: str, number: int) -> Gap:
        """The active twin is hit, and all is whole again afterwards."""
        if event == AT_WORK:
            return self._at_work(number)
        deed, mend = self._deeds()[event]
        return self._hit(event, number, deed, mend)

    def holder(self, number: int) -> Holding:
        """`tmr-vip` of the active twin is killed."""
        self._stand.settle()
        victim = self._stand.active()
        took, seen = events.watch(
            self._stand, VIP, SERVER_PORT, victim, lambda twin: self._stand.kill(twin, "tmr-vip")
        )
        self._stand.settle()
        self._keep_journal(HOLDER, number, victim, took)
        return Holding(TMR, self.setting, number, victim, seen, took.pause.ms)

    def _deeds(self) -> dict[str, tuple[events.Deed, events.Deed]]:
        site, stand = self._stand.site, self._stand

        def nothing(_: str) -> None:
            """It comes back by itself."""

        return {
            POWER: (stand.faults.power_off, stand.faults.power_on),
            CABLE: (site.cut, site.heal),
            PLANNED: (lambda _: stand.health.operator.switchover(), nothing),
            SERVER: (lambda twin: stand.kill(twin, "tmr-server"), nothing),
        }

    def _at_work(self, number: int) -> Gap:
        works = application.Application(self._stand.site)
        with works.at_work(self._product):

            def asked(since_ns: int) -> Requests:
                works.goes_on()
                return application.requests(works.asked(), since_ns)

            deed, mend = self._deeds()[PLANNED]
            return self._hit(AT_WORK, number, deed, mend, asked)

    def _hit(
        self,
        event: str,
        number: int,
        deed: events.Deed,
        mend: events.Deed,
        asked: Callable[[int], Requests | None] = lambda _: None,
    ) -> Gap:
        self._stand.settle()
        victim = self._stand.active()
        took = events.take_over(self._stand, VIP, SERVER_PORT, victim, deed)
        requests = asked(took.since_ns)
        mend(victim)
        self._stand.settle()
        self._keep_journal(event, number, victim, took)
        return gap(event, TMR, self.setting, number, victim, took, requests)

    def _keep_journal(self, event: str, number: int, victim: str, took: events.Took) -> None:
        pause = took.pause
        head = (
            f"== round {number + 1}, {event} of {victim}, {self.setting}: {pause.ms:.0f} ms, from "
            f"{(pause.from_ns - took.since_ns) / 1e6:+.1f} to {(pause.to_ns - took.since_ns) / 1e6:+.1f} ms"
        )
        with self._journals.open("a") as file:
            file.write("\n".join([head, *self._stand.journal(took.at), "", ""]))


def gap(
    event: str,
    system: str,
    setting: str,
    number: int,
    victim: str,
    took: events.Took,
    requests: Requests | None = None,
) -> Gap:
    """The figure of one event."""
    pause = took.pause
    return Gap(
        event=event,
        system=system,
        setting=setting,
        round=number,
        victim=victim,
        at=took.at,
        gap_ms=pause.ms,
        from_ms=(pause.from_ns - took.since_ns) / 1e6,
        held_up_ms=pause.held_up_ns / 1e6,
        outcomes=pause.outcomes,
        requests=requests,
    )
