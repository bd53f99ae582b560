# SPDX-License-Identifier: Apache-2.0
"""Lines of a licence tracking record for tests: true chains, as the ledger makes them."""

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from tmr.ledger import ChainedLine, Head, Line
from tmr.ledger import export as form
from tmr.ledger.record import Event, chain
from tmr.licensing import container_serial, raw_public_key

FIRM = 6_000_010


def lines(count: int, firm: int = FIRM, after: Head | None = None, **values: Any) -> list[ChainedLine]:
    """`count` lines that follow `after`: line n is of certified time 1000 n and of journal entry n."""
    head, made = after or Head(), list[ChainedLine]()
    events: tuple[Event, ...] = ("granted", "released")
    for _ in range(count):
        seq = head.seq + 1
        line = Line(
            firm,
            seq,
            1000 * seq,
            seq,
            events[(seq + 1) % 2],
            201,
            **{"tmr_id": 1, "id": f"s{(seq + 1) // 2}", "client": "alice", "mode": "user-limit", **values},
        )
        made.append(chain(head, line))
        head = head_of(made)
    return made


def head_of(made: list[ChainedLine]) -> Head:
    """Where the chain stands after the last of the lines."""
    return Head(made[-1].seq, made[-1].hash) if made else Head()


KEYS = tuple(Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3))
"""Of the containers of up1, up2, up3."""


def span_of(made: Sequence[ChainedLine], **values: Any) -> form.RecordSpan:
    """The span that the lines, at least one, make up."""
    first, last = made[0], made[-1]
    span = form.RecordSpan(
        first.firm_code, None, None, first.seq, first.before.hex(), last.seq, last.hash.hex(), whole=True
    )
    return replace(span, **values)


def attested(span: form.RecordSpan, number: int, **values: Any) -> bytes:
    """What the container of up`number` signs."""
    key = KEYS[number - 1]
    serial = str(container_serial(raw_public_key(key)))
    attestation = form.Attestation(
        form.FORMAT, "lab-0123456789abcdef", f"up{number}", serial, 2_000_000_000_000, span
    )
    return form.attest(replace(attestation, **values), key)


def exported(made: Sequence[ChainedLine], *, by: Sequence[int] = (1, 2), **values: Any) -> list[bytes]:
    """The lines of a file, as a twin makes it."""
    span = span_of(made, **values)
    end = form.end(span, [attested(span, number) for number in by])
    return [form.header(span), *map(form.body, made), end]


def public_keys(*numbers: int) -> dict[str, bytes]:
    """Keys by serial, as a vendor has them."""
    found = [raw_public_key(KEYS[number - 1]) for number in numbers]
    return {str(container_serial(key)): key for key in found}
