"""The places in the queues, one queue for each product, in the order in which they were taken."""

from typing import Final

from tmr.ledger.state import Instance, Product, Waiter

MAX_WAITING: Final = 10_000


class Queues:
    """Who waits for a seat."""

    def __init__(self) -> None:
        self.by_product: dict[Product, dict[str, Waiter]] = {}
        self.places: dict[str, Product] = {}
        """Id of the place → product."""
        self._requests: dict[tuple[str, str], str] = {}
        self._instances: dict[Instance, str] = {}

    @property
    def full(self) -> bool:
        """Nobody more may wait."""
        return len(self.places) >= MAX_WAITING

    def of(self, product: Product) -> dict[str, Waiter]:
        """The queue of a product, first come first."""
        return self.by_product.get(product, {})

    def waiters(self) -> list[Waiter]:
        """All of them, in an order that fills the queues again as they are."""
        return [waiter for queue in self.by_product.values() for waiter in queue.values()]

    def waiter(self, place: str) -> Waiter:
        """Who has the place. Raises KeyError."""
        return self.by_product[self.places[place]][place]

    def position(self, place: str) -> int | None:
        """Position of a place in its queue, 1 is next; None: there is no such place."""
        product = self.places.get(place)
        if product is None:
            return None
        return list(self.by_product[product]).index(place) + 1

    def of_request(self, client: str, request_id: str) -> str | None:
        """The place that the request has."""
        return self._requests.get((client, request_id))

    def of_instance(self, instance: Instance) -> str | None:
        """The place of one run place of an application."""
        return self._instances.get(instance)

    def add(self, waiter: Waiter) -> None:
        """Take the last place."""
        grant = waiter.grant
        self.by_product.setdefault(grant.product, {})[grant.session] = waiter
        self.places[grant.session] = grant.product
        self._requests[grant.client, grant.request_id] = grant.session
        if grant.instance:
            self._instances[grant.run_place] = grant.session

    def drop(self, place: str) -> Waiter:
        """Leave the queue."""
        product = self.places.pop(place)
        waiter = self.by_product[product].pop(place)
        if not self.by_product[product]:
            del self.by_product[product]
        grant = waiter.grant
        del self._requests[grant.client, grant.request_id]
        if grant.instance and self._instances.get(grant.run_place) == place:
            del self._instances[grant.run_place]
        return waiter
