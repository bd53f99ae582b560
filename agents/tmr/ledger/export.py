# SPDX-License-Identifier: Apache-2.0
"""The exported record of one Firm Code: JSON lines that anybody can verify (docs: reference/record.md).

    {"tmr_record":1, …}                      header: whose lines of what time follow, and the hash before them
    {"hash":"<64 hex>","line":{…}}           the lines, exact bytes, each with its hash
    {"attestations":[…], …}                  where the chain ends, and which containers vouch for it

An attestation is a DSSE envelope signed by the container of an upstream, over what its own record has.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import TMR
from tmr.ledger.record import GENESIS, ChainedLine, Line, decode_line, link
from tmr.licensing import BadSerial, Serial, container_serial
from tmr.licensing.dsse import Envelope, read_envelope, seal
from tmr.licensing.strict_json import IllFormed, printable, read_json

ATTESTATION_TYPE: Final = "application/vnd.tmr.record+json"
FORMAT: Final = 1
LINE_MAX: Final = 65_536
"""Bytes of one line of a file; the last one may be larger."""
END_MAX: Final = 1 << 20
ATTESTATION_MAX: Final = 4096
ATTESTERS: Final = TMR.majority
"""Containers that must vouch for an export: as many as must agree on anything."""

_PREFIX: Final = b'{"hash":"'
_MIDDLE: Final = b'","line":'
_BODY: Final = len(_PREFIX) + 64 + len(_MIDDLE)

_T = TypeVar("_T")


class RecordSpan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The lines of a Firm Code with `from_ms` <= time < `to_ms` (Unix ms, certified; None: no bound).

    Hashes are hexadecimal; `before` is that of the line before the first one. Without a line `last_seq` is
    `first_seq` - 1 and `last_hash` is `before`. `whole`: none of them is missing because it was too old to be
    kept.
    """

    firm_code: int
    from_ms: int | None
    to_ms: int | None
    first_seq: int
    before: str
    last_seq: int
    last_hash: str
    whole: bool


class Attestation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Statement that an upstream signs.

    `time_ms`: certified time of the last journal entry that its record covers.
    """

    format: int
    act_id: str
    upstream: str
    container: str
    time_ms: int
    span: RecordSpan


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a file."""

    tmr_record: int
    firm_code: int
    from_ms: int | None
    to_ms: int | None
    first_seq: int
    before: str


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line of a file. `attestations`: DSSE envelopes."""

    last_seq: int
    last_hash: str
    whole: bool
    attestations: list[dict[str, Any]]


class BadExport(Exception):
    """The file is not what a TMR system exported. `number`: the file's line, 0: none in particular."""

    def __init__(self, number: int, reason: str, remedy: str) -> None:
        super().__init__(f"line {number}: {reason}" if number else reason)
        self.number = number
        self.reason = reason
        self.remedy = remedy


class Voucher(msgspec.Struct, frozen=True):
    """One attestation, looked at. `problem`: why it does not count; empty: it does."""

    act_id: str
    container: str
    upstream: str
    time_ms: int
    problem: str = ""


def attest(attestation: Attestation, key: Ed25519PrivateKey) -> bytes:
    """The attestation as a DSSE envelope, signed with the container's key."""
    return seal(ATTESTATION_TYPE, msgspec.json.encode(attestation), key)


def open_attestation(envelope: bytes) -> tuple[Attestation, Envelope]:
    """The attestation in an envelope, its signature not verified. Raises IllFormed."""
    found = read_envelope(envelope)
    if found.payload_type != ATTESTATION_TYPE:
        raise IllFormed("its type is not that of an attestation of the record")
    return read_json(found.payload, Attestation, ATTESTATION_MAX), found


# -- writing -----------------------------------------------------------------------------------------------


def header(span: RecordSpan) -> bytes:
    """The first line of the file."""
    made = Header(FORMAT, span.firm_code, span.from_ms, span.to_ms, span.first_seq, span.before)
    return msgspec.json.encode(made) + b"\n"


def body(chained: ChainedLine) -> bytes:
    """One line of the record as a line of the file."""
    return _PREFIX + chained.hash.hex().encode() + _MIDDLE + chained.line + b"}\n"


def end(span: RecordSpan, envelopes: Iterable[bytes]) -> bytes:
    """The last line of the file."""
    attestations = [msgspec.json.decode(envelope) for envelope in envelopes]
    return msgspec.json.encode(End(span.last_seq, span.last_hash, span.whole, attestations)) + b"\n"


# -- reading -----------------------------------------------------------------------------------------------


