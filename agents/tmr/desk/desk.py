"""All that clients and operators ask for, behind one gate."""

from collections.abc import Awaitable, Callable

from tmr.desk.access_control import AccessControl
from tmr.desk.batch import Batches
from tmr.desk.catalogue import Catalogue
from tmr.desk.explain import Explainer
from tmr.desk.gate import Gate
from tmr.desk.lending import Lending
from tmr.desk.service import Service
from tmr.desk.time_doubt import TimeDoubt
from tmr.ledger import each
from tmr.quorum.proposer import Applied


class Desk:
    """The parts of the client API. `fatal` ends the process: its state cannot be trusted.

    `sign(borrowing)` has the borrow file signed by those who hold the containers; it raises Problem.
    """

    def __init__(
        self,
        gate: Gate,
        sign: Callable[[str], Awaitable[bytes]],
        *,
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.gate = gate
        self.catalogue = Catalogue(gate)
        self.service = Service(gate, fatal=fatal)
        self.batches = Batches(self.service)
        self.lending = Lending(gate, sign, fatal=fatal)
        self.access = AccessControl(gate)
        self.explainer = Explainer(gate)
        self.time_doubt = TimeDoubt(gate)

    def begin_reign(self, now: float) -> None:
        """This server serves from now on."""
        self.service.begin_reign(now)

    def end_reign(self) -> None:
        """This server serves no more."""
        self.service.sessions.end_reign()

    def applied(self, now: float, applied: Applied) -> None:
        """An entry was carried out; one of the quorum's own has no outcome."""
        for outcome in () if applied.outcome is None else each(applied.outcome):
            self.service.applied(now, outcome)

    def turn(self, now: float) -> None:
        """Do what is due by time. Only while this server may write to the journal."""
        self.time_doubt.look()
        if not self.gate.leaving:
            self.service.expire(now)
            self.lending.expire()
