# SPDX-License-Identifier: Apache-2.0
"""States of the ledger in a snapshot: refused with a reason, or such that the journal goes on from them."""

from typing import Final

from tests.fuzz.targets.commands import COMMANDS, STATE
from tests.unit.ledger.world import START_MS, container_key, sealed
from tmr.ledger import Ledger, encode
from tmr.ledger.state import Stored
from tmr.licensing import raw_public_key
from tmr.upstream.own_container import OwnContainerValidator

KEY: Final = raw_public_key(container_key(1))
_BEFORE = Ledger()
_BEFORE.restore(STATE)
SEEDS = [STATE, Ledger().snapshot(), sealed(Stored(access_version=7))]


def check(data: bytes) -> None:
    """For a new upstream, and for one with a ledger of its own."""
    for fresh in (True, False):
        if OwnContainerValidator(_BEFORE, "up1", KEY).state(data, fresh=fresh):
            continue
        ledger = Ledger()
        ledger.restore(data)
        for index, command in enumerate(COMMANDS, 100):
            ledger.apply(index, START_MS + index, encode(command))
        Ledger().restore(ledger.snapshot())
