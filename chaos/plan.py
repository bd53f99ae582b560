# SPDX-License-Identifier: Apache-2.0
"""The plan of a campaign's faults: from a seed and a duration, the same each time. Pure.

A plan names times before which a fault does not strike, and `active` or `passive` where it means a twin by
its role: which one that is, only the campaign knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from testbed import addresses
from testbed.addresses import LEASE_S

UPSTREAMS: Final = tuple(addresses.UPSTREAMS)
TWINS: Final = tuple(addresses.TWINS)
ACTIVE, PASSIVE = "active", "passive"
NEEDS_WHOLE: Final = frozenset({"store-lost", "bit-flipped", "old-copies"})
"""Kinds that destroy something for good: the promise is for one at a time, while the others are whole."""

_FIRST_S: Final = 4.0
_QUIET_S: Final = 8.0
"""No fault begins in the last seconds: its mending would be the end of the campaign."""
_GAP_S: Final = (0.8, 2.5)
_HASTY: Final = 0.25
"""Part of the faults that strike whether or not the system has got over the one before."""


@dataclass(frozen=True)
class Step:
    """One fault to come. `seconds`: from its striking until its cause is taken away.

    `patient`: it waits until the system is whole, so that the promise covers it. `how`: what else its kind
    needs to know: unit, cable, direction, seconds of a clock, rate.
    """

    at: float
    kind: str
    targets: tuple[str, ...]
    seconds: float = 0.0
    how: str = ""
    patient: bool = True


Draw = Callable[[random.Random], Step]


def _kill(unit: str, targets: tuple[str, ...]) -> Draw:
    return lambda source: Step(0, "kill", (source.choice(targets),), how=unit)


def _power_cut(source: random.Random) -> Step:
    upstream = source.choice(UPSTREAMS)
    targets = source.choice([(ACTIVE,), (PASSIVE,), (upstream,), (PASSIVE, upstream), (ACTIVE, upstream)])
    return Step(0, "power-cut", targets, source.uniform(0.5, 4.0))


def _freeze(source: random.Random) -> Step:
    """Longer than a lease: a process that wakes has to notice that its lease is over."""
    return Step(0, "freeze", (source.choice([ACTIVE, ACTIVE, *UPSTREAMS]),), source.uniform(2.5, 5.0))


def _vip_frozen(source: random.Random) -> Step:
    """For about a lease: whatever has waited for it must not be believed."""
    return Step(
        0, "vip-frozen", (source.choice([ACTIVE, ACTIVE, ACTIVE, PASSIVE]),), source.uniform(1.2, 3.0)
    )


def _cable(source: random.Random) -> Step:
    target, cable = source.choice(
        [(ACTIVE, "front"), (ACTIVE, "back"), (PASSIVE, "back"), (source.choice(UPSTREAMS), "back")]
    )
    return Step(0, "cable", (target,), source.uniform(2.0, 4.5), cable)


def _front_filtered(source: random.Random) -> Step:
    """Longer than it takes to notice."""
    return Step(0, "front-filtered", (ACTIVE,), source.uniform(4.0, 7.0))


def _partition(source: random.Random) -> Step:
    """One twin or one upstream speaks and hears nothing, or hears and cannot speak, on the back LAN."""
    target = source.choice([ACTIVE, ACTIVE, *UPSTREAMS])
    return Step(0, "partition", (target,), source.uniform(2.5, 4.5), source.choice(["deaf", "mute"]))


def _disk_full(source: random.Random) -> Step:
    return Step(0, "disk-full", (source.choice(UPSTREAMS),), source.uniform(2.5, 5.0))


def _clock_jump(source: random.Random) -> Step:
    """One clock is wrong, or two by years, each in its own way: no two agree then."""
    if source.random() < 0.5:
        errors = source.sample([-365, 365, 390, 730], 2)
        how = " ".join(f"{days * 86_400:+d}" for days in errors)
        return Step(0, "clock-jump", tuple(source.sample(UPSTREAMS, 2)), source.uniform(3.0, 5.0), how)
    seconds = source.choice([-86_400, -600, -45, 45, 600, 86_400])
    return Step(0, "clock-jump", (source.choice(UPSTREAMS),), source.uniform(3.0, 5.0), f"{seconds:+d}")


def _restart_all(source: random.Random) -> Step:
    return Step(0, "restart-all", (*UPSTREAMS, *TWINS), source.uniform(0.0, 2.0))


def _flapping(source: random.Random) -> Step:
    """Two upstreams whose processes die in turn; `how`: the number of deaths."""
    return Step(0, "flapping", tuple(source.sample(UPSTREAMS, 2)), how=str(source.randint(5, 10)))


def _switchover(_: random.Random) -> Step:
    return Step(0, "switchover", (ACTIVE,))


def _vip_stolen(source: random.Random) -> Step:
    return Step(0, "vip-stolen", (ACTIVE,), source.uniform(2.0, 4.0))


def _flood(source: random.Random) -> Step:
    """One client's heartbeats, or strangers' handshakes: nobody else may wait for them."""
    how = source.choice(["heartbeats", "strangers"])
    return Step(0, "flood", (ACTIVE,), source.uniform(4.0, 7.0), how)


def _store_lost(source: random.Random) -> Step:
    """With power cut of another upstream while the vendor has not issued to the new container: or without."""
    lost, other = source.sample(UPSTREAMS, 2)
    if source.random() < 0.5:
        return Step(0, "store-lost", (lost, other), source.uniform(3.0, 5.0), "and-power")
    return Step(0, "store-lost", (lost,))


def _bit_flipped(source: random.Random) -> Step:
    """In a row of the journal, so many percent from its beginning, while the power of all is off."""
    return Step(0, "bit-flipped", (source.choice(UPSTREAMS),), how=f"{source.randint(0, 100)}%")


def _old_copies(source: random.Random) -> Step:
    """Of two upstreams and one moment, put back so many seconds later while the power of all is off."""
    return Step(0, "old-copies", tuple(sorted(source.sample(UPSTREAMS, 2))), source.uniform(3.0, 5.0))


def _slow_links(source: random.Random) -> Step:
    targets = source.choice(
        [tuple(sorted(source.sample(UPSTREAMS, 2))), (ACTIVE,), (source.choice(UPSTREAMS),)]
    )
    return Step(
        0, "slow-links", targets, source.uniform(4.0, 6.0), source.choice(["300kbit", "1mbit", "3mbit"])
    )


def _lease_set(source: random.Random) -> Step:
    """Shorter or longer, machine by machine, and back again."""
    return Step(0, "lease-set", (), source.uniform(1.0, 3.0), source.choice(["1.5", "3.0"]))


def _host_pause(source: random.Random) -> Step:
    """From one to three leases: a machine that wakes finds its own clocks where they were."""
    target = source.choice([ACTIVE, ACTIVE, *UPSTREAMS])
    return Step(0, "host-pause", (target,), source.uniform(1.0, 3.0) * LEASE_S)


def _clocks_behind(source: random.Random) -> Step:
    """The wall clocks of all upstreams are behind alike when the site boots, and are set right later."""
    return Step(0, "clocks-behind", UPSTREAMS, source.uniform(2.0, 4.0), f"-{source.choice([600, 3600])}")


def _majority_lost(source: random.Random) -> Step:
    """Beyond the promise: no licence may be given out, and none be lost."""
    targets = tuple(sorted(source.sample(UPSTREAMS, 2)))
    return Step(0, "majority-lost", targets, source.uniform(2.0, 4.0), source.choice(["power", "freeze"]))


def _twins_lost(source: random.Random) -> Step:
    return Step(0, "twins-lost", TWINS, source.uniform(1.0, 2.5))


def _rules_flushed(source: random.Random) -> Step:
    """Another program takes the rules of the firewall away, or empties them: the policy drops then."""
    how = source.choice(["flush ruleset", "flush chain inet tmr input"])
    return Step(0, "rules-flushed", (source.choice([ACTIVE, ACTIVE, *UPSTREAMS]),), 1.0, how)


def _log_frozen(source: random.Random) -> Step:
    """The system's journal takes nothing: a daemon that fills its socket stands still."""
    return Step(0, "log-frozen", (source.choice([ACTIVE, ACTIVE, *UPSTREAMS]),), source.uniform(4.0, 8.0))


