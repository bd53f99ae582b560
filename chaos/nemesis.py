# SPDX-License-Identifier: Apache-2.0
"""Carries a plan of faults out, one after the other, and writes down when each struck and was taken away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

from chaos.plan import ACTIVE, NEEDS_WHOLE, PASSIVE, TWINS, UPSTREAMS, Step
from chaos.records import FAULTS, Fault, append
from chaos.watcher import Look, Watcher
from testbed.addresses import LEASE_S, SERVERS
from testbed.deployment import Say
from testbed.fault_injector import FaultInjector, boottime
from testbed.flood import Kind
from testbed.operator import Operator
from testbed.vendor import Vendor
from tmr.client import TmrError

_PATIENCE_S = 30.0
_TAKE_OVER_S = 20.0
_REJOIN_S = 60.0
_TOLD_S = 45.0


class Nemesis:
    """Strikes the machines of one lab. All its waiting is for what the watcher sees."""

    def __init__(
        self,
        faults: FaultInjector,
        watcher: Watcher,
        operator: Operator,
        vendor: Vendor,
        directory: Path,
        began: float,
        say: Say,
    ) -> None:
        self._faults, self._watcher, self._operator, self._vendor = faults, watcher, operator, vendor
        self._file, self._began, self._say = directory / FAULTS, began, say

    def _now(self) -> float:
        return round(boottime() - self._began, 3)

    def play(self, steps: Sequence[Step], seconds: float) -> list[Fault]:
        """All faults that are over before `seconds`; those that have struck."""
        struck = []
        for step in steps:
            time.sleep(max(0.0, step.at - self._now()))
            if self._now() + step.seconds > seconds:
                continue  # the machines took their time to get over the ones before
            if step.patient and (lacks := self._watcher.wait(lambda look: look.unwhole(), _PATIENCE_S)):
                self._say(f"the system is not whole yet ({lacks})")
                if step.kind in NEEDS_WHOLE:
                    continue
            targets = self._resolve(step.targets)
            if targets is None:
                self._say(f"{step.kind}: no twin is active, nobody to strike")
                continue
            struck.append(self._strike(step, targets))
        return struck

    def _resolve(self, targets: Sequence[str]) -> tuple[str, ...] | None:
        """Machines, where the plan names roles; None while nobody has that role."""
        if not {ACTIVE, PASSIVE} & set(targets):
            return tuple(targets)
        active = self._watcher.latest.active()
        if active is None:
            return None
        passive = next(name for name in TWINS if name != active)
        return tuple({ACTIVE: active, PASSIVE: passive}.get(name, name) for name in targets)

    def _strike(self, step: Step, targets: tuple[str, ...]) -> Fault:
        fault = Fault(step.kind, list(targets), self._now(), detail=step.how)
        hasty = "" if step.patient else ", before it is whole again"
        who = " ".join(
            f"{target} ({role})" if target != role else target
            for target, role in zip(targets, step.targets, strict=True)
        )
        lasts = f" for {step.seconds:.1f} s" if step.seconds else ""
        self._say(f"{step.kind:15}{who}{f' {step.how}' if step.how else ''}{lasts}{hasty}")
        self._fault = fault
        with self._way(step, targets):
            if step.kind not in _OWN_TIME:
                time.sleep(step.seconds)
        if fault.ended is None:
            fault.ended = self._now()
        append(self._file, [fault])
        return fault

    def _way(self, step: Step, targets: Sequence[str]) -> AbstractContextManager[None]:
        """A context that strikes, and takes the cause away."""
        if step.kind in _OWN:
            return _OWN[step.kind](self, step, targets)
        if step.kind in _MEANWHILE:
            return _MEANWHILE[step.kind](self._faults, targets)
        if step.kind == "majority-lost":
            return self._between("power-cut" if step.how == "power" else "freeze", step, targets)
        return self._between(_LIKE.get(step.kind, step.kind), step, targets)

    @contextmanager
    def _between(self, kind: str, step: Step, targets: Sequence[str]) -> Iterator[None]:
        strike, mend = _BETWEEN[kind]
        strike(self._faults, targets, step.how)
        try:
            yield
        finally:
            mend(self._faults, targets, step.how)

    @contextmanager
    def _part(self, kind: str, *targets: str) -> Iterator[None]:
        """A fault of its own within the one that is under way."""
        part = Fault(kind, list(targets), self._now())
        yield
        part.ended = self._now()
        append(self._file, [part])

    def _whole(self, what: str, timeout_s: float = _REJOIN_S) -> bool:
        """Wait until the system is whole; say what was done when it is not in time."""
        lacks = self._watcher.wait(lambda look: look.unwhole(), timeout_s)
        if lacks:
            self._say(f"{what}: the system is not whole after {timeout_s:.0f} s: {lacks}")
        return not lacks

    def _hear(self, machines: Sequence[str], word: str) -> None:
        """Wait until each of these machines has an alarm with this word, and write the alarms down."""

        def silent(look: Look) -> str:
            found = {name: [text for text in look.alarms(name) if word in text] for name in machines}
            self._fault.told = [f"{name}: {texts[0]}" for name, texts in found.items() if texts]
            return ", ".join(name for name, texts in found.items() if not texts)

        if missing := self._watcher.wait(silent, _TOLD_S):
            self._say(f"no alarm with `{word}` within {_TOLD_S:.0f} s on {missing}")

    # -- kinds with a way of their own ---------------------------------------------------

    @contextmanager
    def _kill(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        self._faults.kill(targets[0], step.how)
        yield

    @contextmanager
    def _flapping(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        """Each death comes as soon as the process that died before is being started again."""
        for number in range(int(step.how)):
            self._faults.kill(targets[number % len(targets)], "tmr-upstream")
        yield

    @contextmanager
    def _clock(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        for target, seconds in zip(targets, step.how.split(), strict=True):
            self._faults.set_clock(target, seconds)
        try:
            yield
        finally:
            for target in targets:
                self._faults.set_clock(target, "0")

    @contextmanager
    def _switchover(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        other = next(name for name in TWINS if name != targets[0])
        for _again in range(2):  # the first may go into a connection to the twin that had the address before
            try:
                self._operator.switchover()
            except TmrError as error:
                self._say(f"the switchover was not confirmed: {error.message}")
                if self._watcher.latest.active() == targets[0]:
                    continue
            else:
                self._watcher.wait(lambda look: "" if look.active() == other else "not yet", _TAKE_OVER_S)
            break
        yield

    @contextmanager
    def _store_lost(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        """The upstream is readmitted by itself; the vendor issues to its new container, which is trusted."""
        lost = targets[0]
        self._faults.lose_store(lost)
        if self._whole(f"{lost} lost its store") and step.how:
            with self._part("two-of-three-and-power", *targets):
                self._faults.power_off(targets[1])
                time.sleep(step.seconds)
                self._faults.power_on(targets[1])
            self._whole(f"{targets[1]} is back")
        self._vendor.reissue()
        self._operator.trust(lost, self._faults.fingerprint(lost))
        self._watcher.wait(Look.short_of_votes, _REJOIN_S)
        yield

    @contextmanager
    def _bit_flipped(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        """The damaged machine is up first, then the twins: these mirror it while nobody contradicts."""
        damaged, *_ = targets
        self._fault.machines = [damaged, *(name for name in SERVERS if name != damaged)]
        self._faults.power_off(*SERVERS)
        self._say(f"{damaged}: {self._faults.flip_bit(damaged, int(step.how.rstrip('%')))}")
        self._faults.power_on(damaged)
        self._watcher.wait(lambda look: "" if look.upstreams.get(damaged) else damaged, _TOLD_S)
        self._faults.power_on(*TWINS)
        self._faults.power_on(*UPSTREAMS)
        self._fault.ended = self._now()
        self._hear([damaged], "the disk changed what this upstream had stored")
        self._hear(TWINS, f"the disk of {damaged} changed")
        self._whole(f"{damaged} had a flipped bit")
        yield

    @contextmanager
    def _old_copies(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        """Both twins must object until the third upstream is back, which has everything."""
        (third,) = set(UPSTREAMS) - set(targets)
        self._faults.copy_stores(*targets)
        time.sleep(step.seconds)  # clients work, and the twins' anchors follow
        self._fault.machines, self._fault.began = [*targets, third, *TWINS], self._now()
        self._faults.power_off(*targets)
        # What was confirmed by those two in the last moment is still on its way to the third.
        if lacks := self._watcher.wait(lambda look: look.behind(third), _PATIENCE_S):
            self._say(f"{third} lacks what was committed ({lacks}): no copies are put back")
            self._faults.power_on(*targets)
            yield
            return
        self._faults.power_off(third, *TWINS)
        self._faults.put_back_stores(*targets)
        with self._part("old-majority", *self._fault.machines):
            self._faults.power_on(*targets, *TWINS)
            self._hear(TWINS, "--accept-loss")
        self._faults.power_on(third)
        self._fault.ended = self._now()
        self._whole(f"old copies of {' and '.join(targets)}")
        yield

    @contextmanager
    def _lease_set(self, step: Step, _: Sequence[str]) -> Iterator[None]:
        self._set_lease(float(step.how))
        try:
            time.sleep(step.seconds)
            yield
        finally:
            self._set_lease(LEASE_S)

    def _set_lease(self, seconds: float) -> None:
        """Machine by machine, as site.yml does: upstreams first; the active twin last."""
        active = self._watcher.latest.active()
        for target in (*UPSTREAMS, *sorted(TWINS, key=lambda name: name == active)):
            with self._part("restart", target):
                self._faults.set_lease(target, seconds)
            self._whole(f"the lease of {target} is {seconds:g} s", _PATIENCE_S)

    @contextmanager
    def _clocks_behind(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        self._fault.machines = [*SERVERS]
        for target in targets:
            self._faults.set_clock(target, step.how)
        try:
            self._faults.power_off(*SERVERS)
            self._faults.power_on(*SERVERS)
            self._fault.ended = self._now()
            self._whole("the clocks are behind")
            time.sleep(step.seconds)
            yield
        finally:
            for target in targets:
                self._faults.set_clock(target, "0")

    @contextmanager
    def _flood(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        with self._faults.flooded(targets[0], cast(Kind, step.how)) as answers:
            yield
        self._say(f"the flood was told {answers}")

    @contextmanager
    def _rules_flushed(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        self._faults.change_rules(targets[0], step.how)
        yield
        if lacks := self._faults.rules_lack(targets[0]):
            self._say(f"{targets[0]}: {lacks}")


Do = Callable[[FaultInjector, Sequence[str], str], object]
"""An action on targets; `how` as in the step."""

_BETWEEN: dict[str, tuple[Do, Do]] = {
    "power-cut": (lambda faults, on, _: faults.power_off(*on), lambda faults, on, _: faults.power_on(*on)),
    "freeze": (lambda faults, on, _: faults.freeze(*on), lambda faults, on, _: faults.thaw(*on)),
    "cable": (
        lambda faults, on, how: faults.cut(on[0], how),
        lambda faults, on, how: faults.heal(on[0], how),
    ),
    "front-filtered": (
        lambda faults, on, _: faults.filter_front(on[0]),
        lambda faults, on, _: faults.unfilter_front(on[0]),
    ),
    "partition": (
        lambda faults, on, how: faults.silence(on[0], UPSTREAMS if on[0] in TWINS else TWINS, how),
        lambda faults, _, __: faults.hear(),
    ),
    "disk-full": (lambda faults, on, _: faults.fill(on[0]), lambda faults, on, _: faults.free(on[0])),
    "slow-links": (lambda faults, on, how: faults.slow(on, how), lambda faults, on, _: faults.quick(on)),
    "host-pause": (lambda faults, on, _: faults.pause(on[0]), lambda faults, on, _: faults.resume(on[0])),
    "packet-loss": (
        lambda faults, on, how: faults.lose_packets(on[0], int(how.rstrip("%"))),
        lambda faults, _, __: faults.hear(),
    ),
    "no-memory": (
        lambda faults, on, _: faults.limit_memory(on[0]),
        lambda faults, on, _: faults.free_memory(on[0]),
    ),
}
"""Kinds that strike, and whose cause is taken away when the step's seconds are over."""
_LIKE = {"restart-all": "power-cut", "twins-lost": "power-cut", "twin-disk-full": "disk-full"}
_MEANWHILE: dict[str, Callable[[FaultInjector, Sequence[str]], AbstractContextManager[None]]] = {
    "vip-frozen": lambda faults, on: faults.standing_still(on[0], "tmr-vip"),
    "log-frozen": lambda faults, on: faults.standing_still(on[0], "systemd-journald"),
    "vip-stolen": lambda faults, _: faults.thief(),
}
_OWN: dict[str, Callable[[Nemesis, Step, Sequence[str]], AbstractContextManager[None]]] = {
    "kill": Nemesis._kill,
    "flapping": Nemesis._flapping,
    "clock-jump": Nemesis._clock,
    "twin-clock": Nemesis._clock,
    "switchover": Nemesis._switchover,
    "flood": Nemesis._flood,
    "store-lost": Nemesis._store_lost,
    "bit-flipped": Nemesis._bit_flipped,
    "old-copies": Nemesis._old_copies,
    "lease-set": Nemesis._lease_set,
    "clocks-behind": Nemesis._clocks_behind,
    "rules-flushed": Nemesis._rules_flushed,
}
_OWN_TIME = frozenset({"store-lost", "old-copies", "lease-set", "clocks-behind"})
"""Kinds that spend the seconds of their step themselves."""
