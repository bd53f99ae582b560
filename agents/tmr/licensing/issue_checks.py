# SPDX-License-Identifier: Apache-2.0
"""Checks of the request files that an update is issued for: one system, known containers, none behind."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import Deployment
from tmr.licensing.container import digest
from tmr.licensing.errors import NotIssued
from tmr.licensing.redundancy import MAJORITY
from tmr.licensing.request import FORMAT, Request
from tmr.licensing.signing import fingerprint, raw_public_key
from tmr.licensing.update import Part, Update


def absent_containers(
    history: Sequence[Update], requests: Sequence[Request], firm_code: int, deployment: Deployment
) -> list[Request]:
    """The request that the one container of the system would make that made none, by the vendor's record.

    Empty: each made one, or it is not known which did not. The record says all that a request would: a
    container that has not activated the last update yet takes both, one after the other.
    """
    systems = {request.act_id for request in requests}
    if not deployment.tmr_ids or len(systems) != 1 or len(requests) != MAJORITY:
        return []
    of_system = [u for u in history if u.act_id in systems and u.deployment == deployment]
    if not of_system:
        return []
    asking = {request.container for request in requests}
    absent = [part for part in of_system[-1].parts if part.container not in asking]
    if len(absent) != deployment.replicas - MAJORITY:
        return []
    return [
        Request(
            format=FORMAT,
            container=part.container,
            act_id=of_system[-1].act_id,
            firm_code=firm_code,
            counter=part.counter,
            container_key=part.container_key,
            vendor_key=None,
            items_digest=digest(part.items),
        )
        for part in absent
    ]


def one_system(
    requests: Sequence[Request], firm_code: int, key: Ed25519PrivateKey, deployment: Deployment
) -> str:
    """The CmActId of the system, if the requests are of one system and for this firm."""
    if len(requests) != deployment.replicas:
        raise _wrong_number(len(requests), deployment)
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


def _wrong_number(given: int, deployment: Deployment) -> NotIssued:
    if deployment.tmr_ids:
        return NotIssued(
            "not-three",
            f"{given} request files are given, a TMR licence has {deployment.replicas} constituents",
            "give one request file of each of the three upstreams; one may be missing if an update was "
            "issued for the same three containers before; only a network licence server has one",
        )
    return NotIssued(
        "not-one",
        f"{given} request files are given, a network licence server has one container",
        "give its request file alone; issue to each server separately",
    )


def known_container(history: Sequence[Update], request: Request, deployment: Deployment) -> None:
    """Refuse a container that shares its serial with another, or that holds licences of the other kind."""
    for update in history:
        for part in update.parts:
            if part.container != request.container:
                continue
            if part.container_key != request.container_key:
                raise _collision(request.container)
            if update.deployment != deployment and part.items:
                kind = update.deployment.system
                raise NotIssued(
                    "other-kind",
                    f"{request.container} was issued licences as a container of {kind} ({update.update_id})",
                    "make a new container for the other kind of server",
                )


def up_to_date(history: Sequence[Update], request: Request) -> None:
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
