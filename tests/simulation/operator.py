# SPDX-License-Identifier: Apache-2.0
"""Operator of the system: accepts what the clocks show, if it is right and time does not follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.clock import EPOCH_OF_WALL_CLOCKS
from tmr.quorum.consensus_clock import AGREE_MS
from tmr.quorum.validation import TWO

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOKS = 0.7
"""Seconds between two looks at the status."""
ACTS = 0.3
"""How often a look in the storm is followed by the command; afterwards it always is."""


class Operator:
    """See the module."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rnd = world.stream("operator")
        self._switched = False
        world.at(LOOKS, self._look)

    def _look(self) -> None:
        world = self._world
        world.after(LOOKS, self._look)
        right = EPOCH_OF_WALL_CLOCKS + world.now * 1000 + world.right_ms
        if not world.stormy() and any(TWO in one.acceptor.refused for one in world.upstreams):
            self._begin_another_term()
        for twin in world.twins.values():
            if not (twin.up and twin.holds() and not world.paused(twin.name)):
                continue
            shown = twin.time_waits()
            if shown is None or abs(shown - right) > 2 * AGREE_MS:
                continue
            if not world.stormy() or self._rnd.random() < ACTS:
                world.set_ms = world.right_ms
                world.stats["time accepted"] += 1
                world.tell(f"an operator accepts that it is {shown} at {twin.name}")
                twin.accept_time(shown)

    def _begin_another_term(self) -> None:
        """A copy of a running twin wrote into a journal: a switchover has that replaced."""
        serving = [twin for twin in self._world.twins.values() if twin.holds()]
        if serving and not self._switched:
            self._switched = True
            serving[0].hand_over()
