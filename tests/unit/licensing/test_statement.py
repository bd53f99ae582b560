# SPDX-License-Identifier: Apache-2.0
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    BadItem,
    BadSerial,
    BadStatement,
    SignedStatement,
    Statement,
    open_statement,
    raw_public_key,
    sign,
)
from tmr.licensing.request import REQUEST_TYPE
from tmr.licensing.signing import sign_bytes
from tmr.licensing.statement import STATEMENT_TYPE

from .system import ACT_ID, CONTAINER_KEYS, STRANGER, containers, item

KEY = CONTAINER_KEYS[0]
PUBLIC = raw_public_key(KEY)
STATEMENT = Statement("up1", containers()[0].serial, ACT_ID, 3, (item(2), item(1)))


def test_opens_to_what_was_signed() -> None:
    signed = sign(STATEMENT, KEY)
    travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(signed), type=SignedStatement)
    assert open_statement(travelled, PUBLIC) == STATEMENT


def test_items_are_sorted_so_equal_contents_are_equal_bytes() -> None:
    other = Statement("up1", STATEMENT.container, ACT_ID, 3, (item(1), item(2)))
    assert other == STATEMENT
    assert sign(other, KEY) == sign(STATEMENT, KEY)


def test_another_key_is_refused() -> None:
    foreign = sign(STATEMENT, STRANGER)
    with pytest.raises(BadStatement) as caught:
        open_statement(foreign, PUBLIC)
    assert caught.value.code == "unknown-key"
    posing = msgspec.structs.replace(foreign, key=PUBLIC)
    with pytest.raises(BadStatement) as caught:
        open_statement(posing, PUBLIC)
    assert caught.value.code == "tampered"


def test_every_flipped_bit_is_refused() -> None:
    signed = sign(STATEMENT, KEY)
    for field in ("payload", "signature", "key"):
        data = getattr(signed, field)
        for position in range(len(data)):
            changed = bytearray(data)
            changed[position] ^= 1 << position % 8
            with pytest.raises(BadStatement):
                open_statement(msgspec.structs.replace(signed, **{field: bytes(changed)}), PUBLIC)


def test_a_signature_over_another_type_is_refused() -> None:
    payload = sign(STATEMENT, KEY).payload
    with pytest.raises(BadStatement):
        open_statement(SignedStatement(payload, sign_bytes(REQUEST_TYPE, payload, KEY), PUBLIC), PUBLIC)


@given(st.binary(max_size=300) | st.sampled_from([b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff"]))
def test_signed_rubbish_raises_bad_statement_only(payload: bytes) -> None:
    with pytest.raises(BadStatement) as caught:
        open_statement(SignedStatement(payload, sign_bytes(STATEMENT_TYPE, payload, KEY), PUBLIC), PUBLIC)
    assert caught.value.code == "ill-formed"


def test_limits() -> None:
    with pytest.raises(BadItem, match="upstream"):
        Statement("", "130-1", ACT_ID, 0)
    with pytest.raises(BadItem, match="CmActId"):
        Statement("up1", "130-1", "a b", 0)
    with pytest.raises(BadSerial):
        Statement("up1", "up1", ACT_ID, 0)
    with pytest.raises(BadItem, match="generation"):
        Statement("up1", "130-1", ACT_ID, -1)
    with pytest.raises(BadItem, match="twice"):
        Statement("up1", "130-1", ACT_ID, 0, (item(1), item(1, quantity=6)))
