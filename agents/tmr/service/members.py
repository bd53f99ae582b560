# SPDX-License-Identifier: Apache-2.0
"""Members that several commands and answers of the client API have in common."""

from collections.abc import Sequence
from typing import Any

from tmr.api.fields import AccessMode, LicenceRequest
from tmr.ledger import Session as Held
from tmr.licensing import LicenceKey
from tmr.licensing.spelling import instant, milliseconds


def licence_members(key: LicenceKey) -> dict[str, Any]:
    """Members that name a licence in an answer."""
    return {
        "firm_code": key.firm_code,
        "product_code": key.product_code,
        "tmr_id": key.tmr_id,
        "reference": key.reference,
    }


def session_members(held: Held) -> dict[str, Any]:
    """Members of a session in every answer that shows one."""
    return {
        **licence_members(held.key),
        "id": held.id,
        "access_mode": AccessMode(held.mode),
        "ttl": held.ttl,
        "granted_at": instant(held.granted_ms),
    }


def request_members(
    request_id: str, client: str, address: str, asked: LicenceRequest, keys: Sequence[LicenceKey]
) -> dict[str, Any]:
    """Members of the commands `Grant` and `Borrow` that come from the request of a licence."""
    return {
        "request_id": request_id,
        "client": client,
        "firm_code": asked.firm_code,
        "product_code": asked.product_code,
        "keys": keys,
        "station": asked.station,
        "user": asked.user,
        "address": address,
        "features": asked.features,
        "released_ms": milliseconds(asked.released),
    }
