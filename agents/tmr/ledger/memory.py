# SPDX-License-Identifier: Apache-2.0
"""Memory for a while: outcomes, for retries, and the ends of sessions, for later questions.

Both age by *steady time*, a clock of the ledger's own. Certified time may leap at a failover, by hours where
clocks were set, and clients retry just then: steady time follows it by STEP_MS an entry at most.

An outcome is kept for PROMISED_MS, whatever comes: where there is no room for more, new requests are denied.
Older ones are kept as long as there is room. Each is small: names and questions are told by their hashes.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import msgspec

from tmr.ledger.commands import Request, question
from tmr.ledger.outcomes import Denied, Outcome
from tmr.ledger.state import Ended
from tmr.ledger.state_digest import StateDigest
from tmr.licensing.packed import unpack

STEP_MS: Final = 1_000
"""Steady time goes on by so much with each entry, at most."""
PROMISED_MS: Final = 60_000
"""Outcomes are remembered at least this long: twice a client's patience (`tmr.client._retry`)."""
MAX_REMEMBERED: Final = 600_000
"""Outcomes younger than that; half of them those of one client. Beyond, new requests are denied."""
MAX_SIZE: Final = 72 * 2**20
"""Bytes that outcomes may take in a snapshot, half of it those of one client. A usual one takes 140: there is
room for 8,900 a second, PROMISED_MS long."""
REMEMBER_MS: Final = 600_000
"""Outcomes are remembered this long where there is room."""
MAX_OLDER: Final = 200_000
"""Outcomes at which those older than PROMISED_MS are forgotten."""
ENDED_MS: Final = 3_600_000
"""Milliseconds for which the end of a session is remembered, for a client that asks after it."""
MAX_ENDED: Final = 50_000

TEXT: Final = 200
"""Bytes that are kept of the words of a refusal, and that they count for, whatever they are: for how many
outcomes there is room must not depend on a version's words."""
_HASH: Final = 16
"""Bytes of a hash. Nobody finds two requests of one hash, let alone by mistake."""


