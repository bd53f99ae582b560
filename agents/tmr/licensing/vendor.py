"""Issuing, as a pure function of what was issued before and of three request files.

The vendor's history is the list of all updates of the firm, oldest first. The next TMR-Id, the items that a
system has, and the counter that each container must be at all follow from it: there is no second record to
disagree with.
"""

from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing.container import digest
from tmr.licensing.dsse import ENVELOPE_MAX
from tmr.licensing.errors import BadItem, NotIssued
from tmr.licensing.items import CODE_MAX, ProductItem, ordered
from tmr.licensing.request import Request
from tmr.licensing.signing import fingerprint, raw_public_key
from tmr.licensing.update import FORMAT, PARTS, Part, Update, seal_update


class Licence(msgspec.Struct, frozen=True):
    """A licence to issue; it gets the next TMR-Id. Fields as in `ProductItem`."""

    product_code: int
    quantity: int | None
    expiration_ms: int | None = None
    name: str = ""


class Issued(msgspec.Struct, frozen=True):
    """An issued update, its file, and the new item (`None` when nothing was added)."""

    update: Update
    file: bytes
    item: ProductItem | None


def next_tmr_id(history: Sequence[Update]) -> int:
    """One more than any TMR-Id of the firm so far, withdrawn ones included; 1 at first."""
    used = (i.tmr_id for u in history for part in u.parts for i in part.items if i.tmr_id is not None)
    tmr_id = max(used, default=0) + 1
    if tmr_id > CODE_MAX:
        raise NotIssued(
            "out-of-range", f"the firm has used all TMR-Ids up to {CODE_MAX}", "use another Firm Code"
        )
    return tmr_id


def issue(
    history: Sequence[Update],
    requests: Sequence[Request],
    licence: Licence | None,
    *,
    firm_code: int,
    key: Ed25519PrivateKey,
    issued_ms: int,
    update_id: str,
) -> Issued:
    """The next update for the system that made the three requests (each already opened).

    It states the items that the system has by `history`, and `licence` if given; without it the same items
    again, for instance for a container that replaces a broken one. Raises `NotIssued`; `BadItem` for unfit
    properties.
    """
    act_id = _one_system(requests, firm_code, key)
    for request in requests:
        _up_to_date(history, request)
    had = _items_of_system(history, act_id, requests)
    item = None
    if licence is not None:
        item = ProductItem(
            firm_code,
            licence.product_code,
            next_tmr_id(history),
            licence.quantity,
            licence.expiration_ms,
            licence.name,
        )
    elif not had:
        raise NotIssued(
            "nothing-to-issue",
            f"the system {act_id} has no items of the firm {firm_code}",
            "issue a licence first",
        )
    try:
        items = ordered((*had, item) if item else had)
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
    return Issued(update, file, item)


def _one_system(requests: Sequence[Request], firm_code: int, key: Ed25519PrivateKey) -> str:
    """The CmActId of the system, if the three requests are of one system and for this firm."""
    if len(requests) != PARTS:
        raise NotIssued(
            "not-three",
            f"{len(requests)} request files are given, a TMR licence has {PARTS} constituents",
            "give one request file of each of the three upstreams",
        )
    serials = [request.container for request in requests]
    for serial in serials:
        if serials.count(serial) > 1:
            raise NotIssued(
                "duplicate-container",
                f"two of the request files are of the same container {serial}",
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


def _items_of_system(
    history: Sequence[Update], act_id: str, requests: Sequence[Request]
) -> tuple[ProductItem, ...]:
    """What the system has. One container may be new; two new ones would serve its licences a second time."""
    of_system = [update for update in history if update.act_id == act_id]
    if not of_system:
        return ()
    parts = of_system[-1].parts
    new = {request.container for request in requests} - {part.container for part in parts}
    if len(new) > 1:
        raise NotIssued(
            "too-many-new",
            f"{' and '.join(sorted(new))} are new to the system {act_id}, which has "
            f"{', '.join(part.container for part in parts)}",
            "replace one container at a time, or give a new system a CmActId of its own",
        )
    return parts[0].items
