# SPDX-License-Identifier: Apache-2.0
"""Writes the record: which line each event makes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tmr.ledger.commands import Borrow, DenialCount, Grant
from tmr.ledger.containers import Containers
from tmr.ledger.outcomes import Denied
from tmr.ledger.record import ChainedLine, Event, Head, Line, chain
from tmr.ledger.state import Borrowing, Session
from tmr.ledger.state_digest import StateDigest
from tmr.licensing.items import FIRM_CODE_MIN
from tmr.licensing.options import CODE_MAX

_ENDS: Final[dict[str, Event]] = {
    "release": "released",
    "expiry": "expired",
    "operator": "ended",
    "replaced": "replaced",
}
"""Events of the ends of sessions. Those whose licence ended have expired: the reason says why."""

MAX_FIRMS: Final = 100
"""Records for firms of which no container holds anything begin only while there are fewer records."""


class Recorder:
    """`heads`: where the chain of each Firm Code stands. `lines`: what the last entry added."""

    def __init__(self, heads: Mapping[int, Head], containers: Containers, digest: StateDigest) -> None:
        self.heads = dict(heads)
        self._digest = digest
        self._before: dict[int, Head | None] = {}
        """Heads that the entry has moved, as they were before it."""
        for head in heads.items():
            digest.add(b"head", head)
        self._containers = containers
        self.lines: list[ChainedLine] = []
        self._index = self._time = 0

    def begin(self, index: int, time_ms: int) -> None:
        """An entry is carried out."""
        self._index, self._time = index, time_ms
        self.lines = []

    def settle(self) -> None:
        """The entry was carried out: the digest gets the heads that it moved."""
        for firm_code, before in self._before.items():
            if before is not None:
                self._digest.remove(b"head", (firm_code, before))
            self._digest.add(b"head", (firm_code, self.heads[firm_code]))
        self._before.clear()

    def granted(self, session: Session, emergency: bool, units: int) -> None:
        """A session began, and took units."""
        self._session("emergency" if emergency else "granted", session)
        if units:
            self.units(session, units)

    def ended(self, session: Session, by: str, who: str) -> None:
        """A session ended."""
        if by in _ENDS:
            self._session(_ENDS[by], session, reason=who)
        else:
            self._session("expired", session, reason=by)

    def units(self, session: Session, units: int) -> None:
        """A session took units."""
        self._session("units", session, units=units)

    def units_denied(self, session: Session, units: int, denied: Denied) -> None:
        """A session did not get units."""
        self._session("denied", session, units=units, reason=denied.reason)

    def queued(self, grant: Grant) -> None:
        """A request has a place in the queue."""
        self._request("queued", grant, id=grant.session, mode=grant.mode)

    def unqueued(self, grant: Grant, by: str) -> None:
        """A place in the queue was given up."""
        self._request("unqueued", grant, id=grant.session, mode=grant.mode, reason=by)

    def denied(self, request: Grant | Borrow, denied: Denied) -> None:
        """A request was denied."""
        self._request("denied", request, reason=denied.reason, rule=denied.rule)

    def borrowed(self, borrowing: Borrowing) -> None:
        """A seat left the network."""
        self._borrowing("borrowed", borrowing)

    def returned(self, borrowing: Borrowing, by: str, who: str) -> None:
        """A seat came back."""
        self._borrowing("returned", borrowing, reason=by, detail=who)

    def time_accepted(self, before_ms: int, who: str) -> None:
        """An operator had time go on from now: every firm is told."""
        for firm_code in sorted(self.heads):
            self._line(
                firm_code,
                event="time-accepted",
                product_code=0,
                client=who,
                before_ms=before_ms,
            )

    def refused(self, refusals: Iterable[DenialCount]) -> None:
        """Requests were refused from the mirror."""
        for refusal in refusals:
            if not (FIRM_CODE_MIN <= refusal.firm_code <= CODE_MAX and 0 <= refusal.product_code <= CODE_MAX):
                continue
            self._request("denied", refusal, count=refusal.count, reason=refusal.reason, rule=refusal.rule)

    def _session(self, event: Event, session: Session, units: int = 0, reason: str = "") -> None:
        key = session.key
        head = self._head(key.firm_code)
        if head is None:
            return
        # by position: keywords through two calls cost as much as all the rest
        line = Line(
            key.firm_code,
            head.seq + 1,
            self._time,
            self._index,
            event,
            key.product_code,
            key.tmr_id,
            key.reference,
            session.id,
            session.client,
            session.user,
            session.station,
            session.address,
            session.mode,
            units,
            reason=reason,
        )
        self._chain(head, line)

    def _borrowing(self, event: Event, held: Borrowing, reason: str = "", detail: str = "") -> None:
        self._line(
            held.key.firm_code,
            event=event,
            product_code=held.key.product_code,
            tmr_id=held.key.tmr_id,
            reference=held.key.reference,
            id=held.id,
            client=held.client,
            user=held.user,
            station=held.station,
            address=held.address,
            until_ms=held.until_ms,
            reason=reason,
            detail=detail,
        )

    def _request(self, event: Event, request: Grant | Borrow | DenialCount, **values: Any) -> None:
        self._line(
            request.firm_code,
            event=event,
            product_code=request.product_code,
            client=request.client,
            user=request.user,
            station=request.station,
            address=request.address,
            **values,
        )

    def keeps(self, firm_code: int) -> bool:
        """There is, or may be, a record for this firm: chains for all that clients invent would never end."""
        known = firm_code in self.heads or firm_code in self._containers.firms
        return known or len(self.heads) < MAX_FIRMS

    def _line(self, firm_code: int, **values: Any) -> None:
        head = self._head(firm_code)
        if head is not None:
            self._chain(head, Line(firm_code, head.seq + 1, self._time, self._index, **values))

    def _head(self, firm_code: int) -> Head | None:
        """Head of the firm's chain; None: there is none, and none begins."""
        head = self.heads.get(firm_code)
        if head is None and self.keeps(firm_code):
            return Head()
        return head

    def _chain(self, head: Head, line: Line) -> None:
        chained = chain(head, line)
        self._before.setdefault(line.firm_code, self.heads.get(line.firm_code))
        self.heads[line.firm_code] = Head(chained.seq, chained.hash)
        self.lines.append(chained)