class StoredOutcome(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of a request, for its retries, since `at_ms` of steady time."""

    at_ms: int
    client: str
    name: bytes
    """Hash of client and idempotency key."""
    question: bytes
    """Hash of what was asked for."""
    outcome: Outcome

    def answers(self, request: Request) -> bool:
        """Tells whether `request`, which has the same idempotency key, is a retry of the one that is
        remembered.
        """
        return self.question == question_of(request)


class _Brief(msgspec.Struct, frozen=True, array_like=True):
    """Fields that are looked at when an outcome grows old."""

    at_ms: int
    client: str


_encoder = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[StoredOutcome]] = msgspec.msgpack.Decoder(StoredOutcome)
_brief: Final[msgspec.msgpack.Decoder[_Brief]] = msgspec.msgpack.Decoder(_Brief)


def name_of(client: str, request_id: str) -> bytes:
    """Hash that tells a request from all others."""
    return hashlib.blake2b(_encoder.encode((client, request_id)), digest_size=_HASH).digest()


def question_of(request: Request) -> bytes:
    """Hash of what the client asked for."""
    return hashlib.blake2b(_encoder.encode(question(request)), digest_size=_HASH).digest()


def without_text(record: bytes) -> bytes:
    """The remembered outcome as the digest covers it: a refusal without its words."""
    return _plain(record)[0]


def _plain(record: bytes) -> tuple[bytes, int]:
    """The remembered outcome without words, and the bytes that it counts for."""
    one = _decoder.decode(record)
    if not isinstance(one.outcome, Denied):
        return record, len(record)
    outcome = msgspec.structs.replace(one.outcome, detail="")
    plain = _encoder.encode(msgspec.structs.replace(one, outcome=outcome))
    return plain, len(plain) + TEXT


class _Room:
    """Size of outcomes: number and bytes."""

    def __init__(self) -> None:
        self.number = self.size = 0

    def add(self, size: int, number: int = 1) -> None:
        self.size += size
        self.number += number

    def full(self, share: int) -> bool:
        """Tells whether the part of one in `share` is taken."""
        return self.number >= MAX_REMEMBERED // share or self.size >= MAX_SIZE // share


class IdempotencyTable:
    """Filled from a snapshot: outcomes as `outcomes` gave them. Raises msgspec.DecodeError."""

    def __init__(
        self, remembered: Iterable[bytes], ended: Iterable[Ended], steady_ms: int, digest: StateDigest
    ) -> None:
        self._digest = digest
        self.steady_ms = steady_ms
        # Ordered: to find the first key of a plain dict takes longer, the more were deleted before it.
        self._recent: OrderedDict[bytes, bytes] = OrderedDict()
        """Outcomes younger than PROMISED_MS, the oldest first, by the names of their requests."""
        self._older: OrderedDict[bytes, bytes] = OrderedDict()
        self._room, self._older_room = _Room(), _Room()
        self._of_client: dict[str, _Room] = {}
        """Size of the recent ones of each client."""
        self.crowded = set[str]()
        """Clients whose new requests are denied, were there room else."""
        for record in remembered:
            one = unpack(_decoder, record)
            self._add(one.name, one.client, bytes(record))
        self._grow_old()
        self.ended: OrderedDict[str, Ended] = OrderedDict()
        for over in ended:
            self.end(over)

    def advance(self, by_ms: int) -> None:
        """An entry is carried out, `by_ms` of certified time after the one before."""
        self.steady_ms += min(max(0, by_ms), STEP_MS)

    def outcomes(self) -> list[bytes]:
        """All of them, for a snapshot, the oldest first."""
        return [*self._older.values(), *self._recent.values()]

    def outcome(self, client: str, request_id: str) -> StoredOutcome | None:
        """Outcome of the request with this idempotency key."""
        name = name_of(client, request_id)
        record = self._recent.get(name) or self._older.get(name)
        return None if record is None else _decoder.decode(record)

    def remember(self, request: Request, outcome: Outcome) -> None:
        """The outcome answers every retry of the request from now on."""
        name = name_of(request.client, request.request_id)
        self._drop(name)  # the newest stand last
        if isinstance(outcome, Denied):
            detail = outcome.detail.encode()[:TEXT].decode(errors="ignore")
            outcome = msgspec.structs.replace(outcome, detail=detail)
        one = StoredOutcome(self.steady_ms, request.client, name, question_of(request), outcome)
        self._add(name, request.client, _encoder.encode(one))

    def drop(self, client: str, request_id: str) -> None:
        """Forget the outcome."""
        self._drop(name_of(client, request_id))

    @property
    def full(self) -> bool:
        """New requests are denied: there is no room for a further outcome before older ones may go."""
        return self._room.full(1)

    def too_many(self, client: str) -> str:
        """Reason why the client's new requests are denied, in words; empty: they are not."""
        last = f"in the last {PROMISED_MS // 1000} s"
        if self.full:
            return f"{self._room.number} requests were carried out {last}, and no more are for now"
        if client in self.crowded:
            number = self._of_client[client].number
            return f"{number} requests of this client were carried out {last}, and no more are for now"
        return ""

    def end(self, ended: Ended) -> None:
        """A session, or a place in the queue, is no more."""
        before = self.ended.pop(ended.session, None)  # the newest stand last
        if before is not None:
            self._digest.remove(b"ended", before)
        self.ended[ended.session] = ended
        self._digest.add(b"ended", ended)

    def forget(self) -> None:
        """Forget what is old: outcomes that no retry can ask for any more, and how sessions ended."""
        self._grow_old()
        older = self._older
        while older:
            number, size = len(older) + self._room.number, self._older_room.size + self._room.size
            name, record = next(iter(older.items()))
            young = _brief.decode(record).at_ms > self.steady_ms - REMEMBER_MS
            if young and number <= MAX_OLDER and size <= MAX_SIZE:
                break
            self._drop(name)
        while self.ended:
            first = next(iter(self.ended))
            recent = self.ended[first].steady_ms > self.steady_ms - ENDED_MS
            if recent and len(self.ended) < MAX_ENDED:
                break
            self._digest.remove(b"ended", self.ended.pop(first))

    def _grow_old(self) -> None:
        while self._recent:
            name, record = next(iter(self._recent.items()))
            brief = _brief.decode(record)
            if brief.at_ms > self.steady_ms - PROMISED_MS:
                break
            self._take_out(name, brief.client)
            self._older[name] = record
            self._older_room.add(_plain(record)[1])

    def _add(self, name: bytes, client: str, record: bytes) -> None:
        self._recent[name] = record
        plain, size = _plain(record)
        self._digest.add(b"remembered", plain)
        self._resize(client, size, 1)

    def _drop(self, name: bytes) -> None:
        record = self._older.pop(name, None)
        if record is not None:
            self._older_room.add(-_plain(record)[1], -1)
        elif (record := self._recent.get(name)) is not None:
            self._take_out(name, _brief.decode(record).client)
        if record is not None:
            self._digest.remove(b"remembered", without_text(record))

    def _take_out(self, name: bytes, client: str) -> None:
        self._resize(client, -_plain(self._recent.pop(name))[1], -1)

    def _resize(self, client: str, size: int, number: int) -> None:
        self._room.add(size, number)
        room = self._of_client.get(client)
        if room is None:
            room = self._of_client[client] = _Room()
        room.add(size, number)
        if room.full(2):
            self.crowded.add(client)
        else:
            self.crowded.discard(client)
        if not room.number:
            del self._of_client[client]