class Reader:
    """Reads a file and follows its chain: iterate over all lines of the record, then look at `span`.

    `lines`: the file's lines, with or without their line ends. Iteration raises BadExport.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.count = 0
        self._header: Header | None = None
        self._end: End | None = None

    def __iter__(self) -> Iterator[Line]:
        number, previous, time_ms = 0, GENESIS, 0
        seq = 0
        for number, raw in enumerate(self._lines, 1):
            text = raw.rstrip(b"\r\n")
            if self._end is not None:
                raise BadExport(number, "something follows the end of the record", _AGAIN)
            if self._header is None:
                self._header = _part(number, text, Header, LINE_MAX, "header")
                previous = _hash(number, self._header.before)
                seq = self._header.first_seq - 1
                if self._header.tmr_record != FORMAT:
                    raise BadExport(number, f"format {self._header.tmr_record} is not known here", _UPGRADE)
                if seq < 0 or (seq == 0 and previous != GENESIS):
                    raise BadExport(number, "the header begins a chain where none begins", _AGAIN)
                continue
            if not text.startswith(_PREFIX):
                self._end = _part(number, text, End, END_MAX, "end")
                if (self._end.last_seq, self._end.last_hash) != (seq, previous.hex()):
                    raise BadExport(
                        number,
                        f"the record ends with its line {seq}, but line {self._end.last_seq} was the last: "
                        "lines are missing before this one, or were changed",
                        _AGAIN,
                    )
                continue
            line, previous = self._follow(number, text, seq, previous)
            if line.time_ms < time_ms or not self._within(line.time_ms):
                raise BadExport(number, "its time is not in the order or the span of the record", _AGAIN)
            seq, time_ms = line.seq, line.time_ms
            self.count += 1
            yield line
        if self._end is None:
            raise BadExport(number + 1, "the end is missing: the file is cut off", _AGAIN)

    def _follow(self, number: int, text: bytes, seq: int, previous: bytes) -> tuple[Line, bytes]:
        assert self._header is not None  # noqa: S101
        if len(text) > LINE_MAX or text[_BODY - len(_MIDDLE) : _BODY] != _MIDDLE or not text.endswith(b"}"):
            raise BadExport(number, "this is no line of a record", _AGAIN)
        claimed = _hash(number, text[len(_PREFIX) : len(_PREFIX) + 64].decode("ascii", "replace"))
        data = text[_BODY:-1]
        try:
            line = decode_line(data)
        except msgspec.DecodeError as error:
            raise BadExport(number, f"this is no line of a record: {printable(str(error))}", _AGAIN) from None
        if line.firm_code != self._header.firm_code:
            raise BadExport(
                number, f"it is of the firm {line.firm_code}, not {self._header.firm_code}", _AGAIN
            )
        if line.seq != seq + 1:
            what = f"line {line.seq} of the record follows line {seq}: "
            missing = line.seq - seq - 1
            if missing == 1:
                what += f"line {seq + 1} is missing"
            elif missing > 1:
                what += f"lines {seq + 1} to {line.seq - 1} are missing"
            else:
                what += "they are not in order"
            raise BadExport(number, what, _AGAIN)
        if link(previous, data) != claimed:
            raise BadExport(
                number,
                f"the hash of line {line.seq} of the record does not hold: this line was changed, or the one "
                f"before; everything up to line {seq} of the record is as it was",
                _AGAIN,
            )
        return line, claimed

    def _within(self, time_ms: int) -> bool:
        assert self._header is not None  # noqa: S101
        begin, stop = self._header.from_ms, self._header.to_ms
        return (begin is None or time_ms >= begin) and (stop is None or time_ms < stop)

    @property
    def span(self) -> RecordSpan:
        """Span that the file states; once all lines were read."""
        head, tail = self._header, self._end
        assert head is not None  # noqa: S101
        assert tail is not None  # noqa: S101
        return RecordSpan(
            head.firm_code,
            head.from_ms,
            head.to_ms,
            head.first_seq,
            head.before,
            tail.last_seq,
            tail.last_hash,
            tail.whole,
        )

    def vouchers(self, keys: Mapping[str, bytes]) -> list[Voucher]:
        """Attestations of the file, and whether each counts. `keys`: container's serial → raw public key."""
        assert self._end is not None  # noqa: S101
        found: list[Voucher] = []
        for document in self._end.attestations:
            voucher = _vouch(msgspec.json.encode(document), self.span, keys)
            counted = [one for one in found if not one.problem]
            if not voucher.problem and any(voucher.container == one.container for one in counted):
                voucher = msgspec.structs.replace(voucher, problem="this container has vouched already")
            elif not voucher.problem and any(voucher.act_id != one.act_id for one in counted):
                voucher = msgspec.structs.replace(voucher, problem="this container is of another system")
            found.append(voucher)
        return found


def _vouch(envelope: bytes, span: RecordSpan, keys: Mapping[str, bytes]) -> Voucher:
    try:
        attestation, signed = open_attestation(envelope)
        Serial.parse(attestation.container)
    except (IllFormed, BadSerial) as error:
        return Voucher("?", "?", "?", 0, f"this is no attestation: {printable(str(error))}")
    act_id, upstream = printable(attestation.act_id), printable(attestation.upstream)
    who = (act_id, attestation.container, upstream, attestation.time_ms)
    key = keys.get(attestation.container)
    if key is None:
        return Voucher(*who, "the key of this container is not known")
    if str(container_serial(key)) != attestation.container:
        return Voucher(*who, "the key given is not that of this container")
    if not signed.signed_by(key):
        return Voucher(*who, "the signature does not hold")
    if attestation.format != FORMAT:
        return Voucher(*who, f"format {attestation.format} is not known here")
    if attestation.span != span:
        return Voucher(*who, "it vouches for something else than this file")
    if span.to_ms is not None and attestation.time_ms < span.to_ms:
        return Voucher(*who, "it was made before the span ended: later lines of the span may be missing")
    return Voucher(*who)


_AGAIN: Final = "take the file again with `tmr tracking export`; if it breaks again, tell the operator"
_UPGRADE: Final = "use a newer version of tmr"


def _part(number: int, text: bytes, kind: type[_T], limit: int, what: str) -> _T:
    try:
        return read_json(text, kind, limit)
    except IllFormed as error:
        raise BadExport(number, f"this is not the {what} of a record: {error}", _AGAIN) from None


def _hash(number: int, text: str) -> bytes:
    if len(text) == 64 and text == text.lower():
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    raise BadExport(number, "a hash is 64 hexadecimal digits", _AGAIN)
