# SPDX-License-Identifier: Apache-2.0
"""Decision which constituents count: a container's statement, while that container is the one that answers.

What a container stated stays in the ledger. The container may be gone all the same: an upstream that lost its
store answers with a new one, which is empty, and one that was put back to a copy has forgotten updates. The
mirror, the status, metrics, explanations, borrow files and the withdrawal in the journal all ask here.
"""

from collections.abc import Iterable
from typing import Literal, Protocol

from tmr.ledger.commands import Withdraw
from tmr.ledger.ledger import Ledger

Standing = Literal["counts", "unstated", "unknown", "another", "withdrawn", "older"]
"""`another`: another container answers. `withdrawn`: one did, by the journal. `older`: the container is the
same, and has forgotten updates. `unstated`, `unknown`: nothing was stated, or no answer has come yet."""


class AnsweringUpstream(Protocol):
    """One upstream as it answers now."""

    @property
    def name(self) -> str:
        """Name of the upstream."""

    @property
    def counts(self) -> bool:
        """It answers, and has a vote."""

    @property
    def container(self) -> str:
        """Fingerprint of the key of the container that answers; empty: it has not said."""

    @property
    def generation(self) -> int:
        """Generation of that container."""


def standing(ledger: Ledger, upstream: str, container: str, generation: int) -> Standing:
    """Standing of what the ledger keeps of the upstream, whose container is this one now."""
    statement = ledger.statements.get(upstream)
    if statement is None:
        return "unstated"
    if not container:
        return "withdrawn" if upstream in ledger.withdrawn else "unknown"
    if container != ledger.fingerprints[upstream]:
        return "another"
    if upstream in ledger.withdrawn:
        return "withdrawn"
    return "older" if generation < statement.generation else "counts"


def counting(ledger: Ledger, upstreams: Iterable[AnsweringUpstream]) -> frozenset[str]:
    """Names of the upstreams whose constituents count."""
    return frozenset(
        one.name
        for one in upstreams
        if one.counts and standing(ledger, one.name, one.container, one.generation) == "counts"
    )


def withdrawals(ledger: Ledger, upstreams: Iterable[AnsweringUpstream]) -> list[Withdraw]:
    """Commands that the active twin owes the journal: for each statement of a container that is gone."""
    return [
        Withdraw(one.name, one.container)
        for one in upstreams
        if one.name not in ledger.withdrawn
        and standing(ledger, one.name, one.container, one.generation) == "another"
    ]
