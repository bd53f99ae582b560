# SPDX-License-Identifier: Apache-2.0
"""Draws the faults of one run from its weather, before it begins."""

import random
from collections.abc import Callable, Iterator

from tests.simulation.fault_profile import FaultProfile
from tests.simulation.faults import Fault
from tests.simulation.names import CLIENTS, TWINS, UPSTREAMS
from tests.simulation.versions import LATER
from tmr.quorum.entries import FIRST
from tmr.quorum.lease import DRIFT

UPSTREAM_POINTS = ("received", "written, not synced", "synced, not answered")
TWIN_POINTS = ("decided, not sent", "answer received", "committed, not checked", "checked, not answered")

LEASES = (1.2, 2.0, 3.0)
"""Seconds that the lease is set to."""


def plan(profile: FaultProfile, rnd: random.Random, storm: float) -> list[Fault]:
    """Faults in `storm` seconds, in their order."""
    kinds: tuple[tuple[float, Callable[[random.Random, FaultProfile, float], Fault]], ...] = (
        (profile.crash, _crash),
        (profile.blackout, _blackout),
        (profile.twins, _twins),
        (profile.retire, _retire),
        (profile.partition, _partition),
        (profile.pause, _pause),
        (profile.wipe, _wipe),
        (profile.rot, _rot),
        (profile.replace, _replace),
        (profile.restore, _restore),
        (profile.full, _full),
        (profile.drift, _drift),
        (profile.diverge, _diverge),
        (profile.diverge, _diverge_twin),
        (profile.diverge, _diverge_stored),
        (profile.lonely, _lonely),
        (profile.hand_over, _hand_over),
        (profile.upgrade, _upgrade),
        (profile.setting, _setting),
        (profile.host, _host),
        (profile.slowed, _slowed),
        (profile.sole, _sole),
        (profile.leap, _leap),
        (profile.old_majority, _old_majority),
        (profile.disagree, _disagree),
        (profile.exchange, _exchange),
        (profile.foreign, _foreign),
        (profile.clone, _clone),
        (profile.hang, _hang),
        (profile.flapping, _flapping),
        (profile.upgrade, _newer_command),
        (profile.race, _race),
        (profile.memory, _memory),
        (profile.creep, _creep),
    )
    faults = [make(rnd, profile, at) for rate, make in kinds for at in _moments(rate, rnd, storm)]
    # One wrong clock at a time is what the median survives; that one may jump again and again.
    wrong = rnd.choice(UPSTREAMS)
    for at in _moments(profile.clock, rnd, storm):
        skew = rnd.choice((-1, 1)) * 10 ** rnd.uniform(3, 9)
        faults.append(Fault("wall clock jumps", at, (wrong,), value=skew))
    faults += [_at_boot(rnd, profile, at) for at in _moments(profile.boot, rnd, storm)]
    return sorted(faults, key=lambda fault: fault.at)


def _moments(rate: float, rnd: random.Random, storm: float) -> Iterator[float]:
    at = rnd.expovariate(rate) if rate else storm
    while at < storm:
        yield at
        at += rnd.expovariate(rate)


def _point(rnd: random.Random, name: str) -> str:
    if name in UPSTREAMS:
        return rnd.choice(("", *UPSTREAM_POINTS))
    return rnd.choice(("", *TWIN_POINTS)) if name in TWINS else ""


def _crash(rnd: random.Random, profile: FaultProfile, at: float) -> Fault:
    name = rnd.choice((*UPSTREAMS, *UPSTREAMS, *TWINS, *TWINS, *TWINS, rnd.choice(CLIENTS)))
    return Fault("crash", at, (name,), rnd.choice(profile.downtimes), _point(rnd, name), rnd.random())


