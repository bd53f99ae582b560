# SPDX-License-Identifier: Apache-2.0
"""The one licence of the simulated system: two seats and some units, held by three containers."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing import (
    LicenceKey,
    ProductItem,
    SignedStatement,
    Statement,
    fingerprint,
    raw_public_key,
    sign,
)

FIRM, PRODUCT, TMR_ID, QUANTITY, UNITS = 6_000_010, 1001, 1, 2, 100_000
KEY = LicenceKey(FIRM, PRODUCT, TMR_ID)
ACT_ID = "sim-0123456789abcdef"
ITEM = ProductItem(FIRM, PRODUCT, TMR_ID, quantity=QUANTITY, expiration_ms=None, units=UNITS, borrow_s=3600)


class SimContainer:
    """The container on a disk. `licensed`: the vendor has issued the licence to it."""

    def __init__(self, number: int, *, licensed: bool) -> None:
        self._number = number
        self._private = Ed25519PrivateKey.from_private_bytes(number.to_bytes(2, "big") * 16)
        self.key = raw_public_key(self._private)
        self.fingerprint = fingerprint(self.key)
        self.licensed = licensed
        self.generation = 1
        self.item = ITEM
        self._signed: dict[tuple[str, int], SignedStatement] = {}

    def issue(self) -> None:
        """The vendor's update is activated."""
        self.licensed = True
        self.generation += 1

    def statement(self, upstream: str) -> SignedStatement:
        """What the upstream states of it, signed."""
        name = (upstream, self.generation)
        if name not in self._signed:
            items = (self.item,) if self.licensed else ()
            stated = Statement(upstream, f"130-{1000 + self._number}", ACT_ID, self.generation, items)
            self._signed[name] = sign(stated, self._private)
        return self._signed[name]


def changed(item: ProductItem) -> tuple[SignedStatement, ...]:
    """What they state once they have another licence."""
    containers = [SimContainer(n, licensed=True) for n in (1, 2, 3)]
    for container in containers:
        container.item = item
        container.issue()
    return tuple(container.statement(f"up{n}") for n, container in enumerate(containers, 1))


def statements() -> tuple[SignedStatement, ...]:
    """What the first three containers state, of up1, up2, up3."""
    return tuple(SimContainer(n, licensed=True).statement(f"up{n}") for n in (1, 2, 3))
