# SPDX-License-Identifier: Apache-2.0
"""One twin at a time: one holder of the virtual address, one owner of an epoch, epochs that only rise."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.history import History
from chaos.plan import TWINS
from chaos.records import Sample
from chaos.rules.finding import Proof

KERNEL_S = 0.5
"""The kernel removes an address up to 0.2 s after its lifetime (explanation/vip.md); a look takes time."""


def check(history: History) -> Proof:
    """Check of all that was seen from outside.

    Two holders of the address at one moment, however short, break it, whatever the machines suffer, but for a
    machine that its host paused with its clocks. A look at
    what twins say reads one after the other: two that serve in a single look may be the old one and the new
    one; in two looks in a row they cannot. A frozen twin keeps the address, but not beyond the lease.
    """
    proof = Proof("twins", "One holder of the virtual address, one twin serving, one owner of each epoch")
    _holders(history, proof)
    _frozen(history, proof)
    _together(history, proof)
    _epochs(history, proof)
    _commits(history, proof)
    return proof


def _holders(history: History, proof: Proof) -> None:
    for found in history.holders:
        proof.facts += found.looks
        if len(found.machines) > 1 and not _was_paused(history, found.machines, found.at):
            both = " and ".join(found.machines)
            proof.violated(found.at, f"{both} have the virtual address together, in {found.looks} looks")


def _was_paused(history: History, machines: Sequence[str], at: float) -> bool:
    """True if one was just paused by its host: its clocks stood still, and so does what it knows of time.

    Until it notices that, it may hold the address and say that it serves. Rules about answers hold all the
    same (explanation/protocol.md).
    """
    late = history.campaign.ttl + KERNEL_S
    return any(
        fault.kind == "host-pause"
        and set(fault.machines) & set(machines)
        and fault.began <= at <= (history.end if fault.ended is None else fault.ended + late)
        for fault in history.faults
    )


def _frozen(history: History, proof: Proof) -> None:
    since: dict[str, float] = {}
    limit = history.campaign.ttl + KERNEL_S
    for at, machines in history.looks:
        for machine in TWINS:
            sample = machines.get(machine)
            if sample is None or sample.state != "frozen":
                since.pop(machine, None)
                continue
            began = since.setdefault(machine, at)
            proof.facts += 1
            if sample.vip and at - began > limit:
                proof.violated(
                    at,
                    f"{machine}, frozen since {began:.1f} s, has the address for longer than a lease",
                )
                since[machine] = float("inf")


def _together(history: History, proof: Proof) -> None:
    before: dict[str, str] = {}
    for at, machines in history.looks:
        twins = [machines[name] for name in TWINS if name in machines]
        now = {}
        holders = [one.machine for one in twins if one.vip and one.state != "frozen"]
        serving = [one.machine for one in twins if one.serving]
        for what, found in (("have the virtual address", holders), ("serve", serving)):
            proof.facts += 1
            if len(found) > 1 and not _was_paused(history, found, at):
                now[what] = " and ".join(found)
                if before.get(what) == now[what]:
                    proof.violated(at, f"{now[what]} both {what}, in two looks in a row")
        same = {one.epoch for one in twins if one.serving}
        if len(serving) > 1 and len(same) == 1:
            proof.violated(at, f"{' and '.join(serving)} both serve in epoch {same.pop()}")
        before = now


def _epochs(history: History, proof: Proof) -> None:
    owner: dict[int, str] = {}
    highest: Sample | None = None
    for at, machines in history.looks:
        serving = [
            machines[name]
            for name in TWINS
            if name in machines and machines[name].serving and not _was_paused(history, (name,), at)
        ]
        for sample in serving:
            proof.facts += 1
            first = owner.setdefault(sample.epoch, sample.machine)
            if first != sample.machine:
                proof.violated(at, f"{sample.machine} serves in epoch {sample.epoch}, which is of {first}")
            if highest is not None and sample.epoch < highest.epoch:
                proof.violated(
                    at,
                    f"{sample.machine} serves in epoch {sample.epoch}, "
                    f"and {highest.machine} did in {highest.epoch} at {highest.at:.3f} s",
                )
        highest = max([*serving, *([highest] if highest else [])], key=lambda one: one.epoch, default=None)


def _commits(history: History, proof: Proof) -> None:
    """Of each machine between its boots and lost disks."""
    last: dict[str, Sample] = {}
    for at, machines in history.looks:
        for machine, sample in machines.items():
            if sample.state not in ("on", "frozen"):
                last.pop(machine, None)
            if sample.commit is None:
                continue
            proof.facts += 1
            before = last.get(machine)
            if (
                before
                and sample.commit < (before.commit or 0)
                and not _struck(history, machine, before.at, at)
            ):
                proof.violated(
                    at,
                    f"{machine} knows entries up to {sample.commit} as committed, "
                    f"and knew {before.commit} at {before.at:.3f} s",
                )
            last[machine] = sample


def _struck(history: History, machine: str, begin: float, end: float) -> bool:
    return any(
        machine in fault.machines and fault.began <= end and (fault.ended is None or fault.ended >= begin)
        for fault in history.faults
    )


def terms(history: History) -> list[tuple[float, str, int]]:
    """Each change of the twin or epoch that serves: when it was first seen, twin, epoch."""
    found: list[tuple[float, str, int]] = []
    for at, machines in history.looks:
        serving = [machines[name] for name in TWINS if name in machines and machines[name].serving]
        newest = max(serving, key=lambda one: one.epoch, default=None)
        if newest is not None and (not found or newest.epoch > found[-1][2]):
            found.append((at, newest.machine, newest.epoch))
    return found
