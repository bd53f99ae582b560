"""Issuing, as a pure function of what was issued before and of the request files.

The vendor's history is the list of all updates of the firm, oldest first. The next TMR-Id, the items that a
system has, and the counter that each container must be at all follow from it: there is no second record to
disagree with. A system here is the three containers of a TMR system, or the one of a network licence server.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing.container import digest
from tmr.licensing.dsse import ENVELOPE_MAX
from tmr.licensing.errors import BadItem, NotIssued
from tmr.licensing.items import CODE_MAX, LicenceKey, ProductItem, check_range, check_room, ordered
from tmr.licensing.request import Request
from tmr.licensing.signing import fingerprint, raw_public_key
from tmr.licensing.update import FORMAT, PARTS, Part, Update, seal_update


class Licence(msgspec.Struct, frozen=True):
    """A licence to issue; with three containers it gets the next TMR-Id. Fields as in `ProductItem`."""

    product_code: int
    quantity: int | None
    expiration_ms: int | None = None
    name: str = ""
    reference: int = 0
    units: int | None = None
    activation_ms: int | None = None
    usage_s: int | None = None
    maintenance_start_ms: int | None = None
    maintenance_end_ms: int | None = None
    emergency: bool = False
    borrow_s: int | None = None
    borrow_seats: int | None = None
    feature_map: int = 0
    text: str = ""
    customer: str = ""
    user_data: bytes = b""


FIXED: Final = frozenset({"firm_code", "product_code", "tmr_id", "reference"})
"""Fields of a Product Item that name it: they never change."""


class LicenceSelector(msgspec.Struct, frozen=True):
    """A licence that a system has: by its TMR-Id, or by product and Product Item Reference."""

    tmr_id: int | None = None
    product_code: int | None = None
    reference: int = 0

    def names(self, key: LicenceKey) -> bool:
        """Tells whether it is this licence."""
        return (
            key.tmr_id == self.tmr_id
            and key.reference == self.reference
            and self.product_code in (None, key.product_code)
        )

    def __str__(self) -> str:
        product = "" if self.product_code is None else f"product {self.product_code} "
        tmr_id = f"TMR-Id {self.tmr_id}" if self.tmr_id is not None else f"reference {self.reference}"
        return product + tmr_id


class Change(msgspec.Struct, frozen=True):
    """Change a licence. `options`: new values of fields of `ProductItem`, none of `FIXED`; the rest stays."""

    which: LicenceSelector
    options: Mapping[str, Any]


class Refill(msgspec.Struct, frozen=True):
    """Add `units` to a licence's Unit Counter."""

    which: LicenceSelector
    units: int


class Removal(msgspec.Struct, frozen=True):
    """Take a licence away. Its TMR-Id, or its reference in that container, is never given again."""

    which: LicenceSelector


Order = Licence | Change | Refill | Removal


class Issued(msgspec.Struct, frozen=True):
    """An issued update, its file, and what it adds, changes and removes."""

    update: Update
    file: bytes
    added: tuple[ProductItem, ...] = ()
    changed: tuple[ProductItem, ...] = ()
    removed: tuple[ProductItem, ...] = ()


def next_tmr_id(history: Sequence[Update]) -> int:
    """One more than any TMR-Id of the firm so far, withdrawn ones included; 1 at first."""
    used = (item.tmr_id for item in _items(history) if item.tmr_id is not None)
    return _in_range(max(used, default=0) + 1)


def _in_range(tmr_id: int) -> int:
    if tmr_id > CODE_MAX:
        raise NotIssued(
            "out-of-range", f"the firm has used all TMR-Ids up to {CODE_MAX}", "use another Firm Code"
        )
    return tmr_id


def issue(
    history: Sequence[Update],
    requests: Sequence[Request],
    orders: Sequence[Order],
    *,
    firm_code: int,
    key: Ed25519PrivateKey,
    issued_ms: int,
    update_id: str,
    network: bool = False,
    former_lost: bool = False,
) -> Issued:
    """The next update for the system that made the requests (each already opened).

    Three requests are of a TMR system; one, with `network`, of a network licence server. The update states
    the items that the system has by `history`, after the `orders`; without any the same items again, for
    instance for a container that replaces a broken one. `former_lost`: two or three containers may be new,
    since the vendor believes that the former ones are lost. Raises `NotIssued`; `BadItem` for unfit
    properties.
    """
    act_id = _one_system(requests, firm_code, key, network)
    for request in requests:
        _known_container(history, request, network)
        _up_to_date(history, request)
    past = _history_of(history, act_id, requests, network, former_lost)
    had = past[-1].parts[0].items if past else ()
    if not had and not orders:
        raise NotIssued(
            "nothing-to-issue",
            f"the system {act_id} has no items of the firm {firm_code}",
            "issue a licence first",
        )
    has, touched = _carry_out(orders, had, history, past, firm_code, network)
    try:
        items = ordered(has)
        check_room(items)
    except BadItem as error:
        raise NotIssued("too-many-items", error.reason, error.remedy) from None
    update = Update(
        format=FORMAT,
        firm_code=firm_code,
        act_id=act_id,
        issued_ms=issued_ms,
        update_id=update_id,
        parts=tuple(
            Part(request.container, request.container_key, request.counter + 1, items)
            for request in sorted(requests, key=lambda request: request.container)
        ),
    )
    file = seal_update(update, key)
    if len(file) > ENVELOPE_MAX:
        raise NotIssued(
            "too-many-items",
            f"the update file would have {len(file)} bytes, containers read at most {ENVELOPE_MAX}",
            "use fewer Product Items with a larger License Quantity, or shorter names",
        )
    old, new = {item.key for item in had}, {item.key for item in items}
    return Issued(
        update,
        file,
        tuple(item for item in items if item.key not in old),
        tuple(item for item in items if item.key in touched and item.key in old),
        tuple(item for item in had if item.key not in new),
    )


