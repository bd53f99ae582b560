# SPDX-License-Identifier: Apache-2.0
"""Validity of a Product Item at a time, for a version, with features: the item's own options."""

from tmr.ledger.outcomes import Denied
from tmr.licensing import ProductItem
from tmr.licensing.spelling import written_bits, written_time


def ends_ms(item: ProductItem, first_use_ms: int | None) -> int | None:
    """End of the item's validity: the earlier of Expiration Time and end of the Usage Period."""
    ends = [item.expiration_ms] if item.expiration_ms is not None else []
    if item.usage_s is not None and first_use_ms is not None:
        ends.append(first_use_ms + item.usage_s * 1000)
    return min(ends, default=None)


def invalid(item: ProductItem, time_ms: int, first_use_ms: int | None) -> Denied | None:
    """Reason why nobody can use the item at `time_ms` (certified), or None."""
    if item.activation_ms is not None and time_ms < item.activation_ms:
        return Denied(
            "licence-not-active", f"the licence {item.key} is valid from {written_time(item.activation_ms)}"
        )
    if item.expiration_ms is not None and time_ms >= item.expiration_ms:
        return Denied(
            "licence-expired", f"the licence {item.key} was valid until {written_time(item.expiration_ms)}"
        )
    ends = ends_ms(item, first_use_ms)
    if ends is not None and time_ms >= ends:
        return Denied("licence-expired", f"the Usage Period of {item.key} ended {written_time(ends)}")
    return None


def unfit(item: ProductItem, features: int, released_ms: int | None) -> Denied | None:
    """Reason why this version or these modules of the application cannot use the item, or None."""
    missing = features & ~item.feature_map
    if missing:
        bits = written_bits(missing, ", ")
        return Denied("feature-missing", f"the Feature Map of {item.key} lacks the bits {bits}")
    if released_ms is None:
        return None
    start, end = item.maintenance_start_ms, item.maintenance_end_ms
    if (start is not None and released_ms < start) or (end is not None and released_ms >= end):
        return Denied(
            "maintenance-ended",
            f"a version released {written_time(released_ms)} is outside the Maintenance Period of "
            f"{item.key}, "
            f"{written_time(start) if start is not None else 'any time'} to "
            f"{written_time(end) if end is not None else 'any time'}",
        )
    return None
