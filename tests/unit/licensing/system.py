# SPDX-License-Identifier: Apache-2.0
"""A vendor and the three containers of one TMR system, for the tests."""

from collections.abc import Sequence
from typing import Final

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import NETWORK, TMR
from tmr.licensing import (
    Container,
    Issued,
    Licence,
    ProductItem,
    Update,
    UpdateRefused,
    activate,
    issue,
    make_request,
    open_request,
    raw_public_key,
)
from tmr.licensing.orders import Order

FIRM: Final = 6_000_010
ACT_ID: Final = "lab-4f3a0c119d2b7e58"
NOW_MS: Final = 1_790_000_000_000


def private_key(number: int) -> Ed25519PrivateKey:
    """A key that is the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))


VENDOR: Final = private_key(1)
STRANGER: Final = private_key(2)
CONTAINER_KEYS: Final = (private_key(11), private_key(12), private_key(13))
EDITOR: Final = Licence(product_code=1001, quantity=5, name="Editor")
TRUSTED: Final = {FIRM: raw_public_key(VENDOR)}


def containers(act_id: str = ACT_ID, keys: tuple[Ed25519PrivateKey, ...] = CONTAINER_KEYS) -> list[Container]:
    """Three new containers."""
    return [Container.create(act_id, raw_public_key(key)) for key in keys]


def key_of(container: Container) -> Ed25519PrivateKey:
    """The private key of one of the containers here."""
    return next(k for n in range(1, 40) if raw_public_key(k := private_key(n)) == container.key)


def issue_to(
    system: list[Container],
    history: list[Update],
    licence: Order | Sequence[Order] | None = EDITOR,
    key: Ed25519PrivateKey = VENDOR,
    firm_code: int = FIRM,
    network: bool = False,
    former_lost: bool = False,
) -> Issued:
    """Issue by request files of these containers, and add the update to the history."""
    orders = licence if isinstance(licence, Sequence) else [licence] if licence is not None else []
    requests = [open_request(make_request(c, firm_code, key_of(c))) for c in system]
    issued = issue(
        history,
        requests,
        orders,
        firm_code=firm_code,
        key=key,
        issued_ms=NOW_MS,
        update_id=f"update-{firm_code}-{len(history) + 1}",
        deployment=NETWORK if network else TMR,
        former_lost=former_lost,
    )
    history.append(issued.update)
    return issued


def activated(system: list[Container], file: bytes) -> list[Container]:
    """The containers after all of them took the update."""
    return [activate(container, file, TRUSTED) for container in system]


def assert_refused(
    container: Container, file: bytes, code: str, trusted: dict[int, bytes] = TRUSTED
) -> UpdateRefused:
    """The container refuses the file with this code, and is byte for byte what it was."""
    before = msgspec.msgpack.encode(container)
    with pytest.raises(UpdateRefused) as caught:
        activate(container, file, trusted)
    assert caught.value.code == code, str(caught.value)
    assert msgspec.msgpack.encode(container) == before
    assert caught.value.reason
    assert caught.value.remedy
    assert str(caught.value).isprintable()
    return caught.value


def item(
    tmr_id: int | None = 1, product_code: int = 1001, quantity: int | None = 5, name: str = "Editor"
) -> ProductItem:
    """An item of the firm here."""
    return ProductItem(FIRM, product_code, tmr_id, quantity=quantity, expiration_ms=None, name=name)
