# SPDX-License-Identifier: Apache-2.0
"""Fault profiles: how often each fault strikes."""

import random

import msgspec
from msgspec.structs import replace

from tmr.twin.replicator import COMMIT_PATIENCE


class FaultProfile(msgspec.Struct, frozen=True):
    """How bad it gets: probabilities for a message, and faults a second."""

    drop: float = 0
    duplicate: float = 0
    slow: float = 0
    crash: float = 0
    """One machine, at any moment or at a named point of its work."""
    blackout: float = 0
    """The power of all five."""
    twins: float = 0
    """Both twins restart at once."""
    retire: float = 0
    """A twin stops in good order, and gives its lease back."""
    hand_over: float = 0
    """A twin gives its lease back for the other one to take, and goes on."""
    partition: float = 0
    pause: float = 0
    """One machine stands still, for longer than a lease or shorter, at any moment or at a named point."""
    wipe: float = 0
    """An upstream loses its disk."""
    replace: float = 0
    """A new machine takes an upstream's place; the old one comes back later."""
    rot: float = 0
    """One bit of an upstream's journal changes while the power of all five is off."""
    restore: float = 0
    """An old copy of an upstream's disk is put back."""
    old_majority: float = 0
    """Old copies of one moment are put back on two upstreams."""
    full: float = 0
    """An upstream's disk is full for a while."""
    clock: float = 0
    """An upstream's wall clock jumps."""
    drift: float = 0
    """The rate of a machine's monotonic clock changes."""
    diverge: float = 0
    """The ledger of an upstream, or of a twin, differs from the others', as after an error of its memory."""
    lonely: float = 0
    """A client reaches neither twin for about the time to live of its session."""
    slowed: float = 0
    """The links of a twin to two upstreams are slow for a while: commands take long, and the lease lives."""
    patience: float = COMMIT_PATIENCE
    """TTLs that a client waits for a commit: as in production, or less than a slow commit takes."""
    host: float = 0
    """The host of one machine pauses it: its clocks stand still as well."""
    setting: float = 0
    """A machine starts again with another length of the lease."""
    sole: float = 0
    """An upstream loses its store, and once it is back another one its power: one constituent is left."""
    leap: float = 0
    """The wall clocks of all upstreams are set forward, by more than outcomes are remembered."""
    disagree: float = 0
    """The wall clocks of two upstreams are wrong for a while, by days, each in its own way."""
    flapping: float = 0
    """The processes of two upstreams die again and again, in turn, within a lease."""
    upgrade: float = 0
    """A machine starts again with the later version, or with the first one."""
    exchange: float = 0
    """New stores are on all three upstreams for a while, and then the former ones again."""
    foreign: float = 0
    """An upstream has a store of another founding for a while."""
    clone: float = 0
    """A copy of a twin's machine runs beside it for a while, under the same name."""
    hang: float = 0
    """An upstream's disk takes seconds for what it was given; the machine goes on."""
    boot: float = 0
    """The power of all five fails, and afterwards all wall clocks show more than a day later."""
    memory: float = 0
    """A copy of a twin's memory runs beside it, or in its place: the same run, of the same name."""
    race: float = 0
    """The monotonic clock of a twin runs fast for a while, by much more than the bound."""
    creep: float = 0
    """The monotonic clock of a twin runs slow for a while, by much more than the bound."""
    downtimes: tuple[float, ...] = (0.05, 0.5, 3.0)
    """Seconds until a machine that crashed is up again."""

    @property
    def elections_only(self) -> bool:
        """Upstreams flap, and twins hand over: no election is kept from its end.

        Not where a twin's process ends: an upstream that was down when its lease was given back takes it
        after each restart that the lease lives.
        """
        quiet = FaultProfile(hand_over=self.hand_over, drift=self.drift)
        return self.flapping > 0 and self == replace(quiet, flapping=self.flapping)

    @classmethod
    def of(cls, rnd: random.Random) -> "FaultProfile":
        """A weather for one run."""
        return cls(
            drop=rnd.choice([0, 0.02, 0.1, 0.25]),
            duplicate=rnd.choice([0, 0.02, 0.1]),
            slow=rnd.choice([0, 0.01, 0.05]),
            crash=rnd.choice([0, 0.2, 0.6]),
            blackout=rnd.choice([0, 0, 0.1]),
            twins=rnd.choice([0, 0, 0.1]),
            retire=rnd.choice([0, 0.1]),
            partition=rnd.choice([0, 0.2, 0.5]),
            pause=rnd.choice([0, 0.2, 0.5]),
            wipe=rnd.choice([0, 0, 0.2]),
            rot=rnd.choice([0, 0, 0.1]),
            replace=rnd.choice([0, 0, 0.2]),
            full=rnd.choice([0, 0, 0.2]),
            clock=rnd.choice([0, 0.2]),
            drift=rnd.choice([0, 0.5]),
            diverge=rnd.choice([0, 0, 0.1]),
            lonely=rnd.choice([0, 0.1]),
            restore=rnd.choice([0, 0, 0.2]),
            hand_over=rnd.choice([0, 0.3]),
            host=rnd.choice([0, 0, 0.3]),
            setting=rnd.choice([0, 0, 0.3]),
            slowed=rnd.choice([0, 0.2]),
            patience=rnd.choice([COMMIT_PATIENCE, 0.1]),
            sole=rnd.choice([0, 0, 0.1]),
            leap=rnd.choice([0, 0.2]),
            old_majority=rnd.choice([0, 0.4]),
            disagree=rnd.choice([0, 0.2]),
            upgrade=rnd.choice([0, 0, 1.0]),
            exchange=rnd.choice([0, 0, 0.2]),
            foreign=rnd.choice([0, 0, 0.2]),
            clone=rnd.choice([0, 0, 0.2]),
            hang=rnd.choice([0, 0, 0.2]),
            flapping=rnd.choice([0, 0, 0.1]),
            boot=rnd.choice([0, 0, 0.15]),
            race=rnd.choice([0, 0, 0.2]),
            memory=rnd.choice([0, 0, 0.2]),
            creep=rnd.choice([0, 0, 0.2]),
        )
