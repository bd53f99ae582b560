# SPDX-License-Identifier: Apache-2.0
"""Events of the TMR system, and its repair after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from bench.deployed.figures import AT_WORK, CABLE, PLANNED, POWER, SERVER, TMR, Gap, Requests
from bench.deployed.stand import Stand
from bench.deployed.system import Deed, System, Took
from testbed.addresses import SERVER_PORT, VIP
from testbed.client_program import ClientProgram
from testbed.steps import wait_for
from testbed.vendor import FIRM
from testbed.workload.operations import Operation
from testbed.workload.plan import Client, Plan, Use

_ENOUGH = 40
_PATIENCE_S = 60.0
_ERRORS = 3


def requests(asked: Iterable[Operation], since: float) -> Requests:
    """Those that were under way at that time or later."""
    during = [(one, end) for one in asked if (end := one.answered or one.given_up or 0.0) >= since]
    errors = [f"{one.verb}: {one.problem}" for one, _ in during if one.failed]
    longest, end = max(during, key=lambda one: one[1] - one[0].sent, default=(None, 0.0))
    return Requests(
        asked=len(during),
        failed=len(errors),
        longest_ms=1e3 * (end - longest.sent) if longest else 0.0,
        longest_from_ms=1e3 * (longest.sent - since) if longest else 0.0,
        errors=tuple(errors[:_ERRORS]),
    )


class Tmr(System):
    """The system on the twins and upstreams; `product`: what an application asks for."""

    name, address, port = TMR, VIP, SERVER_PORT

    def __init__(self, stand: Stand, product: int, journals: Path) -> None:
        super().__init__(stand)
        self._journals = journals
        self._works = ClientProgram(stand.site, "application")
        churns = Client("bench", ((Use(product, hold=0.0), 1),), pause=0.0)
        self._plan = Plan(FIRM, (churns,), ttl=60)

    def event(
        self, event: str, number: int, asked: Callable[[float], Requests | None] = lambda _: None
    ) -> Gap:
        """The same; for AT_WORK while an application checks a licence out and gives it back all the time."""
        if event != AT_WORK:
            return super().event(event, number, asked)

        def answered(since: float) -> Requests:
            self._goes_on()
            return requests(self._works.operations(), since)

        with self._works.running(self._plan):
            self._goes_on()
            return super().event(event, number, answered)

    def _goes_on(self) -> None:
        """Wait until the application has been answered some more times."""
        enough = len(self._works.operations()) + _ENOUGH

        def lacks() -> str:
            left = enough - len(self._works.operations())
            return f"{left} answers are missing {self._works.said()}" if left > 0 else ""

        wait_for(lacks, _PATIENCE_S, "the application is answered")

    def deeds(self) -> dict[str, tuple[Deed, Deed]]:
        stand, faults = self.stand, self.stand.faults

        def nothing(_: str) -> None:
            """It comes back by itself."""

        planned = (lambda _: stand.health.operator.switchover(), nothing)
        return {
            POWER: (faults.power_off, faults.power_on),
            CABLE: (lambda twin: faults.cut(twin, "front"), lambda twin: faults.heal(twin, "front")),
            PLANNED: planned,
            AT_WORK: planned,
            SERVER: (lambda twin: stand.kill(twin, "tmr-server"), nothing),
        }

    def settle(self) -> None:
        self.stand.settle()

    def kill_holder(self, twin: str) -> None:
        self.stand.kill(twin, "tmr-vip")

    def restart_holder(self, twin: str) -> None:
        """It comes back by itself."""

    def keep(self, event: str, number: int, victim: str, took: Took) -> None:
        pause, since_ns = took.pause, took.since * 1e9
        head = (
            f"== round {number + 1}, {event} of {victim}, {self.setting}: {pause.ms:.0f} ms, from "
            f"{(pause.from_ns - since_ns) / 1e6:+.1f} to {(pause.to_ns - since_ns) / 1e6:+.1f} ms"
        )
        with self._journals.open("a") as file:
            file.write("\n".join([head, *self.stand.journal(took.at), "", ""]))