def _packet_loss(source: random.Random) -> Step:
    target = source.choice([ACTIVE, ACTIVE, *UPSTREAMS])
    return Step(0, "packet-loss", (target,), source.uniform(4.0, 7.0), f"{source.choice([5, 20, 40])}%")


def _no_memory(source: random.Random) -> Step:
    """The kernel kills the daemon for its memory, and again when it has been started."""
    return Step(0, "no-memory", (source.choice([ACTIVE, ACTIVE, *UPSTREAMS]),), source.uniform(3.0, 5.0))


def _twin_disk_full(source: random.Random) -> Step:
    """A twin cannot write its anchor."""
    return Step(0, "twin-disk-full", (source.choice([ACTIVE, PASSIVE]),), source.uniform(3.0, 5.0))


def _twin_clock(source: random.Random) -> Step:
    """The wall clock of a twin, which decides nothing."""
    seconds = source.choice([-86_400 * 365, -3600, 3600, 86_400 * 365])
    return Step(
        0, "twin-clock", (source.choice([ACTIVE, PASSIVE]),), source.uniform(3.0, 5.0), f"{seconds:+d}"
    )


_DECK: Final[tuple[Draw, ...]] = (
    _kill("tmr-server", (ACTIVE,)),
    _kill("tmr-upstream", UPSTREAMS),
    _kill("tmr-vip", (ACTIVE,)),
    _power_cut,
    _power_cut,
    _freeze,
    _vip_frozen,
    _cable,
    _front_filtered,
    _partition,
    _disk_full,
    _clock_jump,
    _restart_all,
    _flapping,
    _switchover,
    _vip_stolen,
    _majority_lost,
    _twins_lost,
    _store_lost,
    _bit_flipped,
    _old_copies,
    _slow_links,
    _lease_set,
    _host_pause,
    _clocks_behind,
)
_LAST: Final[tuple[Draw, ...]] = (
    _flood,
    _rules_flushed,
    _log_frozen,
    _packet_loss,
    _no_memory,
    _twin_disk_full,
    _twin_clock,
)
"""Dealt after all others, so that a kind that joins leaves the beginning of each seed as it was."""
KINDS: Final = frozenset(draw(random.Random(0)).kind for draw in (*_DECK, *_LAST))  # noqa: S311 - a plan


def plan(seed: int, seconds: float) -> tuple[Step, ...]:
    """The faults of a campaign of so many seconds: dealt from a deck of all kinds, again and again."""
    return tuple(_steps(random.Random(f"chaos {seed}"), seconds))  # noqa: S311 - a plan, no secret


def _steps(source: random.Random, seconds: float) -> Iterator[Step]:
    at, deck = _FIRST_S, list[Draw]()
    while at < seconds - _QUIET_S:
        if not deck:
            deck = [*_LAST, *source.sample(_DECK, len(_DECK))]  # dealt from the end
        drawn = deck.pop()(source)
        hasty = source.random() < _HASTY and drawn.kind not in NEEDS_WHOLE
        gap = source.uniform(*_GAP_S)
        if at + drawn.seconds > seconds - _QUIET_S:
            continue
        yield Step(at, drawn.kind, drawn.targets, drawn.seconds, drawn.how, patient=not hasty)
        at += drawn.seconds + gap
