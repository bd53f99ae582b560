from collections.abc import Callable
from itertools import pairwise, permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import BadItem, LicenceKey, ProductItem
from tmr.licensing.items import (
    CODE_MAX,
    EXPIRATION_MS_MAX,
    FIRM_CODE_MIN,
    ITEMS_MAX,
    NAME_MAX,
    QUANTITY_MAX,
    ordered,
)

from .system import FIRM, item

names = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), max_size=NAME_MAX)
keys = st.builds(
    LicenceKey,
    st.integers(FIRM_CODE_MIN, CODE_MAX),
    st.integers(0, CODE_MAX),
    st.none() | st.integers(1, CODE_MAX),
)
items = st.builds(
    ProductItem,
    firm_code=st.integers(FIRM_CODE_MIN, CODE_MAX),
    product_code=st.integers(0, CODE_MAX),
    tmr_id=st.none() | st.integers(1, CODE_MAX),
    quantity=st.none() | st.integers(1, QUANTITY_MAX),
    expiration_ms=st.none() | st.integers(1, EXPIRATION_MS_MAX),
    name=names,
)


@given(keys | items)
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
