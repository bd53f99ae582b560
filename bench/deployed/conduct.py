# SPDX-License-Identifier: Apache-2.0
"""One run: boots, playbooks, rounds of events for both systems in alternation, shorter leases at the end."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench.deployed.figures import (
    AT_WORK,
    CABLE,
    HOLDER,
    PLANNED,
    POWER,
    SERVER,
    TMR,
    Figures,
    Missing,
)
from bench.deployed.keepalived import DEFAULT, QUICK, Keepalived
from bench.deployed.report import describe
from bench.deployed.stand import Stand
from bench.deployed.system import System
from bench.deployed.tmr import Tmr
from lab import host
from lab.errors import LabError
from lab.names import LabNames, state_root
from testbed.addresses import LEASE_S
from testbed.machine import machine
from testbed.report import write
from testbed.steps import StepFailed
from tmr.client import TmrError

SHORTER_S = (1.5,)
_REPEATED = 3
"""Boots and unchanged playbooks, at most."""
_FAILURES = (LabError, StepFailed, TmrError)

T = TypeVar("T")


def lease(seconds: float) -> str:
    """A setting of TMR."""
    return f"lease {seconds:g} s"


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """A lab of its own, which is removed whatever happens; one that an earlier run left goes first."""
    host.require_root("python -m bench deployed")
    host.require_tools()
    figures = Figures(machine(), 1 if options.short else options.rounds)
    options.out.mkdir(parents=True, exist_ok=True)
    stand = Stand(LabNames("bench", state_root()), say)
    try:
        Run(stand, figures, options.out, short=options.short).play()
    finally:
        stand.close()
        say(str(write(options.out, "deployed", describe(figures), figures)))
    return 1 if figures.missing else 0


class Run:
    """Fills `figures` as it goes: what was measured is kept whatever comes after it."""

    def __init__(self, stand: Stand, figures: Figures, directory: Path, *, short: bool) -> None:
        self._stand, self._figures, self._directory, self._short = stand, figures, directory, short

    def play(self) -> None:
        """Everything. Raises LabError or StepFailed where it cannot go on."""
        self._deploy()
        journals = self._directory / "deployed-journals.txt"
        journals.unlink(missing_ok=True)
        tmr, keepalived = Tmr(self._stand, self._stand.issue(), journals), Keepalived(self._stand)
        tmr.setting = lease(LEASE_S)
        keepalived.install()
        for number in range(self._figures.rounds):
            self._tmr(tmr, number)
            self._keepalived(keepalived, number)
        if not self._short:
            for seconds in SHORTER_S:
                self._shorter(tmr, seconds)

    def _deploy(self) -> None:
        stand, figures = self._stand, self._figures
        repeated = min(_REPEATED, figures.rounds)
        for _ in range(repeated):
            figures.boots.append(stand.boot())
            self._stand.say(f"booted in {figures.boots[-1].all:.1f} s")
        figures.first.append(stand.deploy())
        self._stand.say(f"site.yml in {figures.first[-1].seconds:.0f} s")
        for _ in range(repeated):
            figures.unchanged.append(stand.deploy())
            self._stand.say(f"site.yml once more in {figures.unchanged[-1].seconds:.0f} s")
        stand.settle()

    def _tmr(self, tmr: Tmr, number: int) -> None:
        events = (SERVER, AT_WORK) if self._short else (SERVER, CABLE, PLANNED, AT_WORK, POWER)
        self._events(tmr, events, number)
        self._holder(tmr, number)

    def _keepalived(self, keepalived: Keepalived, number: int) -> None:
        events = (PLANNED,) if self._short else (PLANNED, CABLE, POWER)
        with keepalived.running(DEFAULT):
            self._events(keepalived, events, number)
            self._holder(keepalived, number)
        if not self._short:
            with keepalived.running(QUICK):
                self._events(keepalived, (POWER,), number)

    def _shorter(self, tmr: Tmr, seconds: float) -> None:
        tmr.setting = lease(seconds)

        def configured() -> bool:
            self._stand.deploy("-e", f'{{"tmr_lease_ttl": {seconds}}}')
            self._stand.settle()
            return True

        started = time.time()
        if self._attempt(f"{TMR}, {tmr.setting}", configured):
            for number in range(self._figures.rounds):
                self._events(tmr, (POWER,), number)
        else:
            told = self._stand.journal(started)
            (self._directory / f"deployed-lease-{seconds:g}.txt").write_text("\n".join([*told, ""]))

    def _events(self, system: System, events: Sequence[str], number: int) -> None:
        name = f"{system.name}, {system.setting}"
        for event in events:
            play = partial(system.event, event, number)
            found = self._attempt(f"{name}: {event}, round {number + 1}", play)
            if found is not None:
                self._figures.gaps.append(found)
                self._stand.say(
                    f"round {number + 1}  {name}: {event} of {found.victim}: {found.gap_ms:.1f} ms"
                )

    def _holder(self, system: System, number: int) -> None:
        play = partial(system.holder, HOLDER, number)
        found = self._attempt(f"{system.name}: {HOLDER}, round {number + 1}", play)
        if found is not None:
            self._figures.holdings.append(found)
            seen = found.seen
            self._stand.say(
                f"round {number + 1}  {system.name}: {HOLDER} on {found.victim}: on {seen.most} at most, on "
                f"two for {seen.both_s:.1f} s of {seen.seconds:.1f} s, {seen.looks} looks; "
                f"{found.gap_ms:.1f} ms"
            )

    def _attempt(self, what: str, play: Callable[[], T]) -> T | None:
        """Result of `play`; else the failure is among the figures, and the machines are mended."""
        try:
            return play()
        except _FAILURES as error:
            self._stand.say(f"{what}: {error}")
            self._figures.missing.append(Missing(what, str(error)))
            self._stand.faults.mend()
            return None
