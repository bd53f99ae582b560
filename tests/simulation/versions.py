# SPDX-License-Identifier: Apache-2.0
"""A later version of the ledger, for upgrades of one machine after the other."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from tmr.ledger import BatchOutcome, Command, Denied, Ledger, Outcome, RecordDenials, encode
from tmr.quorum.entries import FIRST

if TYPE_CHECKING:
    from tests.simulation.world import World

LATER = FIRST + 1
"""The format that came with the later version."""
LATER_COMMAND = msgspec.msgpack.encode({"type": "later"})
"""A command that came with the later version, which writes it in the first format by mistake."""
_states: msgspec.msgpack.Decoder[tuple[bytes, int]] = msgspec.msgpack.Decoder(tuple[bytes, int])


class Later(Ledger):
    """From the later format on it counts its entries: a part of the state that the first version lacks.

    It words refusals otherwise in every format.
    """

    counted = 0

    def unreadable(self, body: bytes, entry_format: int = FIRST) -> str:
        return "" if body == LATER_COMMAND else super().unreadable(body, entry_format)

    def apply(
        self, index: int, time_ms: int, body: bytes, entry_format: int = FIRST
    ) -> Outcome | BatchOutcome:
        body = encode(RecordDenials(())) if body == LATER_COMMAND else body
        outcome = super().apply(index, time_ms, body, entry_format)
        self.counted += entry_format >= LATER
        return outcome

    def _carry_out(self, command: Command) -> Outcome:
        outcome = super()._carry_out(command)
        return (
            replace(outcome, detail=f"{outcome.detail} (sorry)") if isinstance(outcome, Denied) else outcome
        )

    def digest(self) -> bytes:
        known = super().digest()
        return hashlib.blake2b(known + str(self.counted).encode()).digest() if self.counted else known

    def snapshot(self, entry_format: int = FIRST) -> bytes:
        state = super().snapshot(entry_format)
        return state if entry_format < LATER else msgspec.msgpack.encode((state, self.counted))

    def restore(self, state: bytes, entry_format: int = FIRST) -> None:
        self.counted = 0
        if state and entry_format >= LATER:
            state, self.counted = _states.decode(state)
        super().restore(state, entry_format)


def _later(ledger: type[Ledger]) -> type[Ledger]:
    return Later if ledger is Ledger else type("Later", (Later, ledger), {})


def ledger_of(world: World, version: int) -> Ledger:
    """An empty ledger of this version: its number is the newest format that it knows."""
    kind = world.rules.ledger
    return kind() if version < LATER else _later(kind)()


def first_version(world: World) -> int:
    """Version that all machines have at first; the later one in half of the runs with upgrades."""
    return world.stream("versions").choice((FIRST, LATER)) if world.profile.upgrade else FIRST


def finish(world: World) -> None:
    """The upgrade goes on to its end: what is of the first version still is renewed, in any order."""
    rnd = world.stream("upgrade")
    for name, version in world.versions.items():
        if version < LATER:
            machine = world.machine(name)
            world.versions[name] = LATER
            if machine.up:
                machine.crash()
            boot = machine.boot
            world.after(rnd.uniform(0.05, 0.5), functools.partial(_start, machine, boot))


def _start(machine: object, boot: int) -> None:
    if machine.boot == boot and not machine.up:  # type: ignore[attr-defined]
        machine.start()  # type: ignore[attr-defined]
