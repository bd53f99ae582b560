# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from itertools import pairwise, permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.api.deployment import NETWORK, TMR
from tmr.licensing import BadItem, LicenceKey, ProductItem
from tmr.licensing.items import FIRM_CODE_MIN, ITEMS_MAX, check_kind, ordered
from tmr.licensing.options import (
    CODE_MAX,
    EXPIRATION_MS_MAX,
    NAME_MAX,
    QUANTITY_MAX,
    UNITS_MAX,
    USER_DATA_MAX,
)
from tmr.licensing.spelling import SECONDS_MAX

from .strategies import items
from .system import FIRM, item

keys = st.builds(
    LicenceKey,
    st.integers(FIRM_CODE_MIN, CODE_MAX),
    st.integers(0, CODE_MAX),
    st.none() | st.integers(1, CODE_MAX),
)


@given(keys | items())
def test_round_trips(value: LicenceKey | ProductItem) -> None:
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(value), type=type(value)) == value


@given(st.lists(keys, max_size=20))
def test_keys_are_hashable_and_ordered(given_keys: list[LicenceKey]) -> None:
    found = sorted(given_keys)
    assert sorted(given_keys, reverse=True) == found[::-1]
    assert len(set(given_keys)) == len({str(key) for key in given_keys})
    for former, latter in pairwise(found):
        assert former <= latter
        assert latter >= former
        assert (former < latter) == (latter > former) == (former != latter)


def test_a_plain_licence_comes_before_those_of_a_tmr() -> None:
    plain, first, second = (LicenceKey(FIRM, 1, tmr_id) for tmr_id in (None, 1, 2))
    for arrangement in permutations([plain, first, second]):
        assert sorted(arrangement) == [plain, first, second]


@pytest.mark.parametrize(
    "change",
    [
        {"firm_code": FIRM_CODE_MIN - 1},
        {"firm_code": CODE_MAX + 1},
        {"firm_code": True},
        {"firm_code": 10**5000},
        {"product_code": -1},
        {"product_code": CODE_MAX + 1},
        {"product_code": 1.0},
        {"tmr_id": 0},
        {"tmr_id": CODE_MAX + 1},
        {"quantity": 0},
        {"quantity": QUANTITY_MAX + 1},
        {"quantity": "5"},
        {"expiration_ms": 0},
        {"expiration_ms": EXPIRATION_MS_MAX + 1},
        {"name": "x" * (NAME_MAX + 1)},
        {"name": "a\nb"},
        {"name": "\x1b[31mred"},
        {"name": "left\u202eright"},
        {"name": "\ud800"},
        {"name": b"bytes"},
        {"reference": 1},
        {"reference": -1, "tmr_id": None},
        {"reference": CODE_MAX + 1, "tmr_id": None},
        {"units": 0},
        {"units": UNITS_MAX + 1},
        {"activation_ms": 0},
        {"activation_ms": EXPIRATION_MS_MAX + 1},
        {"activation_ms": 2000, "expiration_ms": 2000},
        {"usage_s": 0},
        {"usage_s": SECONDS_MAX + 1},
        {"maintenance_start_ms": 0},
        {"maintenance_end_ms": EXPIRATION_MS_MAX + 1},
        {"maintenance_start_ms": 2, "maintenance_end_ms": 1},
        {"emergency": True},
        {"emergency": 1, "usage_s": 60},
        {"emergency": True, "usage_s": 60, "borrow_s": 60},
        {"borrow_s": 0},
        {"borrow_s": SECONDS_MAX + 1},
        {"borrow_seats": 1},
        {"borrow_s": 60, "borrow_seats": 0},
        {"borrow_s": 60, "borrow_seats": 6},
        {"feature_map": -1},
        {"feature_map": 2**32},
        {"text": "x" * (NAME_MAX + 1)},
        {"text": "a\nb"},
        {"customer": "x" * (NAME_MAX + 1)},
        {"customer": "\x1b"},
        {"user_data": bytes(USER_DATA_MAX + 1)},
        {"user_data": "text"},
    ],
)
def test_limits(change: dict[str, object]) -> None:
    fields: dict[str, object] = {
        "firm_code": FIRM,
        "product_code": 1001,
        "tmr_id": 1,
        "quantity": 5,
        "expiration_ms": None,
        "name": "Editor",
    }
    make: Callable[..., ProductItem] = ProductItem
    assert make(**fields) == item()
    with pytest.raises(BadItem) as caught:
        make(**(fields | change))
    assert caught.value.remedy
    assert str(caught.value).isprintable()


def test_limits_hold_for_decoded_items_too() -> None:
    with pytest.raises(msgspec.ValidationError, match="License Quantity"):
        msgspec.json.decode(
            b'{"firm_code":6000010,"product_code":1,"tmr_id":1,"quantity":0,"expiration_ms":null}',
            type=ProductItem,
        )


def test_ordered_refuses_twins_and_too_many() -> None:
    assert ordered([item(2), item(1)]) == (item(1), item(2))
    with pytest.raises(BadItem, match="occurs twice"):
        ordered([item(1), item(2), item(1, quantity=6)])
    assert len(ordered(item(n) for n in range(1, ITEMS_MAX + 1))) == ITEMS_MAX
    with pytest.raises(BadItem, match="at most"):
        ordered(item(n) for n in range(1, ITEMS_MAX + 2))


def test_the_largest_of_every_option_fits() -> None:
    largest = ProductItem(
        CODE_MAX,
        CODE_MAX,
        None,
        quantity=QUANTITY_MAX,
        expiration_ms=EXPIRATION_MS_MAX,
        name="x" * NAME_MAX,
        reference=CODE_MAX,
        units=UNITS_MAX,
        activation_ms=EXPIRATION_MS_MAX - 1,
        usage_s=SECONDS_MAX,
        maintenance_start_ms=EXPIRATION_MS_MAX - 1,
        maintenance_end_ms=EXPIRATION_MS_MAX,
        emergency=False,
        borrow_s=SECONDS_MAX,
        borrow_seats=QUANTITY_MAX,
        feature_map=2**32 - 1,
        text="x" * NAME_MAX,
        customer="x" * NAME_MAX,
        user_data=bytes(USER_DATA_MAX),
    )
    assert msgspec.json.decode(msgspec.json.encode(largest), type=ProductItem) == largest


def test_plain_licences_of_a_product_are_told_apart_by_reference() -> None:
    first, second = (
        ProductItem(FIRM, 1, None, quantity=1, expiration_ms=None, reference=number) for number in (0, 7)
    )
    assert ordered([second, first]) == (first, second)
    assert (str(first.key), str(second.key)) == ("6000010:1", "6000010:1 reference 7")


def test_items_of_one_kind() -> None:
    check_kind([item(1), item(2)], TMR)
    check_kind([item(None), item(None, 2)], NETWORK)
    # a TMR-Id is the vendor's: another firm may have the same
    check_kind([item(1), msgspec.structs.replace(item(1, 7), firm_code=FIRM + 1)], TMR)
    for wrong, deployment, told in (
        ([item(1), item(None)], TMR, "has no TMR-Id"),
        ([item(None), item(1)], NETWORK, "has a TMR-Id"),
        ([item(1), item(1, 1002)], TMR, "TMR-Id 1 is on two products, 1001 and 1002"),
    ):
        with pytest.raises(BadItem, match=told):
            check_kind(wrong, deployment)
