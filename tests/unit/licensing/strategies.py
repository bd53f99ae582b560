# SPDX-License-Identifier: Apache-2.0
"""Product Items with every option, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from tmr.licensing import Licence, ProductItem
from tmr.licensing.items import FIRM_CODE_MIN
from tmr.licensing.options import (
    CODE_MAX,
    EXPIRATION_MS_MAX,
    NAME_MAX,
    QUANTITY_MAX,
    UNITS_MAX,
    USER_DATA_MAX,
)
from tmr.licensing.spelling import SECONDS_MAX

texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), max_size=NAME_MAX)
times = st.integers(1, EXPIRATION_MS_MAX)
seconds = st.integers(1, SECONDS_MAX)
FIRM_CODES = st.integers(FIRM_CODE_MIN, CODE_MAX)
EITHER = st.booleans()


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of an item beside its key that agree with one another."""
    found: dict[str, Any] = {
        "quantity": draw(st.none() | st.integers(1, QUANTITY_MAX)),
        "expiration_ms": draw(st.none() | times),
        "name": draw(texts),
        "units": draw(st.none() | st.integers(1, UNITS_MAX)),
        "usage_s": draw(st.none() | seconds),
        "feature_map": draw(st.integers(0, 2**32 - 1)),
        "text": draw(texts),
        "customer": draw(texts),
        "user_data": draw(st.binary(max_size=USER_DATA_MAX)),
    }
    if (expiration := found["expiration_ms"]) is None or expiration > 1:
        last = EXPIRATION_MS_MAX if expiration is None else expiration - 1
        found["activation_ms"] = draw(st.none() | st.integers(1, last))
    start, end = draw(st.none() | times), draw(st.none() | times)
    if start is None or end is None or start < end:
        found |= {"maintenance_start_ms": start, "maintenance_end_ms": end}
    if found["usage_s"] is not None and draw(st.booleans()):
        found["emergency"] = True
    elif draw(st.booleans()):
        found["borrow_s"] = draw(seconds)
        found["borrow_seats"] = draw(st.none() | st.integers(1, found["quantity"] or QUANTITY_MAX))
    return found


@st.composite
def items(
    draw: st.DrawFn,
    firm_codes: st.SearchStrategy[int] = FIRM_CODES,
    plain: st.SearchStrategy[bool] = EITHER,
) -> ProductItem:
    """An item of any kind, with any options."""
    is_plain = draw(plain)
    return ProductItem(
        firm_code=draw(firm_codes),
        product_code=draw(st.integers(0, CODE_MAX)),
        tmr_id=None if is_plain else draw(st.integers(1, CODE_MAX)),
        reference=draw(st.integers(0, CODE_MAX)) if is_plain else 0,
        **draw(options()),
    )


def licences(product_codes: st.SearchStrategy[int]) -> st.SearchStrategy[Licence]:
    """What a vendor may issue."""
    return st.builds(lambda code, found: Licence(product_code=code, **found), product_codes, options())
