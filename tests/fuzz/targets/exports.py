# SPDX-License-Identifier: Apache-2.0
"""Exports of the licence tracking record, read offline; and attestations that a container signed."""

from tests.support.record import KEYS, attested, exported, lines, public_keys, span_of
from tmr.ledger import export as form
from tmr.ledger.export import ATTESTATION_TYPE, BadExport, Reader
from tmr.licensing.dsse import read_envelope, seal

TRUTH = lines(4)
SPAN = span_of(TRUTH)
WHOLE = exported(TRUTH)
SEEDS = [b"\0" + b"".join(WHOLE), b"\1" + read_envelope(attested(SPAN, 1)).payload]


def check(data: bytes) -> None:
    """The first byte says whether the rest is a file, or what a container signs of the right one."""
    file = data[1:].splitlines(keepends=True)
    if data[:1] == b"\1":
        file = [*WHOLE[:-1], form.end(SPAN, [seal(ATTESTATION_TYPE, data[1:], KEYS[0])])]
    reader = Reader(file)
    try:
        read = list(reader)
    except BadExport as error:
        assert str(error)
        return
    assert [line.seq for line in read] == list(range(reader.span.first_seq, reader.span.last_seq + 1))
    for voucher in reader.vouchers(public_keys(1, 2, 3)):
        assert voucher.problem or reader.span == SPAN
