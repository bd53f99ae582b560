# SPDX-License-Identifier: Apache-2.0
"""Borrowing: seats that leave the network for a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from tmr.api.borrowing import Borrowing, BorrowingList, BorrowRequest
from tmr.api.fields import PAGE_MAX
from tmr.ledger import Borrow, Borrowed, Denied, GiveBack, Outcome
from tmr.ledger import Borrowing as Lent
from tmr.licensing.spelling import instant
from tmr.net.identity import Identity
from tmr.service.guard import RequestGuard, watch
from tmr.service.members import licence_members, request_members
from tmr.service.pagination import Cursor, Page
from tmr.service.problems import problem
from tmr.service.sessions import new_id


class BorrowingService:
    """Requests of clients about borrowings. `fatal` ends the process: its state cannot be trusted.

    `sign(borrowing)` gives the signed borrow file; it raises ProblemError.
    """

    def __init__(
        self,
        guard: RequestGuard,
        sign: Callable[[str], Awaitable[bytes]],
        *,
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.guard = guard
        self._sign = sign
        self.command_log = guard.command_log
        self.ledger = guard.ledger
        self._fatal = fatal
        self._ending: dict[str, asyncio.Future[Outcome]] = {}

    async def borrow(
        self, peer: Identity, address: str, borrower: str, request_id: str, asked: BorrowRequest
    ) -> Borrowing:
        """Take a seat out; the same borrowing for the same `request_id`. Raises ProblemError.

        `borrower`: SHA-256 of the public key in the peer's certificate, or empty where it has none.
        """
        guard = self.guard
        keys = guard.view.of_product(asked.firm_code, asked.product_code, asked.tmr_id, asked.reference)
        mark = guard.check(keys)
        if not borrower:
            raise problem("borrow-failed", "A borrow file is bound to a certificate, and there is none here.")
        await guard.former(peer, request_id, keys)
        command = Borrow(
            **request_members(request_id, peer.account, address, asked, guard.available(keys)),
            borrow=new_id(guard.wall_ms()),
            seconds=asked.seconds,
            borrower=borrower,
            only=(asked.tmr_id, asked.reference),
        )
        outcome = await guard.outcome(guard.ask(command, keys))
        await guard.proved(mark, keys)
        if isinstance(outcome, Denied):
            guard.refuse_licence(outcome, asked, keys)
        assert isinstance(outcome, Borrowed)  # noqa: S101
        return _shown(self.own(peer, outcome.borrow))

    async def file(self, peer: Identity, borrowing: str) -> bytes:
        """The signed file of the peer's borrowing, any number of times. Raises ProblemError."""
        mark = self.guard.check()
        async with self.guard.proving(mark):
            self.own(peer, borrowing)
        data = await self._sign(borrowing)
        self.guard.confirm()
        self.own(peer, borrowing)
        return data

    async def give_back(self, peer: Identity, borrowing: str) -> None:
        """End a borrowing; one that has ended already is no error. Raises ProblemError."""
        mark = self.guard.check()
        lent = self.ledger.borrowings.get(borrowing)
        if lent is not None:
            if peer.role == "operator" and lent.client != peer.account:
                command = GiveBack(borrowing, None, "operator", str(peer))
            elif lent.client != peer.account:
                _not_yours(borrowing)
            else:
                command = GiveBack(borrowing, peer.account, "release")
            await self.guard.outcome(self._end(command))
        await self.guard.proved(mark)

    async def list(self, peer: Identity, limit: int = PAGE_MAX, after: str | None = None) -> BorrowingList:
        """A page of the peer's borrowings, the oldest first; an operator sees all. Raises ProblemError."""
        mark = self.guard.check()
        everybody = peer.role == "operator"
        lent = self.ledger.borrowings if everybody else self.ledger.borrowings_of(peer.account)
        page = Page(limit, after)
        shown = tuple(_shown(one) for one in page.take("b", tuple(lent.values()), _mark))
        await self.guard.proved(mark)
        return BorrowingList(borrowings=shown, next=page.next)

    def own(self, peer: Identity, borrowing: str) -> Lent:
        """The borrowing, if it is the peer's. Raises ProblemError."""
        lent = self.ledger.borrowings.get(borrowing)
        if lent is None:
            raise problem("borrowing-ended", f"There is no borrowing {borrowing}: it has ended or never was.")
        if lent.client != peer.account:
            _not_yours(borrowing)
        return lent

    def expire(self, time_ms: int) -> None:
        """Take back the seats whose time has come. Only while this server may write to the journal."""
        for borrowing in self.ledger.due(time_ms):
            if borrowing not in self._ending:
                watch(self._end(GiveBack(borrowing, None, "expiry")), self._fatal)

    def _end(self, command: GiveBack) -> asyncio.Future[Outcome]:
        borrow = command.borrow
        submitted = self._ending.get(borrow)
        if submitted is None:
            submitted = self._ending[borrow] = self.command_log.submit(command)

            def ended(_: asyncio.Future[Outcome]) -> None:
                del self._ending[borrow]

            submitted.add_done_callback(ended)
        return submitted


def _mark(lent: Lent) -> Cursor:
    return Cursor(lent.from_ms, lent.id)


def _not_yours(borrowing: str) -> NoReturn:
    raise problem("access-denied", f"Borrowing {borrowing} belongs to another client.")


def _shown(lent: Lent) -> Borrowing:
    return Borrowing.model_validate(
        {
            "id": lent.id,
            "client": lent.client,
            **licence_members(lent.key),
            "station": lent.station,
            "user": lent.user,
            "from": instant(lent.from_ms),
            "until": instant(lent.until_ms),
        }
    )
