# SPDX-License-Identifier: Apache-2.0
"""The state of one CmContainer, its requests, and how it activates updates. Its server persists it."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import NETWORK, TMR, Deployment
from tmr.licensing.dsse import write_envelope
from tmr.licensing.errors import BadItem, BadKey, UpdateRefused
from tmr.licensing.items import ProductItem, check_room, ordered, packed
from tmr.licensing.request import FORMAT, Request, seal_request
from tmr.licensing.serial import container_serial
from tmr.licensing.signing import fingerprint, raw_public_key
from tmr.licensing.statement import Statement, check_name
from tmr.licensing.update import Update, read_update, read_update_envelope, tampered


class Firm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Part of a container about one firm.

    `counter`: updates activated so far, `update_id`: the last of them, `vendor_key`: the public key (raw,
    32 bytes) that signed the first, and must sign all that follow. `update`: the last update's envelope with
    this one signature, at most `ENVELOPE_MAX` bytes, for a proof offline that the vendor named
    this container; empty if a version activated it that kept none.
    """

    firm_code: int
    counter: int
    update_id: str
    vendor_key: bytes
    update: bytes = b""


class Container(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One container.

    `key`: its public key (raw, 32 bytes), from which `serial` is derived. `generation` rises with every
    change. `items` and `firms` are sorted. Round-trips through msgspec's JSON and MessagePack.
    """

    serial: str
    act_id: str
    key: bytes
    generation: int = 0
    items: tuple[ProductItem, ...] = ()
    firms: tuple[Firm, ...] = ()

    @classmethod
    def create(cls, act_id: str, public_key: bytes) -> Self:
        """A new, empty container of the system `act_id`. Raises `BadItem` for an unfit CmActId."""
        check_name("CmActId", act_id)
        return cls(str(container_serial(public_key)), act_id, public_key)

    def firm(self, firm_code: int) -> Firm | None:
        """Part about this firm, `None` before its first update."""
        return next((firm for firm in self.firms if firm.firm_code == firm_code), None)

    def items_of(self, firm_code: int) -> tuple[ProductItem, ...]:
        """The items of one firm."""
        return tuple(item for item in self.items if item.firm_code == firm_code)

    def statement(self, upstream: str) -> Statement:
        """Statement of the upstream of this name about the container."""
        return Statement(upstream, self.serial, self.act_id, self.generation, self.items)


def digest(items: tuple[ProductItem, ...]) -> str:
    """SHA-256 over sorted items, 64 hexadecimal digits: equal for equal items in every container."""
    return hashlib.sha256(packed(ordered(items))).hexdigest()


def make_request(container: Container, firm_code: int, key: Ed25519PrivateKey) -> bytes:
    """The request file of this container for one firm. Raises `BadKey` if `key` is not the container's.

    Raises `BadItem` if `firm_code` is no Universal Firm Code.
    """
    if raw_public_key(key) != container.key:
        raise BadKey(
            "bad-key",
            f"the private key at hand is not that of the container {container.serial}",
            "restore key and container from the same backup",
        )
    firm = container.firm(firm_code)
    request = Request(
        format=FORMAT,
        container=container.serial,
        act_id=container.act_id,
        firm_code=firm_code,
        counter=firm.counter if firm else 0,
        container_key=container.key.hex(),
        vendor_key=firm.vendor_key.hex() if firm else None,
        items_digest=digest(container.items_of(firm_code)),
    )
    return seal_request(request, key)


def activate(
    container: Container,
    update_file: bytes,
    trusted: Mapping[int, bytes],
    *,
    deployment: Deployment | None = None,
) -> Container:
    """The container after this update. `trusted`: Firm Code to the public key (raw, 32 bytes) of its vendor.

    `deployment`: of the system that the container serves, where the caller knows it. Raises `UpdateRefused`
    with one of all its codes; the container given is never changed.
    """
    envelope = read_update_envelope(update_file)
    signed = {key: envelope.signed_by(key) for key in trusted.values()}
    if all(state is None for state in signed.values()):
        known = ", ".join(f"{firm} ({fingerprint(key)[:16]})" for firm, key in sorted(trusted.items()))
        raise UpdateRefused(
            "unknown-vendor",
            f"the update is signed with the key {envelope.signatures[0].keyid[:16]!a}, which is none of the "
            f"trusted {known or '(none)'}",
            "put the public key of the vendor into the directory of trusted vendors, as FIRMCODE.pem",
        )
    if not any(signed.values()):
        raise tampered()
    update = read_update(envelope.payload)
    signer = trusted.get(update.firm_code)
    if signer is None or not signed[signer]:
        firms = ", ".join(str(firm) for firm, key in sorted(trusted.items()) if signed[key])
        raise UpdateRefused(
            "wrong-firm",
            f"the update is for the firm {update.firm_code}, but its signer is trusted for {firms} only",
            f"get the update from the vendor of the firm {update.firm_code}, and trust that vendor's key",
        )
    pinned = container.firm(update.firm_code)
    if pinned is not None and pinned.vendor_key != signer:
        raise UpdateRefused(
            "vendor-key-changed",
            f"{container.serial} took its first update of the firm {update.firm_code} with the vendor key "
            f"{fingerprint(pinned.vendor_key)[:16]}, this one is signed with {fingerprint(signer)[:16]}",
            "put the former public key back, and ask the vendor to sign with the former key",
        )
    items = check_for(update, container, deployment=deployment)
    counter = pinned.counter + 1 if pinned else 1
    firm = Firm(update.firm_code, counter, update.update_id, signer, write_envelope(envelope.only(signer)))
    others = tuple(other for other in container.firms if other.firm_code != update.firm_code)
    return msgspec.structs.replace(
        container,
        generation=container.generation + 1,
        items=items,
        firms=tuple(sorted((*others, firm), key=lambda one: one.firm_code)),
    )


def check_for(
    update: Update, container: Container, *, deployment: Deployment | None = None
) -> tuple[ProductItem, ...]:
    """All items, of every firm, that the container holds after a verified update.

    `deployment` as for `activate`. Raises `UpdateRefused`: `other-system`, `other-container`, `replayed`,
    `older-counter`, `counter-skips`, `other-kind`, `units-lowered`, `too-many-items`.
    """
    where = f"{container.serial} of the system {container.act_id}"
    if update.act_id != container.act_id:
        raise UpdateRefused(
            "other-system",
            f"the update is for the system {update.act_id}, this is {where}",
            "activate it on the upstreams of its own system",
        )
    part = next((part for part in update.parts if part.container == container.serial), None)
    if part is None or part.container_key != container.key.hex():
        raise UpdateRefused(
            "other-container",
            f"the update is for {', '.join(part.container for part in update.parts)}, this is {where}",
            "make new request files on the three upstreams and have the vendor issue an update for them",
        )
    firm = container.firm(update.firm_code)
    counter = firm.counter if firm else 0
    if firm is not None and firm.update_id == update.update_id:
        raise UpdateRefused(
            "replayed",
            f"the update {update.update_id} is active in {where} already",
            "nothing is left to do here",
        )
    if part.counter <= counter:
        raise UpdateRefused(
            "older-counter",
            f"the update has the counter {part.counter}, {where} is at {counter}",
            "activate the vendor's latest update; an older one is void",
        )
    if part.counter > counter + 1:
        raise UpdateRefused(
            "counter-skips",
            f"the update has the counter {part.counter}, {where} is at {counter}",
            "activate the updates between first, in order",
        )
    _check_kind(update, container, where, deployment)
    _check_units(container.items_of(update.firm_code), part.items)
    others = tuple(item for item in container.items if item.firm_code != update.firm_code)
    try:
        items = ordered((*others, *part.items))
        check_room(items)
    except BadItem as error:
        raise UpdateRefused("too-many-items", error.reason, error.remedy) from None
    return items


def _check_kind(update: Update, container: Container, where: str, deployment: Deployment | None) -> None:
    """A container is of a network licence server or of a TMR system: what it holds says which."""
    if deployment is None:
        held = next(iter(container.items), None)
        deployment = update.deployment if held is None else TMR if held.tmr_id is not None else NETWORK
    if update.deployment == deployment:
        return
    raise UpdateRefused(
        "other-kind",
        f"the update holds {update.deployment.licences}; {where} is of {deployment.system}",
        "activate it on an upstream of the right kind, or ask the vendor for an update of the other kind",
    )


def _check_units(before: Iterable[ProductItem], after: Iterable[ProductItem]) -> None:
    """Units are issued in all, so the number never falls: what remains is it less what was taken."""
    new = {item.key: item for item in after}
    for old in before:
        item = new.get(old.key)
        if item is None or old.units is None or (item.units is not None and item.units >= old.units):
            continue
        left = "no Unit Counter" if item.units is None else f"{item.units} units issued in all"
        raise UpdateRefused(
            "units-lowered",
            f"the update gives {item.key} {left}, the container has {old.units}",
            "ask the vendor for an update that states all units ever issued; to end a licence, it is removed",
        )