def _blackout(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("power cut", at, (*UPSTREAMS, *TWINS), rnd.uniform(0.05, 2.0), value=rnd.random())


def _twins(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("both twins restart", at, TWINS, rnd.uniform(0.05, 1.0))


def _retire(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("orderly stop", at, (rnd.choice(TWINS),), rnd.uniform(0.1, 1.0))


def _upgrade(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    version = rnd.choice((FIRST, LATER, LATER, LATER))
    return Fault("version", at, (rnd.choice((*UPSTREAMS, *TWINS)),), rnd.uniform(0.05, 1.0), value=version)


def _hand_over(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("switchover", at, (rnd.choice(TWINS),))


def _partition(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    twin, victims = rnd.choice(TWINS), rnd.sample(UPSTREAMS, rnd.choice((1, 2, 3)))
    there = [f"{twin}>{upstream}" for upstream in victims]
    back = [f"{upstream}>{twin}" for upstream in victims]
    kind, links = rnd.choice(
        (("cut", there + back), ("cut", there + back), ("one-way cut", there), ("one-way cut", back))
    )
    return Fault(kind, at, tuple(links), rnd.uniform(0.1, 6.0))


def _pause(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    name = rnd.choice((*UPSTREAMS, *TWINS, *TWINS, *TWINS, rnd.choice(CLIENTS)))
    return Fault(
        "pause", at, (name,), rnd.choice((rnd.uniform(0.05, 5.0), rnd.uniform(2.0, 5.0))), _point(rnd, name)
    )


def _rot(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    damaged = rnd.choice(UPSTREAMS)
    others = [name for name in (*TWINS, *UPSTREAMS) if name != damaged]
    return Fault("bit flipped", at, (damaged, *others), rnd.uniform(0.05, 1.0), value=rnd.random())


def _wipe(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("disk lost", at, (rnd.choice(UPSTREAMS),), rnd.uniform(0.05, 1.0))


def _sole(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    lost, dark = rnd.sample(UPSTREAMS, 2)
    return Fault("store and power", at, (lost, dark), rnd.uniform(1.0, 4.0), value=rnd.uniform(0.05, 0.5))


def _replace(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault(
        "replaced", at, (rnd.choice(UPSTREAMS),), rnd.uniform(0.05, 1.0), value=rnd.uniform(0.5, 4.0)
    )


def _restore(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("copied", at, (rnd.choice(UPSTREAMS),), rnd.uniform(0.05, 1.0), value=rnd.uniform(0.3, 6.0))


def _old_majority(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    """The last of `who` is the upstream that stays whole, and away for `seconds`."""
    return Fault(
        rnd.choice(("two copied", "two copied, twins restart", "two copied, power cut")),
        at,
        tuple(rnd.sample(UPSTREAMS, 3)),
        rnd.choice((0.0, rnd.uniform(0.5, 4.0))),
        value=rnd.uniform(0.3, 4.0),
    )


def _full(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("disk full", at, (rnd.choice(UPSTREAMS),), rnd.uniform(0.5, 4.0))


def _hang(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("disk hangs", at, (rnd.choice(UPSTREAMS),), rnd.uniform(0.5, 5.0))


def _clone(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("twin cloned", at, (rnd.choice(TWINS),), rnd.uniform(1.0, 5.0))


def _drift(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    rate = 1 + rnd.choice((-1, 1, rnd.uniform(-1, 1))) * DRIFT
    return Fault("clock drifts", at, (rnd.choice((*UPSTREAMS, *TWINS, *CLIENTS)),), value=rate)


def _memory(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    kind = rnd.choice(("memory copied", "memory put back"))
    return Fault(kind, at, (rnd.choice(TWINS),), rnd.choice((rnd.uniform(0.05, 1.0), rnd.uniform(0.5, 5.0))))


def _race(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("clock races", at, (rnd.choice(TWINS),), rnd.uniform(1.0, 8.0), value=rnd.uniform(1.1, 4.0))


def _creep(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("clock creeps", at, (rnd.choice(TWINS),), rnd.uniform(1.0, 8.0), value=rnd.uniform(0.2, 0.9))


def _diverge(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("ledger differs", at, (rnd.choice(UPSTREAMS),))


def _diverge_twin(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("twin ledger differs", at, (rnd.choice(TWINS),))


def _diverge_stored(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    """With the machine, the power of all five may fail: it is up first."""
    wrong = rnd.choice(UPSTREAMS)
    others = rnd.choice(((), (*TWINS, *(name for name in UPSTREAMS if name != wrong))))
    return Fault("stored ledger differs", at, (wrong, *others), rnd.uniform(0.05, 1.0))


def _host(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    name = rnd.choice((*UPSTREAMS, *TWINS, *TWINS, *TWINS))
    seconds = rnd.choice((rnd.uniform(0.05, 5.0), rnd.uniform(2.0, 5.0)))
    return Fault("paused by the host", at, (name,), seconds, _point(rnd, name))


def _setting(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    name = rnd.choice((*UPSTREAMS, *TWINS))
    return Fault("lease setting", at, (name,), rnd.choice((0.05, 0.5)), value=rnd.choice(LEASES))


def _lonely(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    client = rnd.choice(CLIENTS)
    links = [f"{client}>{twin}" for twin in TWINS] + [f"{twin}>{client}" for twin in TWINS]
    return Fault("client cut off", at, tuple(links), rnd.uniform(2.5, 4.2))


def _slowed(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    twin, victims = rnd.choice(TWINS), rnd.sample(UPSTREAMS, 2)
    links = [link for upstream in victims for link in (f"{twin}>{upstream}", f"{upstream}>{twin}")]
    return Fault("slow links", at, tuple(links), rnd.uniform(1.0, 5.0), value=rnd.uniform(0.05, 0.4))


def _flapping(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    """`value`: the part of the time between two deaths that a process is down, up to nearly both of it."""
    who = tuple(rnd.sample(UPSTREAMS, 2))
    return Fault("flapping upstreams", at, who, rnd.uniform(2.0, 9.0), value=rnd.uniform(0.2, 1.5))


def _leap(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("clocks set", at, UPSTREAMS, value=rnd.uniform(0.7e6, 3.7e6))


def _disagree(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    """By more than one clock alone is ever wrong here: no two of them agree by chance."""
    days = rnd.choice((-1, 1, 1)) * rnd.uniform(20, 400)
    who = tuple(rnd.sample(UPSTREAMS, 2))
    return Fault("two wall clocks wrong", at, who, rnd.uniform(1.0, 6.0), value=days * 86_400_000)


def _exchange(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    """With a `value` below a half both twins restart meanwhile."""
    return Fault("stores exchanged", at, UPSTREAMS, rnd.uniform(0.1, 1.5), value=rnd.random())


def _foreign(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("foreign store", at, (rnd.choice(UPSTREAMS),), rnd.uniform(0.5, 4.0))


def _newer_command(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    return Fault("newer command", at, (rnd.choice(TWINS),))


def _at_boot(rnd: random.Random, _profile: FaultProfile, at: float) -> Fault:
    """By more than certified time may go forward at once."""
    kind = rnd.choice(("wrong clocks at boot", "days without power", "days without power, time source"))
    days = rnd.choice((rnd.uniform(1.1, 3), rnd.uniform(3, 400)))
    return Fault(kind, at, (*UPSTREAMS, *TWINS), rnd.uniform(0.05, 1.5), value=days * 86_400_000)