def _carry_out(
    orders: Iterable[Order],
    had: Iterable[ProductItem],
    history: Sequence[Update],
    past: Sequence[Update],
    firm_code: int,
    network: bool,
) -> tuple[list[ProductItem], set[LicenceKey]]:
    """The items after the orders, and the keys of those that the orders name."""
    has = {item.key: item for item in had}
    touched: set[LicenceKey] = set()
    tmr_id: int | None = None
    for order in orders:
        if isinstance(order, Licence):
            if not network:
                tmr_id = next_tmr_id(history) if tmr_id is None else _in_range(tmr_id + 1)
            item = ProductItem(firm_code=firm_code, tmr_id=tmr_id, **msgspec.structs.asdict(order))
            if network:
                _unused(item.key, has, past)
            has[item.key] = item
        else:
            item = _find(order.which, has)
            if item.key in touched:
                raise NotIssued(
                    "ordered-twice",
                    f"{item.key} is named by two orders",
                    "put both into one, or issue two updates",
                )
            if isinstance(order, Removal):
                del has[item.key]
            else:
                has[item.key] = _changed(item, order)
        touched.add(item.key)
    return list(has.values()), touched


def _changed(item: ProductItem, order: Change | Refill) -> ProductItem:
    if isinstance(order, Refill):
        if item.units is None:
            raise NotIssued(
                "no-unit-counter",
                f"{item.key} has no Unit Counter",
                "give it one by changing the licence: state its units",
            )
        check_range("units to add", order.units, 1, CODE_MAX)
        return msgspec.structs.replace(item, units=item.units + order.units)
    for name in order.options:
        if name in FIXED or name not in ProductItem.__struct_fields__:
            raise BadItem(
                "out-of-range",
                f"{name[:40]!a} is nothing that can be changed in {item.key}",
                "remove the licence and issue another",
            )
    after = msgspec.structs.replace(item, **order.options)
    if item.units is not None and (after.units is None or after.units < item.units):
        raise NotIssued(
            "units-lowered",
            f"{item.key} has {item.units} units issued in all, and would have "
            f"{'no Unit Counter' if after.units is None else after.units}",
            "state all units ever issued, or remove the licence and issue another",
        )
    return after


def _find(which: LicenceSelector, has: Mapping[LicenceKey, ProductItem]) -> ProductItem:
    found = [item for key, item in has.items() if which.names(key)]
    if len(found) != 1:
        known = ", ".join(str(key) for key in sorted(has)[:20]) or "none"
        raise NotIssued(
            "unknown-licence",
            f"the system has no licence {which}; it has {known}{', …' if len(has) > 20 else ''}",
            "name one of those by its TMR-Id, or a plain one by product and reference",
        )
    return found[0]


def _unused(key: LicenceKey, has: Mapping[LicenceKey, ProductItem], past: Sequence[Update]) -> None:
    """Refuse a key that the container has or had: units taken and first use are counted by it."""
    used = {item.key for item in _items(past)} | set(has)
    if key not in used:
        return
    taken = {other.reference for other in used if other.product_code == key.product_code}
    free = next(number for number in range(len(taken) + 1) if number not in taken)
    if key in has:
        raise NotIssued(
            "licence-exists",
            f"the container has the licence {key} already",
            f"change that licence, or issue another with the Product Item Reference {free}",
        )
    raise NotIssued(
        "reference-used",
        f"the container had a licence {key} before, and still counts what was used of it",
        f"use the Product Item Reference {free}",
    )


def _items(updates: Iterable[Update]) -> Iterator[ProductItem]:
    return chain.from_iterable(part.items for update in updates for part in update.parts)


