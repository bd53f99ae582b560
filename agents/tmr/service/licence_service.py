# SPDX-License-Identifier: Apache-2.0
"""All that clients and operators ask for, behind one guard."""

from collections.abc import Awaitable, Callable

from tmr.ledger import each
from tmr.quorum.outputs import Applied
from tmr.service.access import AccessControl
from tmr.service.batch import Batches
from tmr.service.borrowing import BorrowingService
from tmr.service.explain import Explainer
from tmr.service.guard import RequestGuard
from tmr.service.heartbeats import HeartbeatService
from tmr.service.held_sessions import HeldSessions
from tmr.service.licences import Catalogue
from tmr.service.session_list import SessionLister
from tmr.service.sessions import SessionService
from tmr.service.time_doubt import TimeDoubt
from tmr.service.units import UnitService


class LicenceService:
    """The parts of the client API. `fatal` ends the process: its state cannot be trusted.

    `sign(borrowing)` has the borrow file signed by those who hold the containers; it raises ProblemError.
    """

    def __init__(
        self,
        guard: RequestGuard,
        sign: Callable[[str], Awaitable[bytes]],
        *,
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.guard = guard
        self.catalogue = Catalogue(guard)
        self.held = HeldSessions(guard)
        self.service = SessionService(self.held, fatal=fatal)
        self.units = UnitService(self.held)
        self.heartbeats = HeartbeatService(self.held)
        self.session_list = SessionLister(self.held)
        self.batches = Batches(self.service, self.units)
        self.lending = BorrowingService(guard, sign, fatal=fatal)
        self.access = AccessControl(guard)
        self.explainer = Explainer(guard)
        self.time_doubt = TimeDoubt(guard)

    def begin_term(self, now: float) -> None:
        """This server serves from now on."""
        self.held.begin_term(now)

    def end_term(self) -> None:
        """This server serves no more."""
        self.held.liveness.end_term()

    def applied(self, now: float, applied: Applied) -> None:
        """An entry was carried out; one of the quorum's own has no outcome."""
        for outcome in () if applied.outcome is None else each(applied.outcome):
            self.held.applied(now, outcome)

    def turn(self, now: float) -> None:
        """Do what is due by time. Only while this server may write to the journal."""
        time_ms = self.guard.command_log.certified_ms()
        self.time_doubt.look(time_ms)
        if not self.guard.leaving:
            self.service.expire(now, time_ms)
            self.lending.expire(time_ms)
