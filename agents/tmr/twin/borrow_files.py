# SPDX-License-Identifier: Apache-2.0
"""The borrow file of a committed borrowing: two upstreams sign it, each from its own ledger."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from tmr.api.patience import ANSWER_WITHIN
from tmr.licensing import BadBorrowSignature, BorrowSignature, check_share, seal_borrow_file
from tmr.licensing.borrow_file import SIGNERS
from tmr.net.problem import ProblemError
from tmr.quorum.read_index import ReadIndex
from tmr.rpc.messages import SignBorrowing
from tmr.rpc.upstream_client import LinkError, LinkRefused
from tmr.service.problems import problem
from tmr.twin.replicator import Link

PAUSE: Final = 0.05
"""Seconds after which an upstream is asked again; doubles each time."""
PAUSE_MAX: Final = 0.5
_FINAL: Final = frozenset({"no-update"})
"""Refusals that asking again does not change."""


async def borrow_file(
    links: Mapping[str, Link], borrow: str, read: Callable[[], ReadIndex], *, patience: float = ANSWER_WITHIN
) -> bytes:
    """The borrow file of the borrowing `borrow`, signed by two of the upstreams `links` (by name).

    `read` gives the asker's term, and how far it has committed: an upstream signs once it has applied that.
    All are asked at once, and again while they have not applied the borrowing yet: an upstream learns of a
    commit with the next message, many times within one lease. Raises ProblemError `borrow-not-signed` after
    `patience` seconds, or as soon as too few can sign: what is missing where.
    """
    return await _Collection(links, borrow, read).gather(patience)


class _Collection:
    """The shares of one borrow file."""

    def __init__(self, links: Mapping[str, Link], borrow: str, read: Callable[[], ReadIndex]) -> None:
        self._links = links
        self._read = read
        self._borrow = borrow
        self._shares: dict[str, BorrowSignature] = {}
        self._updates: dict[str, str] = {}
        self._missing = dict.fromkeys(links, "no answer")
        self._final: set[str] = set()
        self._decided: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    async def gather(self, patience: float) -> bytes:
        tasks = [asyncio.ensure_future(self._ask(name, link)) for name, link in self._links.items()]
        watch = asyncio.gather(*tasks)
        try:
            ends: list[asyncio.Future[Any]] = [watch, self._decided]
            await asyncio.wait(ends, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if watch.done() and not watch.cancelled():
                watch.result()  # a mistake in here is no outage of the upstreams
            file = self._decided.result() if self._decided.done() else None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, watch, return_exceptions=True)
        if file is None:
            raise self._failed()
        return file

    async def _ask(self, name: str, link: Link) -> None:
        """Ask one upstream until all is decided, or the upstream has refused for good."""
        pause = PAUSE
        while True:
            try:
                share = await link.call(SignBorrowing(self._borrow, self._read()))
                checked = await asyncio.to_thread(check_share, share)  # an update may have megabytes
                lent = checked.lent
                if lent.borrow != self._borrow:
                    raise LinkError(name, f"it signs another borrowing, {lent.borrow}")
            except LinkError as error:
                self._lacks(name, error.reason)
                if isinstance(error, LinkRefused) and error.code in _FINAL:
                    self._give_up(name)
                    return
            except BadBorrowSignature as error:
                self._lacks(name, error.reason)
            else:
                self._shares[name] = share
                self._updates[name] = lent.update_id
                self._decide(checked.signers)
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_MAX)

    def _lacks(self, name: str, reason: str) -> None:
        self._missing[name] = reason
        self._shares.pop(name, None)

    def _give_up(self, name: str) -> None:
        self._final.add(name)
        needed = min(SIGNERS, len(self._links))
        if len(self._links) - len(self._final) < needed and not self._decided.done():
            self._decided.set_result(None)

    def _decide(self, needed: int) -> None:
        for share in self._shares.values():
            equal = {other.key: other for other in self._shares.values() if other.payload == share.payload}
            if len(equal) >= needed and not self._decided.done():
                self._decided.set_result(seal_borrow_file(list(equal.values())[:needed]))

    def _failed(self) -> ProblemError:
        found = [
            f"{name}: it signs, with the update {self._updates[name]}"
            if name in self._shares
            else f"{name}: {self._missing[name]}"
            for name in self._links
        ]
        return problem(
            "borrow-not-signed",
            f"Too few upstreams sign the borrowing {self._borrow} with the same update. {'; '.join(found)}.",
            remedy="Activate the vendor's latest update on every upstream and repair what is down; the "
            "borrowing stands, so fetch its file again or give it back.",
        )
