# SPDX-License-Identifier: Apache-2.0
"""Alarms of ledgers that differ: this twin's from two upstreams, or one upstream's from it."""

from collections.abc import Sequence
from typing import Final

from tmr.quorum.agreement import unresolved
from tmr.quorum.proposer import Proposer

DIFFERENCE_ALARM: Final = 60.0
"""Seconds that an upstream's other ledger stays an alarm, unless it is known to agree again."""
DROPPED: Final = (
    "this twin's ledger differed from those of two upstreams, and was mirrored anew; test the memory of this "
    "machine. The alarm ends with the next start"
)
CONTRADICTED: Final = (
    "entry {} of epoch {}, which this twin had mirrored, is another one on two upstreams, so the journal was "
    "mirrored anew. Either a loss was accepted on the other twin alone: then this twin objects, and that "
    "alarm says how to accept it here, too. Or an upstream showed entries that no majority has: look who has "
    "been root there. The alarm ends with the next start"
)
FORKED: Final = (
    "two upstreams had different entries of one epoch in their journals: a copy of a running twin wrote "
    "beside it. What two upstreams have counts, and nothing is granted before the third has answered. "
    "End the copy"
)


def ledger_alarms(twin: Proposer, now: float) -> list[str]:
    """Alarms for ledgers that differ."""
    found = [DROPPED] if twin.dropped else []
    if (other := twin.journal_check.contradicted) is not None:
        found.append(CONTRADICTED.format(other.index, other.epoch))
    found += [FORKED] if twin.forked else []
    for slot in unresolved(twin.agreement.differences, now, DIFFERENCE_ALARM):
        others = [other for other in range(len(twin.names)) if other != slot]
        agreeing = [twin.names[other] for other in others if other in twin.agreement.agreed]
        silent = [twin.names[other] for other in others if other not in twin.agreement.agreed]
        found.append(difference(twin.names[slot], agreeing, silent))
    return found


def difference(upstream: str, agreeing: Sequence[str], silent: Sequence[str]) -> str:
    """The alarm of one upstream; `agreeing`, `silent`: the two others, as their ledgers are this twin's."""
    if not silent:
        return (
            f"the ledger of {upstream} differs from those of {' and '.join(agreeing)}, and is replaced by "
            f"theirs; test the memory of {upstream}. If the alarm stays, it refuses them: replace its store, "
            "see docs/how-to/replace-an-upstream.md"
        )
    with_it = f"{' and '.join(agreeing)} and this twin" if agreeing else "this twin"
    return (
        f"the ledger of {upstream} differs from that of {with_it}, and {' and '.join(silent)} says nothing: "
        "nobody can tell which is right, and nothing is granted while it is so. Bring "
        f"{' and '.join(silent)} back, see docs/how-to/replace-an-upstream.md, 'Two ledgers that differ'"
    )
