# SPDX-License-Identifier: Apache-2.0
"""The explanation of a request: its answer now, and all that decides it. Nothing changes by asking."""

from typing import NoReturn

from tmr.api.explain import Candidate, ExplainRequest, Explanation
from tmr.api.licences import LicenceState
from tmr.ledger import Borrow, Denied, Grant
from tmr.licensing import LicenceKey
from tmr.licensing.spelling import instant
from tmr.net.identity import Identity
from tmr.service.guard import RequestGuard
from tmr.service.holders import holders, next_end
from tmr.service.members import licence_members, request_members
from tmr.service.problems import problem
from tmr.service.sessions import new_id


class Explainer:
    """Answers `explain`."""

    def __init__(self, guard: RequestGuard) -> None:
        self._guard = guard

    async def explain(self, peer: Identity, address: str, asked: ExplainRequest) -> Explanation:
        """Prediction of the ledger. Raises ProblemError."""
        guard = self._guard
        mark = guard.check()
        guard.demand_time()
        if peer.role != "operator" and (asked.client is not None or asked.address is not None):
            _operators_only()
        view, ledger = guard.view, guard.ledger
        keys = view.of_product(asked.firm_code, asked.product_code, asked.tmr_id, asked.reference)
        available, time_ms = guard.available(keys), guard.command_log.certified_ms()
        command = _command(peer, address, asked, available, guard.wall_ms())
        denied = ledger.review(command, time_ms)
        if keys and not available:
            denied = Denied("licence-unavailable", "too few constituents are available")
        reviews = dict(ledger.reviews(command, time_ms))
        product = (asked.firm_code, asked.product_code)
        found = Explanation(
            granted=denied is None,
            problem="" if denied is None else denied.reason,
            detail="" if denied is None else denied.detail,
            asked=asked.model_dump(mode="json", exclude_none=True),
            licences=tuple(self._candidate(key, reviews) for key in keys),
            waiting=len(ledger.queues.get(product, ())),
            certified_time=instant(time_ms),
        )
        await guard.proved(mark)
        return found

    def _candidate(self, key: LicenceKey, reviews: dict[LicenceKey, Denied | None]) -> Candidate:
        guard = self._guard
        view, ledger = guard.view, guard.ledger
        licence = view.licence(key, guard.command_log.upstreams(), guard.command_log.certified_ms())
        item, use, denied = licence.item, ledger.use(key), reviews.get(key)
        if key not in reviews:
            denied = Denied("licence-unavailable", "too few constituents are available")
        ends = None if item is None else ledger.ends_ms(item)
        return Candidate(
            **licence_members(key),
            name="" if item is None else item.name,
            state=LicenceState(licence.state),
            granted=denied is None,
            emergency=item is not None and item.emergency,
            problem="" if denied is None else denied.reason,
            detail="" if denied is None else denied.detail,
            rule="" if denied is None else denied.rule,
            in_use=use.seats,
            quantity=None if item is None else item.quantity,
            borrowed=len(use.borrowings),
            units_remaining=None if item is None else ledger.remaining(item),
            ends=None if ends is None else instant(ends),
            constituents=licence.constituents,
            holders=tuple(holders(ledger, [key])),
            next_end=next_end(ledger, [key]),
        )


def _command(
    peer: Identity, address: str, asked: ExplainRequest, keys: tuple[LicenceKey, ...], now_ms: int
) -> Grant | Borrow:
    """The command that would decide, with an idempotency key that no request uses."""
    unique = new_id(now_ms)
    shared = request_members(unique, asked.client or peer.account, asked.address or address, asked, keys)
    if asked.borrow_seconds is not None:
        return Borrow(**shared, borrow=unique, seconds=asked.borrow_seconds, borrower="")
    return Grant(**shared, session=unique, mode=asked.access_mode.value, ttl=60, units=asked.units)


def _operators_only() -> NoReturn:
    raise problem("wrong-role", "Only an operator may ask what happens to somebody else's request.")
