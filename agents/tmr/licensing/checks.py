# SPDX-License-Identifier: Apache-2.0
"""Checks of numbers and of the values of Product Item Options."""

import re
from typing import Final

from tmr.licensing.errors import BadItem
from tmr.licensing.options import Option

# Controls, line separators, writing-direction marks and surrogates, listed one by one: str.isprintable
# follows Python's Unicode version, and upstreams with different versions must never disagree.
_UNFIT: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def check_option(option: Option, value: object, key: object) -> None:
    """Raise `BadItem` unless the licence `key` may have this value of an option."""
    label = option.label or option.title
    if option.range is not None:
        if value is not None:
            check_range(f"{label} of {key}", value, *option.range)
    elif option.flag:
        if type(value) is not bool:
            raise BadItem("out-of-range", f"the {label} of {key} is no yes or no", "give true or false")
    elif option.file:
        if type(value) is not bytes or len(value) > (option.longest or 0):
            raise BadItem(
                "out-of-range",
                f"the {label} of {key} is not at most {option.longest} bytes",
                "store a reference to the data instead",
            )
    else:
        _check_text(label, value, option.longest or 0, key)


def _check_text(label: str, text: object, longest: int, key: object) -> None:
    if type(text) is not str or len(text) > longest:
        raise BadItem(
            "out-of-range", f"the {label} of {key} is longer than {longest} characters", "shorten it"
        )
    if _UNFIT.search(text):
        raise BadItem(
            "out-of-range",
            f"the {label} of {key} holds a control character",
            "use letters, digits, spaces and punctuation",
        )


def check_range(what: str, value: object, low: int, high: int) -> None:
    """Raise `BadItem` unless `value` is an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        # str() of an integer with thousands of digits raises, so only the others are shown
        shown = value if type(value) is int and abs(value) < 2**64 else "what was given"
        raise BadItem(
            "out-of-range",
            f"{what}: {shown} is outside {low} to {high}",
            f"give a whole number from {low} to {high}",
        )
