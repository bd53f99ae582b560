"""A network licence server: one upstream that serves clients by itself, without twins and TMR-Ids."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from tmr.client.models import Role, Status, UpstreamStatus
from tmr.desk.desk import Desk
from tmr.desk.gate import Gate
from tmr.desk.health import Facts, alarms, health
from tmr.desk.metrics import Metrics
from tmr.desk.problems import problem
from tmr.desk.tracking import Archive, Tracking
from tmr.desk.virtual import VirtualContainer, doubtful, instant
from tmr.ledger import Assemble, Assembled, Trust
from tmr.licensing import BadShare, Serial, check_share, seal_borrow_file
from tmr.quorum.proposer import Applied, NotActive, Overloaded
from tmr.rim.logs import fields
from tmr.rim.problem import Problem
from tmr.rim.record_wire import Answer, Question
from tmr.rim.upstream_link import LinkError
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.keeper import Keeper
from tmr.upstream.local_kernel import LocalKernel, ObservedLedger
from tmr.upstream.node import Node, NodeFailed
from tmr.upstream.recorder import Recorder
from tmr.upstream.status import version

log = logging.getLogger(__name__)

NOBODY: Final = b""
"""No container's key: what a name stated that this server does not have any more is forgotten."""
TURN: Final = 0.1
"""Seconds between looks at what is due by time."""


class NetworkServer:
    """`clock`: CLOCK_BOOTTIME in seconds. `fatal` ends the process: its state cannot be trusted."""

    def __init__(
        self,
        name: str,
        node: Node,
        keeper: Keeper,
        ledger: ObservedLedger,
        recorder: Recorder,
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.name = name
        self.kernel = LocalKernel(name, node, ledger, clock=clock, wall_ms=wall_ms, observe=self._applied)
        container = keeper.container
        self.virtual = VirtualContainer(ledger, container.act_id, Serial.parse(container.serial))
        self.gate = Gate(self.kernel, self.virtual, (), wall_ms)
        self.desk = Desk(self.gate, self._borrow_file, fatal=fatal)
        self.metrics = Metrics()
        self.recorder = recorder
        self.tracking = Tracking(self.gate, [Archive(name, self._archive)], 1, self._last_applied)
        self._node = node
        self._keeper = keeper
        self._borrowings = Borrowings(node, keeper, ledger)
        self._rejected: tuple[str, ...] = ()
        self._version = version()
        self._fatal = fatal
        self._turns: asyncio.Task[None] | None = None

    # -- life ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover what was stored, and serve. Raises Unexpected, NodeFailed."""
        await self.kernel.start()
        await self.assemble()
        self.metrics.failovers.inc()
        self.desk.begin_reign(self.kernel.clock())
        self.recorder.start()
        self._turns = asyncio.get_running_loop().create_task(self._turn())
        self._turns.add_done_callback(self._turned)

    async def assemble(self) -> None:
        """Bring what the own container holds into the ledger: at the start, and after each update."""
        signed, ledger = self._keeper.statement, self.kernel.ledger
        try:
            for former in [name for name in ledger.statements if name != self.name]:
                await self.kernel.submit(Trust(former, NOBODY))  # this server was renamed
            if ledger.trusted.get(self.name, signed.key) != signed.key:
                await self.kernel.submit(Trust(self.name, signed.key))  # and had this name before
            outcome = await self.kernel.submit(Assemble((signed,)))
        except (NotActive, Overloaded) as error:
            log.error("the container is assembled at the next start", extra=fields(error=repr(error)))
            return
        assert isinstance(outcome, Assembled)  # noqa: S101
        self._rejected = outcome.rejected
        log.info(
            "container assembled", extra=fields(changed=len(outcome.changed), rejected=list(outcome.rejected))
        )

    def begin_stop(self) -> None:
        """Take no more requests; what is under way is answered still."""
        if self.kernel.holds:
            self.desk.service.write_refusals(self.kernel.clock(), at_once=True)
        self.gate.leaving = "it is being stopped"

    async def stop(self) -> None:
        """Carry out what was submitted; the node is stopped afterwards."""
        self.begin_stop()
        if self._turns is not None:
            self._turns.cancel()
            await asyncio.gather(self._turns, return_exceptions=True)
        await self.recorder.stop()
        await self.kernel.stop()

    async def _turn(self) -> None:
        while True:
            if self.kernel.holds:
                self.desk.turn(self.kernel.clock())
            await asyncio.sleep(TURN)

    def _turned(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal(error)

    def _applied(self, now: float, applied: Applied) -> None:
        self.metrics.applied(applied.outcome)
        self.desk.applied(now, applied)

    # -- the record ----------------------------------------------------------------------------------------

    async def _archive(self, question: Question) -> Answer:
        try:
            return await self.recorder.answer(question)
        except NodeFailed:
            raise LinkError(self.name, "its store failed") from None

    def _last_applied(self) -> tuple[int, int]:
        acceptor = self._node.acceptor
        return acceptor.applied, acceptor.log.time_at(acceptor.applied)

    # -- borrow files --------------------------------------------------------------------------------------

    async def _borrow_file(self, borrowing: str) -> bytes:
        """The file of a borrowing: the own container alone signs it. Raises Problem."""
        try:
            share = await self._borrowings.share(borrowing, None)
            await asyncio.to_thread(check_share, share)
            return await asyncio.to_thread(seal_borrow_file, [share])
        except Problem as error:
            detail, remedy = str(error), str(error.document["remedy"])
        except BadShare as error:
            detail, remedy = f"{error.reason}.", f"{error.remedy}."
        raise problem("borrow-not-signed", detail, remedy=remedy)

    # -- views ---------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """This server, for clients and operators."""
        acceptor, time_ms = self._node.acceptor, self.kernel.certified_ms()
        upstreams = self.kernel.upstreams()
        (own,) = upstreams
        me = UpstreamStatus(
            name=self.name,
            reachable=True,
            voting=True,
            container=self._keeper.container.serial,
            match=acceptor.log.last,
            commit=acceptor.commit,
            lag=acceptor.log.last - acceptor.commit,
            last_error=None,
            since=instant(own.since_ms or time_ms),
            clock_synchronised=self._node.clock_synchronised,
        )
        licences = tuple(self.virtual.statuses(upstreams, time_ms))
        condition = health(Facts(self.name, self.kernel.holds, (me,), licences, tuple(self._alarms())))
        return Status(
            name=self.name,
            role=Role.ACTIVE if self.kernel.holds else Role.PASSIVE,
            epoch=self.kernel.epoch,
            lease_remaining_ms=None,
            vip=(),
            version=self._version,
            certified_time=instant(time_ms),
            time_in_doubt=doubtful(self.kernel.time_waits),
            upstreams=(me,),
            licences=licences,
            sessions=len(self.kernel.ledger.sessions),
            commit=acceptor.commit,
            health=condition,
            alarms=alarms(condition),
            network=True,
        )

    def alarms(self) -> list[str]:
        """What somebody should look at."""
        return list(self.status().alarms)

    def _alarms(self) -> list[str]:
        found = [*self._node.alarms(), *self.virtual.alarms(self.kernel.upstreams()), *self._rejected]
        found += self.desk.time_doubt.alarms()
        if behind := self.kernel.clock_behind_ms():
            found.append(
                f"the clock of {self.name} is {behind / 1000:.1f} s behind certified time, which never goes "
                "back: correct it, or wait"
            )
        return found