def _one_system(requests: Sequence[Request], firm_code: int, key: Ed25519PrivateKey, network: bool) -> str:
    """The CmActId of the system, if the requests are of one system and for this firm."""
    if network and len(requests) != 1:
        raise NotIssued(
            "not-one",
            f"{len(requests)} request files are given, a network licence server has one container",
            "give its request file alone; issue to each server separately",
        )
    if not network and len(requests) != PARTS:
        raise NotIssued(
            "not-three",
            f"{len(requests)} request files are given, a TMR licence has {PARTS} constituents",
            "give one request file of each of the three upstreams; only a network licence server has one",
        )
    containers: dict[str, str] = {}
    for request in requests:
        former = containers.setdefault(request.container, request.container_key)
        if former != request.container_key:
            raise _collision(request.container)
    if len(containers) != len(requests):
        serials = [request.container for request in requests]
        twice = next(serial for serial in serials if serials.count(serial) > 1)
        raise NotIssued(
            "duplicate-container",
            f"two of the request files are of the same container {twice}",
            "give one request file of each of the three upstreams",
        )
    vendor_key = raw_public_key(key)
    for request in requests:
        if request.firm_code != firm_code:
            raise NotIssued(
                "wrong-firm",
                f"the request of {request.container} is for the firm {request.firm_code}, not {firm_code}",
                f"make the request file for the firm {firm_code}",
            )
        if request.vendor_key is not None and request.vendor_key != vendor_key.hex():
            raise NotIssued(
                "vendor-key-changed",
                f"{request.container} accepts the firm {firm_code} only with the vendor key "
                f"{fingerprint(bytes.fromhex(request.vendor_key))[:16]}, this is "
                f"{fingerprint(vendor_key)[:16]}",
                "issue with the former key",
            )
    systems = {request.act_id: request.container for request in requests}
    if len(systems) > 1:
        raise NotIssued(
            "other-system",
            "the request files are of different systems: "
            + ", ".join(f"{serial} of {system}" for system, serial in sorted(systems.items())),
            "give the request files of three upstreams with the same CmActId",
        )
    return requests[0].act_id


def _collision(serial: str) -> NotIssued:
    """A serial has 32 bits of the key's hash, so two of 10,000 containers share one with a chance of 1 %."""
    return NotIssued(
        "serial-collision",
        f"two containers with different keys have the serial {serial}",
        "have the newer one made again: move its upstream's state directory away, and start it anew",
    )


def _known_container(history: Sequence[Update], request: Request, network: bool) -> None:
    """Refuse a container that shares its serial with another, or that holds licences of the other kind."""
    for update in history:
        for part in update.parts:
            if part.container != request.container:
                continue
            if part.container_key != request.container_key:
                raise _collision(request.container)
            if update.network != network and part.items:
                kind = "a network licence server" if update.network else "a TMR system"
                raise NotIssued(
                    "other-kind",
                    f"{request.container} was issued licences as a container of {kind} ({update.update_id})",
                    "make a new container for the other kind of server",
                )


def _up_to_date(history: Sequence[Update], request: Request) -> None:
    """Refuse unless the container is where the last update issued for it leaves it.

    Else two updates with the same counter could reach two containers, and they would differ.
    """
    last: tuple[Update, Part] | None = None
    for update in history:
        for part in update.parts:
            if part.container == request.container:
                last = update, part
    counter = last[1].counter if last else 0
    if last and request.counter < counter:
        raise NotIssued(
            "update-pending",
            f"{request.container} has the update counter {request.counter}, but was issued updates up to "
            f"{counter} ({last[0].update_id})",
            "activate these updates on its upstream, then make a new request file",
        )
    items = last[1].items if last else ()
    if request.counter > counter or request.items_digest != digest(items):
        raise NotIssued(
            "record-behind",
            f"{request.container} has the update counter {request.counter} and items that this record, at "
            f"{counter}, does not know",
            "restore the vendor's latest record: with an older one a TMR-Id could be given twice",
        )


def _history_of(
    history: Sequence[Update], act_id: str, requests: Sequence[Request], network: bool, former_lost: bool
) -> list[Update]:
    """The updates of this system. One of three containers may be new; two would serve its licences twice,
    unless the former ones are lost.

    A plain licence works alone, so that a network licence server's new container never inherits any.
    """
    if network:
        (serial,) = (request.container for request in requests)
        return [update for update in history if any(part.container == serial for part in update.parts)]
    of_system = [update for update in history if update.act_id == act_id and not update.network]
    if not of_system:
        return []
    parts = of_system[-1].parts
    new = {request.container for request in requests} - {part.container for part in parts}
    if len(new) > 1 and not former_lost:
        raise NotIssued(
            "too-many-new",
            f"{' and '.join(sorted(new))} are new to the system {act_id}, which has "
            f"{', '.join(part.container for part in parts)}",
            "replace one container at a time, give a new system a CmActId of its own, or reissue with "
            "--former-lost if the former containers are lost",
        )
    return of_system
