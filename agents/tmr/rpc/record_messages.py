# SPDX-License-Identifier: Apache-2.0
"""Messages between the active twin and upstreams about the licence tracking record (msgpack).

Lines are kept in runs without a gap. An upstream that was sent a snapshot lacks the lines of the entries that
it stood for; the twin copies them from another.
"""

from typing import Annotated, Final

import msgspec

from tmr.ledger import ChainedLine
from tmr.ledger.export import RecordSpan
from tmr.rpc.messages import Query

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]

PAGE_LINES: Final = 1_000
"""Lines in one page at most."""
PAGE_BYTES: Final = 512 * 1024
"""Bytes of lines after which a page ends."""
LIST_FIRMS: Final = 500
"""Firms in one answer to `ListRecords` at most."""


class LineRun(msgspec.Struct, frozen=True, array_like=True):
    """Lines without a gap."""

    first: int
    last: int


class FirmRecord(msgspec.Struct, frozen=True, array_like=True):
    """Record that an upstream has of one Firm Code. `head`: last line that its ledger knows.

    `pruned`: lines up to
    this were deleted when they became too old. `runs`: the last few, in order."""

    firm_code: int
    head: int
    pruned: int
    runs: tuple[LineRun, ...]


class RecordList(msgspec.Struct, frozen=True, tag="record-list"):
    """`more`: there are further firms."""

    firms: tuple[FirmRecord, ...]
    more: bool


class LinePage(msgspec.Struct, frozen=True, tag="line-page"):
    """Lines that follow one another; none where the upstream does not have them."""

    lines: tuple[ChainedLine, ...]


class LinesStored(msgspec.Struct, frozen=True, tag="lines-stored"):
    """So many lines were stored; `reason`: why none."""

    stored: int
    reason: str = ""


class RecordAttested(msgspec.Struct, frozen=True, tag="record-attested"):
    """The signed attestation (DSSE), and what it is about."""

    span: RecordSpan
    envelope: bytes


class NotAttested(msgspec.Struct, frozen=True, tag="not-attested"):
    """It cannot vouch for it; `yet`: perhaps in a moment."""

    reason: str
    yet: bool = False


class ListRecords(Query[RecordList], frozen=True, tag="list-records"):
    """Question for the records that an upstream has. `after`: only Firm Codes larger than this."""

    after: Count = 0


class ReadLines(Query[LinePage], frozen=True, tag="read-lines"):
    """Lines `first` to `last`; as many as fit a page, from the front, or with `backwards` from the end."""

    firm_code: Count
    first: Count
    last: Count
    backwards: bool = False


class StoreLines(Query[LinesStored], frozen=True, tag="store-lines"):
    """Keep these lines, which follow one another, if they lead to what your own ledger knows."""

    firm_code: Count
    lines: tuple[ChainedLine, ...]


class AttestRecord(Query[RecordAttested | NotAttested], frozen=True, tag="attest-record"):
    """Vouch for the lines of a span of time, up to line `head_seq`, which has the hash `head_hash`.

    `index`: journal entry that must be applied before. `first_seq`: vouch for no earlier lines, and so
    not for a whole span; 0: for all.
    """

    firm_code: Count
    from_ms: Count | None
    to_ms: Count | None
    head_seq: Count
    head_hash: bytes
    index: Count
    first_seq: Count = 0


Question = ListRecords | ReadLines | StoreLines | AttestRecord
Answer = RecordList | LinePage | LinesStored | RecordAttested | NotAttested
