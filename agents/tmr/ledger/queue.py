# SPDX-License-Identifier: Apache-2.0
"""The places in the queues, one queue for each product, in the order in which they were taken."""

from collections.abc import Iterable
from typing import Final

import msgspec

from tmr.ledger.state import Instance, Product, Waiter
from tmr.ledger.state_digest import StateDigest
from tmr.licensing import LicenceKey

MAX_WAITING: Final = 10_000
"""Places in all queues together."""
MAX_QUEUE: Final = 1_000
"""Places in the queue of one product: all of them are looked at when a seat becomes free."""
MAX_OF_CLIENT: Final = MAX_QUEUE // 2
"""Places of one client in the queue of a product: others may wait, too."""


class Queues:
    """Queue of those that wait for a seat."""

    def __init__(self, digest: StateDigest) -> None:
        self._digest = digest
        self.by_product: dict[Product, dict[str, Waiter]] = {}
        self.places: dict[str, Product] = {}
        """Id of the place → product."""
        self._requests: dict[tuple[str, str], str] = {}
        self._instances: dict[Instance, str] = {}
        self._exclusive: dict[Product, dict[str, Waiter]] = {}
        self._positions: dict[Product, dict[str, int]] = {}

    def full(self, product: Product, client: str) -> bool:
        """The client may not wait for the product any more."""
        if len(self.places) >= MAX_WAITING or len(self.of(product)) >= MAX_QUEUE:
            return True
        own = sum(waiter.grant.client == client for waiter in self.of(product).values())
        return own >= MAX_OF_CLIENT

    def of(self, product: Product) -> dict[str, Waiter]:
        """The queue of a product, first come first."""
        return self.by_product.get(product, {})

    def exclusive(self, product: Product) -> Iterable[Waiter]:
        """Requests in the queue for exclusive access."""
        return self._exclusive.get(product, {}).values()

    def waiters(self) -> list[Waiter]:
        """All of them, in an order that fills the queues again as they are."""
        return [waiter for queue in self.by_product.values() for waiter in queue.values()]

    def waiter(self, place: str) -> Waiter:
        """Waiter that has the place. Raises KeyError."""
        return self.by_product[self.places[place]][place]

    def position(self, place: str) -> int | None:
        """Position of a place in its queue, 1 is next; None: there is no such place."""
        product = self.places.get(place)
        if product is None:
            return None
        if product not in self._positions:
            self._positions[product] = {at: number for number, at in enumerate(self.by_product[product], 1)}
        return self._positions[product][place]

    def of_request(self, client: str, request_id: str) -> str | None:
        """The place that the request has."""
        return self._requests.get((client, request_id))

    def of_instance(self, instance: Instance) -> str | None:
        """The place of one run place of an application."""
        return self._instances.get(instance)

    def add(self, waiter: Waiter) -> None:
        """Take the last place."""
        self._digest.add(b"waiter", waiter)
        grant = waiter.grant
        queue = self.by_product.setdefault(grant.product, {})
        queue[grant.session] = waiter
        if grant.product in self._positions:
            self._positions[grant.product][grant.session] = len(queue)
        if grant.mode == "exclusive":
            self._exclusive.setdefault(grant.product, {})[grant.session] = waiter
        self.places[grant.session] = grant.product
        self._requests[grant.client, grant.request_id] = grant.session
        if grant.instance:
            self._instances[grant.run_place] = grant.session

    def update(self, place: str, keys: tuple[LicenceKey, ...]) -> None:
        """The place is for these licences from now on."""
        waiter = self.waiter(place)
        self._digest.remove(b"waiter", waiter)
        waiter = Waiter(msgspec.structs.replace(waiter.grant, keys=keys), waiter.since_ms)
        self._digest.add(b"waiter", waiter)
        self.by_product[self.places[place]][place] = waiter
        if waiter.grant.mode == "exclusive":
            self._exclusive[waiter.grant.product][place] = waiter

    def drop(self, place: str) -> Waiter:
        """Leave the queue."""
        product = self.places.pop(place)
        waiter = self.by_product[product].pop(place)
        self._digest.remove(b"waiter", waiter)
        self._positions.pop(product, None)
        if not self.by_product[product]:
            del self.by_product[product]
        if waiter.grant.mode == "exclusive":
            del self._exclusive[product][place]
            if not self._exclusive[product]:
                del self._exclusive[product]
        grant = waiter.grant
        del self._requests[grant.client, grant.request_id]
        if grant.instance and self._instances.get(grant.run_place) == place:
            del self._instances[grant.run_place]
        return waiter
