# SPDX-License-Identifier: Apache-2.0
"""The upstream's share of a borrow file: signed because its own committed ledger says so, and only then.

Nothing of the content comes from the twin that asks. It names a borrowing; what is signed stands in the
journal, and the licence in it is one that the vendor gave this container. So a stolen twin's
certificate gets only signatures for what a majority has committed anyway.
"""

import re
from typing import Final

from tmr.ledger import Ledger, constituents
from tmr.licensing import BorrowSignature, BorrowTerms, NotSigned, fingerprint
from tmr.net.problem import ProblemError, bad_request
from tmr.quorum.read_index import Obstacle, ReadIndex
from tmr.upstream.acceptor_runner import AcceptorRunner
from tmr.upstream.container_store import ContainerStore

OBSTACLES: Final[dict[Obstacle, tuple[str, str]]] = {
    "not-voting": ("This upstream does not vote: its ledger may be behind.", "Ask the others."),
    "rolled-back": ("This upstream was put back to an old copy.", "Restart it once it has everything again."),
    "fenced": ("The asker does not hold the lease of this upstream.", "Ask as the active twin."),
    "not-applied": ("This upstream has not applied that much yet.", "Ask again."),
}
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}", re.ASCII)


class Borrowings:
    """Signs what `ledger`, the state machine of the node's acceptor, has lent. Use in the event loop."""

    def __init__(self, runner: AcceptorRunner, container_store: ContainerStore, ledger: Ledger) -> None:
        self._runner = runner
        self._container_store = container_store
        self._ledger = ledger

    async def share(self, borrow: str, asked: ReadIndex | None) -> BorrowSignature:
        """This container's share for the borrowing, once everything that it rests on is on disk.

        `asked`: by which term, and how far it has committed; None: by this server itself, which is alone.
        Raises ProblemError `borrow-failed`, `refusal` says why: `not-committed`, `unavailable`, `no-update`,
        `item-differs`, or an `Obstacle`; NodeFailed.
        """
        if _ID.fullmatch(borrow) is None:
            raise bad_request(f"{borrow[:40]!a} is no id of a borrowing.", "Give the id from the answer.")
        if asked is not None and (code := self._runner.obstacle(asked)) is not None:
            raise refused(code, 409, *OBSTACLES[code])
        name, container = self._container_store.upstream, self._container_store.container
        at = constituents.standing(self._ledger, name, fingerprint(container.key), container.generation)
        try:
            terms = lent_terms(self._ledger, borrow)
            if at != "counts":
                raise refused(
                    "unavailable",
                    409,
                    f"The container of {name} does not count: what the ledger keeps of it is {at}.",
                    "Trust the container, if it is the right one; see `tmr status`.",
                )
            share = self._container_store.share(terms)
        except NotSigned as error:
            raise refused(error.code, 409, f"{error.reason}.", f"{error.remedy}.") from None
        await self._runner.settled()
        return share


def lent_terms(ledger: Ledger, borrow: str) -> BorrowTerms:
    """Terms of the borrowing by the ledger. Raises ProblemError `borrow-failed`."""
    borrowing = ledger.borrowings.get(borrow)
    if borrowing is None:
        raise refused(
            "not-committed",
            404,
            f"The committed ledger of this upstream has no borrowing {borrow}.",
            "Ask again if it was committed a moment ago; else it has ended.",
        )
    licence = ledger.licences.get(borrowing.key)
    if licence is None:
        raise refused(
            "unavailable",
            409,
            f"The licence {borrowing.key} has no two identical constituents any more.",
            "Activate the vendor's latest update on every upstream.",
        )
    return BorrowTerms(
        borrow=borrowing.id,
        client=borrowing.client,
        borrower=borrowing.borrower,
        station=borrowing.station,
        user=borrowing.user,
        from_ms=borrowing.from_ms,
        until_ms=borrowing.until_ms,
        item=licence.item,
    )


def refused(code: str, status: int, detail: str, remedy: str) -> ProblemError:
    """Reason why this upstream does not sign."""
    return ProblemError("borrow-failed", status, "The borrowing is not signed", detail, remedy, refusal=code)
