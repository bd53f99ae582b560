# SPDX-License-Identifier: Apache-2.0
"""The record's chain is unbroken: by the product's own function, and again by the documented format alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from chaos.history import BODY
from chaos.rules.finding import Proof
from tmr.ledger.record import link

_ATTESTERS = 2


def check(exported: Sequence[bytes]) -> Proof:
    """Follow the hashes from header to end (docs: reference/record.md, Verifying)."""
    proof = Proof("record", "Every line follows the one before: hash, number, certified time")
    if len(exported) < 2:
        proof.violated(None, f"the exported record has {len(exported)} lines, and not even header and end")
        return proof
    header, end = _object(exported[0]), _object(exported[-1])
    if header is None or end is None or "tmr_record" not in header or "last_hash" not in end:
        proof.violated(None, "the exported record lacks its header or its end")
        return proof
    try:
        previous = bytes.fromhex(header["before"])
        seq, time_ms, firm = int(header["first_seq"]) - 1, 0, int(header["firm_code"])
    except (KeyError, TypeError, ValueError):
        proof.violated(None, "the header of the exported record cannot be read")
        return proof
    for number, raw in enumerate(exported[1:-1], 2):
        proof.facts += 1
        where = f"line {number} of tracking.jsonl"
        data, claimed = raw[BODY:-1], raw[9:73]
        own = hashlib.sha256(previous + data).digest()
        if link(previous, data) != own or own.hex().encode() != claimed:
            proof.violated(None, f"{where}: its hash is not that of the line and all before it")
        line = _object(data)
        try:
            known = (line or {})["seq"], (line or {})["time_ms"], (line or {})["firm_code"]
        except KeyError:
            proof.violated(None, f"{where} cannot be read")
            previous = own
            continue
        if known[0] != seq + 1:
            proof.violated(None, f"{where} has number {known[0]}, and {seq + 1} was due")
        if known[1] < time_ms:
            proof.violated(None, f"{where}: certified time runs back by {time_ms - known[1]} ms")
        if known[2] != firm:
            proof.violated(None, f"{where} belongs to Firm Code {known[2]}")
        # From here on as the file says: one change is one violation, and not one for every line after it.
        previous = bytes.fromhex(claimed.decode()) if _hexadecimal(claimed) else own
        seq, time_ms = known[0], known[1]
    if (end["last_seq"], end["last_hash"]) != (seq, previous.hex()):
        proof.violated(None, f"the record ends with line {seq}, its end names line {end['last_seq']}")
    if end.get("whole") is not True:
        proof.violated(None, "the record is not whole: upstreams lack lines of it")
    if len(end.get("attestations", ())) < _ATTESTERS:
        proof.violated(None, "fewer than two containers vouch for the record")
    return proof


def _hexadecimal(text: bytes) -> bool:
    return len(text) == 64 and all(byte in b"0123456789abcdef" for byte in text)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
