# SPDX-License-Identifier: Apache-2.0
"""One event: something is done to a twin while the prober connects, and the other one takes over."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final

import msgspec

from bench.deployed.figures import Gap, Holding, Requests
from bench.deployed.stand import Stand
from testbed import vip_watcher
from testbed.addresses import other
from testbed.fault_injector import boottime
from testbed.pauses import Pause
from testbed.probing import probing
from testbed.steps import StepFailed, wait_for

_TAKE_OVER_S: Final = 30.0
_WATCHED_S: Final = 10.0
_PAUSE_S: Final = 0.02

Deed = Callable[[str], object]
"""An action on the twin of that name."""


class Took(msgspec.Struct, frozen=True):
    """Result of one event. `at`: Unix time, `since`: CLOCK_BOOTTIME, both of its beginning."""

    at: float
    since: float
    pause: Pause


class System(ABC):
    """A system with an address on one of the twins. `setting`: its configuration now."""

    name: ClassVar[str]
    address: ClassVar[str]
    port: ClassVar[int]

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.setting = ""

    @abstractmethod
    def deeds(self) -> dict[str, tuple[Deed, Deed]]:
        """Event → what is done to the holder of the address, and what makes all whole again."""

    @abstractmethod
    def settle(self) -> None:
        """Wait until all is whole."""

    @abstractmethod
    def kill_holder(self, twin: str) -> None:
        """Kill what holds the address."""

    @abstractmethod
    def restart_holder(self, twin: str) -> None:
        """Start it again, unless it starts by itself."""

    @abstractmethod
    def keep(self, event: str, number: int, victim: str, took: Took) -> None:
        """Keep what the machines say of an event."""

    def victim(self) -> str:
        """The twin that has the address."""
        holders = self.holders()
        if len(holders) != 1:
            raise StepFailed(self.where(holders))
        return holders[0]

    def holders(self) -> tuple[str, ...]:
        """Twins that have the address."""
        return vip_watcher.holders(self.stand.names, self.address)

    def where(self, holders: tuple[str, ...]) -> str:
        """Words for that."""
        return f"{self.address} is on {' and '.join(holders) or 'no twin'}"

    def event(
        self, event: str, number: int, asked: Callable[[float], Requests | None] = lambda _: None
    ) -> Gap:
        """The holder is hit, the other twin has the address, and all is whole again afterwards.

        `asked`: the requests of an application since the event began, looked at before anything is mended.
        """
        deed, mend = self.deeds()[event]
        self.settle()
        victim = self.victim()
        took = self._take_over(victim, deed)
        requests = asked(took.since)
        mend(victim)
        self.settle()
        self.keep(event, number, victim, took)
        pause = took.pause
        return Gap(
            event=event,
            system=self.name,
            setting=self.setting,
            round=number,
            victim=victim,
            at=took.at,
            gap_ms=pause.ms,
            from_ms=pause.from_ns / 1e6 - took.since * 1e3,
            held_up_ms=pause.held_up_ns / 1e6,
            outcomes=pause.outcomes,
            requests=requests,
        )

    def holder(self, event: str, number: int) -> Holding:
        """Kill what holds the address: nobody knows who should have it then, and it is watched."""
        self.settle()
        victim = self.victim()
        with (
            probing(self.stand.names, self.address, self.port) as prober,
            vip_watcher.watching(self.stand.names, self.address) as seen,
        ):
            at, since = time.time(), boottime()
            self.kill_holder(victim)
            time.sleep(_WATCHED_S)  # not a wait for something: so long is looked
            prober.answered_since(boottime())
            took, watched = Took(at, since, prober.pause(since)), seen()
        self.restart_holder(victim)
        self.settle()
        self.keep(event, number, victim, took)
        return Holding(self.name, self.setting, number, victim, watched, took.pause.ms)

    def _take_over(self, victim: str, deed: Deed) -> Took:
        """The pause of the address until the other twin has it, it alone, and answers all the time."""
        successor = other(victim)

        def lacks() -> str:
            holders = self.holders()
            return "" if holders == (successor,) else self.where(holders)

        with probing(self.stand.names, self.address, self.port) as prober:
            at, since = time.time(), boottime()
            deed(victim)
            wait_for(lacks, _TAKE_OVER_S, f"{self.address} on {successor} alone", pause_s=_PAUSE_S)
            prober.answered_since(boottime())
            return Took(at, since, prober.pause(since))
