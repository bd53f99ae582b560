# SPDX-License-Identifier: Apache-2.0
"""The digest of the state in a snapshot, computed from its records alone: what `StateDigest` must be at."""

from tmr.ledger.memory import without_text
from tmr.ledger.state import Stored
from tmr.ledger.state_digest import StateDigest


def digest_of(stored: Stored) -> bytes:
    """The digest of the state in a snapshot, whatever digest is written in it."""
    digest = StateDigest()
    digest.replace(b"containers", (stored.trusted, stored.statements, stored.withdrawn))
    digest.replace(b"access", stored.access)
    for kind, records in (
        (b"session", stored.sessions),
        (b"borrowing", stored.borrowings),
        (b"waiter", stored.waiting),
        (b"lingering", stored.lingering),
        (b"counter", stored.counters),
        (b"ended", stored.ended),
        (b"remembered", [without_text(one) for one in stored.remembered]),
        (b"head", list(stored.heads.items())),
    ):
        for record in records:
            digest.add(kind, record)
    return digest.value(stored.time_ms, stored.access_version, stored.steady_ms)
