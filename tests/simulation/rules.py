# SPDX-License-Identifier: Apache-2.0
"""The rules of the protocol, each of which a mutation can take away."""

from collections.abc import Callable

import msgspec

from tests.simulation.fault_profile import FaultProfile
from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.lease import Timing
from tmr.quorum.proposer import Proposer
from tmr.quorum.read_index import ReadIndex, obstacle
from tmr.service.container_view import ContainerView
from tmr.service.in_flight import InFlight
from tmr.service.liveness import LivenessTable


class Rules(msgspec.Struct, frozen=True):
    """What a world runs: the production classes, unless a test puts a broken one in their place."""

    acceptor: type[Acceptor] = Acceptor
    twin: type[Proposer] = Proposer
    ledger: type[Ledger] = Ledger
    sessions: type[LivenessTable] = LivenessTable
    in_flight: type[InFlight] = InFlight
    timing: type[Timing] = Timing
    obstacle: Callable[[Acceptor, float, ReadIndex], str | None] = obstacle
    view: type[ContainerView] = ContainerView
    withdraw_after: float = 0.0
    """Seconds that a twin waits before it has a statement of a container that is gone withdrawn."""
    answer_before_fsync: bool = False
    vote_with_an_empty_disk: bool = False
    renew_while_expiring: bool = False
    answer_without_lease: bool = False
    answer_unproved: bool = False
    answer_before_commit: bool = False
    swallow_full_disk: bool = False
    believe_torn_writes: bool = False
    keep_anchor: bool = True
    believe_damaged_rows: bool = False
    profile: FaultProfile | None = None
    """None: drawn from the seed. A mutation is tried in the weather that its rule is there for."""
