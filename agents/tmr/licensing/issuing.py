# SPDX-License-Identifier: Apache-2.0
"""Issuing, as a pure function of what was issued before and of the request files.

The vendor's history is the list of all updates of the firm, oldest first. The next TMR-Id, the items that a
system has, and the counter that each container must be at all follow from it: there is no second record to
disagree with. A system here is the three containers of a TMR system, or the one of a network licence server.
"""

from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import TMR, Deployment
from tmr.licensing.dsse import ENVELOPE_MAX
from tmr.licensing.errors import BadItem, NotIssued
from tmr.licensing.issue_checks import absent_containers, known_container, one_system, up_to_date
from tmr.licensing.items import ProductItem, check_room, ordered
from tmr.licensing.orders import Order, carry_out
from tmr.licensing.request import Request
from tmr.licensing.update import FORMAT, Part, Update, seal_update


class Issued(msgspec.Struct, frozen=True):
    """An issued update, its file, and what it adds, changes and removes.

    `absent`: the container that made no request, whose part follows from the record.
    """

    update: Update
    file: bytes
    added: tuple[ProductItem, ...] = ()
    changed: tuple[ProductItem, ...] = ()
    removed: tuple[ProductItem, ...] = ()
    absent: str = ""


def issue(
    history: Sequence[Update],
    requests: Sequence[Request],
    orders: Sequence[Order],
    *,
    firm_code: int,
    key: Ed25519PrivateKey,
    issued_ms: int,
    update_id: str,
    deployment: Deployment = TMR,
    former_lost: bool = False,
) -> Issued:
    """The next update for the system that made the requests (each already opened).

    As many requests as the deployment has replicas; one of three may be missing, if `history` has the
    container that did not make it. The update states the items that the system has by `history`, after the
    `orders`; without any the same items again, for instance for a container that replaces a broken one.
    `former_lost`: two or three containers may be new, since the vendor believes that the former ones are
    lost. Raises `NotIssued`; `BadItem` for unfit properties.
    """
    absent = [] if former_lost else absent_containers(history, requests, firm_code, deployment)
    requests = [*requests, *absent]
    act_id = one_system(requests, firm_code, key, deployment)
    for request in requests:
        known_container(history, request, deployment)
        up_to_date(history, request)
    past = _history_of(history, act_id, requests, deployment, former_lost)
    had = past[-1].parts[0].items if past else ()
    if not had and not orders:
        raise NotIssued(
            "nothing-to-issue",
            f"the system {act_id} has no items of the firm {firm_code}",
            "issue a licence first",
        )
    has, touched = carry_out(orders, had, history, past, firm_code, deployment)
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
        "".join(request.container for request in absent),
    )


def _history_of(
    history: Sequence[Update],
    act_id: str,
    requests: Sequence[Request],
    deployment: Deployment,
    former_lost: bool,
) -> list[Update]:
    """The updates of this system. One of three containers may be new; two would serve its licences twice,
    unless the former ones are lost.

    A plain licence works alone, so that a network licence server's new container never inherits any.
    """
    if not deployment.tmr_ids:
        (serial,) = (request.container for request in requests)
        return [update for update in history if any(part.container == serial for part in update.parts)]
    of_system = [update for update in history if update.act_id == act_id and update.deployment == deployment]
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
