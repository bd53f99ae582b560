# SPDX-License-Identifier: Apache-2.0
"""The four ways to lose the active twin, and what must hold after each of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from demo.licence import PRODUCT, SEATS
from demo.witness import Witness
from testbed.addresses import VIP, other
from testbed.fault_injector import FaultInjector, boottime
from testbed.health import Health
from testbed.steps import Board, Step, check, wait_for

_TAKE_OVER_S = 20.0
_RETURN_S = 60.0


@dataclass(frozen=True)
class Fault:
    """A way to lose the active twin, and to get it back; both are given its name."""

    title: str
    begin: Callable[[str], object]
    mend: Callable[[str], object]
    rounds: int
    goal_ms: float


@dataclass
class Story(Health):
    """The system, those who watch it, and what was measured."""

    faults: FaultInjector
    witness: Witness
    session: str = ""
    gaps: dict[str, list[float]] = field(default_factory=dict)

    # -- looks: an empty string when all is well -------------------------------------------------------------

    def session_trouble(self, since: float) -> str:
        """The application's session has been confirmed since then, is the same one, and fills one seat."""
        beat = self.witness.beat_since(since)
        if beat is None:
            return f"no heartbeat answered yet; {self.witness.said()}"
        if beat.session != self.session:
            return f"session {beat.session} is held, it was {self.session}"
        return self.wrong_seats(1)

    def wrong_seats(self, wanted: int) -> str:
        """So many seats of the story's licence are in use, by as many sessions."""
        active = self.operator.active()
        if active is None:
            return f"nobody active at {VIP}"
        seats = [
            f"{licence.in_use} of {licence.quantity}"
            for licence in active.licences
            if licence.product_code == PRODUCT
        ]
        if seats == [f"{wanted} of {SEATS}"] and active.sessions == wanted:
            return ""
        return f"seats in use: {', '.join(seats) or 'none known'}; sessions: {active.sessions}"


def play(board: Board, story: Story, fault: Fault) -> None:
    """Lose the active twin `fault.rounds` times."""
    times = f", {fault.rounds} times" if fault.rounds > 1 else ""
    with board.step(
        fault.title + times,
        "the other twin takes over; the same session lives on; 1 of 5 seats in use; the VIP on exactly one "
        "twin; who returns stays passive",
    ) as step:
        gaps = story.gaps.setdefault(fault.title, [])
        who = [_round(story, fault, gaps) for _ in range(fault.rounds)]
        step.see(
            f"{'; '.join(who[:2])}{' …' if len(who) > 2 else ''}; session {story.session} alive, "
            f"1 of {SEATS} in use, VIP on one twin, who returned is passive"
        )
        _report(step, fault, gaps)


def _round(story: Story, fault: Fault, gaps: list[float]) -> str:
    wait_for(story.unsettled, _RETURN_S, "both twins and three upstreams ready")
    active = story.operator.active()
    check(active is not None, f"nobody active at {VIP}")
    assert active is not None  # noqa: S101 - for the type checker
    former = active.name
    successor = other(former)
    since = boottime()
    fault.begin(former)
    wait_for(lambda: story.not_active(successor), _TAKE_OVER_S, f"{successor} takes over from {former}")
    wait_for(lambda: story.wrong_vip(successor), _TAKE_OVER_S, "the VIP on one twin")
    now = boottime()
    wait_for(lambda: story.session_trouble(now), _TAKE_OVER_S, "the session lives on")
    story.witness.prober.answered_since(now)
    gaps.append(story.witness.prober.pause(since).ms)
    fault.mend(former)
    wait_for(story.unsettled, _RETURN_S, f"{former} is back")
    check(not (seen := story.not_active(successor)), f"{former} did not stay passive: {seen}")
    return f"{former} to {successor} in {gaps[-1]:.0f} ms"


def _report(step: Step, fault: Fault, gaps: list[float]) -> None:
    each = " ".join(f"{gap:.0f}" for gap in gaps)
    median = statistics.median(gaps)
    met = "met" if median <= fault.goal_ms else "missed on this machine"
    what = f"median {median:.0f} ms of {each}" if len(gaps) > 1 else f"{median:.0f} ms"
    step.see(f"pause at the VIP for a client: {what}; goal {fault.goal_ms:.0f} ms: {met}")
