"""Carries a plan of faults out, one after the other, and writes down when each struck and was taken away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from lab.chaos.hands import Hands, boottime
from lab.chaos.plan import ACTIVE, LAST, PASSIVE, TWINS, UPSTREAMS, Step
from lab.chaos.records import FAULTS, Fault, append
from lab.chaos.stage import Say
from lab.chaos.watcher import Watcher
from lab.demo.operator import Operator
from tmr.client import TmrError

_PATIENCE_S = 30.0
_TAKE_OVER_S = 20.0
_REJOIN_S = 60.0


class Nemesis:
    """Strikes the machines of one lab. All its waiting is for what the watcher sees."""

    def __init__(
        self,
        hands: Hands,
        watcher: Watcher,
        operator: Operator,
        directory: Path,
        began: float,
        say: Say,
    ) -> None:
        self._hands, self._watcher, self._operator = hands, watcher, operator
        self._file, self._began, self._say = directory / FAULTS, began, say

    def _now(self) -> float:
        return round(boottime() - self._began, 3)

    def play(self, steps: Sequence[Step], seconds: float) -> list[Fault]:
        """All faults that are over before `seconds`, and the last one in any case; those that have struck."""
        struck = []
        for step in steps:
            time.sleep(max(0.0, step.at - self._now()))
            if step.kind != LAST and self._now() + step.seconds > seconds:
                continue  # the machines took their time to get over the ones before
            if step.patient and (lacks := self._watcher.wait(lambda look: look.unwhole(), _PATIENCE_S)):
                self._say(f"the system is not whole yet ({lacks})")
                if step.kind == LAST:
                    continue  # the promise is for one lost disk while the two others are whole
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
        with _KINDS[step.kind](self, step, targets):
            time.sleep(step.seconds)
        fault.ended = self._now()
        append(self._file, [fault])
        return fault

    # -- the kinds: each strikes, and takes its cause away ---------------------------------------------------

    @contextmanager
    def _kill(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        self._hands.kill(targets[0], step.how)
        yield

    @contextmanager
    def _power(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        self._hands.power_off(*targets)
        try:
            yield
        finally:
            self._hands.power_on(*targets)

    @contextmanager
    def _freeze(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        self._hands.freeze(*targets)
        try:
            yield
        finally:
            self._hands.thaw(*targets)

    @contextmanager
    def _vip_frozen(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        with self._hands.standing_still(targets[0], "tmr-vip"):
            yield

    @contextmanager
    def _cable(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        self._hands.cut(targets[0], step.how)
        try:
            yield
        finally:
            self._hands.heal(targets[0], step.how)

    @contextmanager
    def _front_filtered(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        self._hands.filter_front(targets[0])
        try:
            yield
        finally:
            self._hands.unfilter_front(targets[0])

    @contextmanager
    def _partition(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        others = UPSTREAMS if targets[0] in TWINS else TWINS
        self._hands.silence(targets[0], others, step.how)
        try:
            yield
        finally:
            self._hands.hear()

    @contextmanager
    def _disk_full(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        self._hands.fill(targets[0])
        try:
            yield
        finally:
            self._hands.free(targets[0])

    @contextmanager
    def _clock(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        for target, seconds in zip(targets, step.how.split(), strict=True):
            self._hands.set_clock(target, seconds)
        try:
            yield
        finally:
            for target in targets:
                self._hands.set_clock(target, "0")

    @contextmanager
    def _switchover(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        try:
            self._operator.switchover()
        except TmrError as error:
            self._say(f"the switchover was not confirmed: {error.message}")
        else:
            other = next(name for name in TWINS if name != targets[0])
            self._watcher.wait(lambda look: "" if look.active() == other else "not yet", _TAKE_OVER_S)
        yield

    @contextmanager
    def _stolen(self, _: Step, __: Sequence[str]) -> Iterator[None]:
        with self._hands.thief():
            yield

    @contextmanager
    def _disk_lost(self, _: Step, targets: Sequence[str]) -> Iterator[None]:
        """The upstream joins as a new member, with a new disk; the fault is over when it votes."""
        self._hands.lose_disk(targets[0])
        if lacks := self._watcher.wait(lambda look: look.unwhole(), _REJOIN_S):
            self._say(f"{targets[0]} is not readmitted after {_REJOIN_S:.0f} s: {lacks}")
        yield

    @contextmanager
    def _majority(self, step: Step, targets: Sequence[str]) -> Iterator[None]:
        with (self._power if step.how == "power" else self._freeze)(step, targets):
            yield


_KINDS: dict[str, Callable[[Nemesis, Step, Sequence[str]], AbstractContextManager[None]]] = {
    "kill": Nemesis._kill,
    "power-cut": Nemesis._power,
    "freeze": Nemesis._freeze,
    "vip-frozen": Nemesis._vip_frozen,
    "cable": Nemesis._cable,
    "front-filtered": Nemesis._front_filtered,
    "partition": Nemesis._partition,
    "disk-full": Nemesis._disk_full,
    "clock-jump": Nemesis._clock,
    "restart-all": Nemesis._power,
    "switchover": Nemesis._switchover,
    "vip-stolen": Nemesis._stolen,
    "disk-lost": Nemesis._disk_lost,
    "majority-lost": Nemesis._majority,
    "twins-lost": Nemesis._power,
}
