# SPDX-License-Identifier: Apache-2.0
"""Jinja filter `tmr_pki_life`: days that the certificate of a machine is valid."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleFilterError


def life(name: str, servers: Iterable[str], days: object, spread: object, renew: object) -> int:
    """Days of life of the certificate of `name`: `days`, or up to `spread` fewer.

    So certificates made on one day do not end on one day. Those of the `servers` (names of upstreams and
    twins) have different places, in the order of their names; those of others have one by their name.
    """
    whole_days, spread_days, renew_days = (
        _whole(variable, value)
        for variable, value in (
            ("tmr_pki_days", days),
            ("tmr_pki_spread_days", spread),
            ("tmr_pki_renew_days", renew),
        )
    )
    if renew_days < 1 or whole_days - spread_days <= renew_days:
        raise AnsibleFilterError(
            f"tmr_pki_days ({whole_days}) less tmr_pki_spread_days ({spread_days}) must be more than"
            f" tmr_pki_renew_days ({renew_days}), and that at least 1: else each run renews every certificate"
        )
    ordered = sorted(set(servers))
    if name in ordered:
        return whole_days - spread_days * ordered.index(name) // max(1, len(ordered) - 1)
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return whole_days - place % (spread_days + 1)


def _whole(variable: str, value: object) -> int:
    if not isinstance(value, bool) and str(value).isascii() and str(value).isdigit():
        return int(str(value))
    raise AnsibleFilterError(f"{variable}: {value!r} is no number of days; write a whole number")


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions of the filters."""
        return {"tmr_pki_life": life}
