# SPDX-License-Identifier: Apache-2.0
"""Check that a twin notices a pause by its host, as soon as two upstreams' answers show it.

No promise depends on this alone: whatever a paused twin answers needs a round of messages, and the leases
that two upstreams grant after the pause are right. So the rule is checked itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tmr.quorum.messages import Append, Reply, Request

if TYPE_CHECKING:
    from .twin import SimTwin
    from .world import World

PROMPT = 0.15
"""Seconds between question and answer, at most, of an answer that tells nearly what a clock shows."""
SLACK = 0.5
"""Seconds of a pause that do not show: two such answers, and drift since the first."""
RECENT = 5.0
"""Seconds before the pause in which the first of them came."""
SHARE = 0.9
"""Part of the time to live after the pause in which both upstreams answer."""

Run = tuple[str, int, int]
"""A process of a twin, with one memory."""


class Pause(msgspec.Struct):
    """A pause of an active twin."""

    began: float
    """True time."""
    seconds: float
    mark: float
    """The questions after it were sent at this time or later, by the twin's own clock."""
    epoch: int
    shown: set[str] = msgspec.field(default_factory=set)
    """Disks whose upstreams' answers have shown it."""


class PauseCheck:
    """See the module."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._prompt: dict[tuple[Run, str], float] = {}
        """When this run last had a prompt answer of this disk, true time."""
        self._pauses: dict[Run, Pause] = {}
        self._stood_still: dict[str, float] = {}
        """Upstreams whose clocks stood still → until when, true time; infinite: they do."""

    def stopped(self, name: str) -> None:
        """The host pauses a machine."""
        self._stood_still[name] = float("inf")

    def went_on(self, name: str, seconds: float) -> None:
        """The host lets the machine go on after so many seconds; 0: its clock went wrong in another way."""
        now = self._stood_still[name] = self.world.now
        if (twin := self.world.twins.get(name)) is None:
            return
        epoch = twin.twin.epoch if twin.twin.role == "active" and seconds else -1
        mark = twin.twin.read_mark(twin.now())
        self._pauses[self._run(twin)] = Pause(now - seconds, seconds, mark, epoch)

    def answered(self, twin: SimTwin, slot: int, sent_at: float, request: Request, reply: Reply) -> None:
        """The twin has handled this answer; it has given its term up, if this shows a pause."""
        run, disk, upstream = self._run(twin), reply.state.replica_id, self.world.upstreams[slot]
        if not isinstance(request, Append) or twin.now() - sent_at > PROMPT or upstream.disk.name != disk:
            return
        pause = self._pauses.get(run)
        if pause is not None and sent_at < pause.mark:
            return  # read before the pause was over
        before = self._prompt.get((run, disk), float("-inf"))
        self._prompt[run, disk] = self.world.now
        if pause is None or before > pause.began or pause.began - before > RECENT:
            return
        if self._stood_still.get(upstream.name, float("-inf")) < before:
            pause.shown.add(disk)
        if len(pause.shown) > 1 and self._goes_on(twin, pause):
            self.world.checker.fail(
                f"{twin.name} was paused by its host for {pause.seconds:.1f} s, and serves on all the same"
            )

    def _goes_on(self, twin: SimTwin, pause: Pause) -> bool:
        """The twin is in the term of before, though the pause was long enough, and its clock right else."""
        proposer = twin.twin
        timing = proposer.timing
        return (
            (proposer.role, proposer.epoch) == ("active", pause.epoch)
            and pause.seconds > timing.pause + SLACK
            and twin.now() - pause.mark < SHARE * timing.ttl
            and proposer.owner not in self.world.copied
            and not self.world.stats["clock races"]
        )

    @staticmethod
    def _run(twin: SimTwin) -> Run:
        return twin.name, twin.boot, twin.remembered
