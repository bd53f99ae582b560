# SPDX-License-Identifier: Apache-2.0
"""The upstream's CmContainer: made at the first start, changed by activations alone."""

import logging
import os
import sys
from pathlib import Path
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import TMR, Deployment
from tmr.files import sync_directory
from tmr.ledger.export import FORMAT, Attestation, RecordSpan, attest
from tmr.licensing import (
    BadKey,
    BorrowSignature,
    BorrowTerms,
    Container,
    ProductItem,
    SignedStatement,
    UpdateRefused,
    activate,
    make_request,
    private_key_from_pem,
    private_key_to_pem,
    public_key_from_pem,
    raw_public_key,
    share,
    sign,
)
from tmr.runtime.logs import fields
from tmr.upstream.admin_messages import Activated, ItemChange
from tmr.upstream.store import Store
from tmr.upstream.store_errors import StoreError

log = logging.getLogger(__name__)

KEY_FILE: Final = "container.key"
"""The container's private key (Ed25519, PEM), below the state directory; mode 0600."""


class ContainerStore:
    """Holds the container and its key. Call it where the store may be called: in the writer thread."""

    def __init__(
        self,
        store: Store,
        upstream: str,
        container: Container,
        key: Ed25519PrivateKey,
        vendors: Path,
        *,
        deployment: Deployment = TMR,
    ) -> None:
        self.container = container
        self._store = store
        self.upstream = upstream
        self._key = key
        self._vendors = vendors
        self.deployment = deployment
        self.statement = sign(container.statement(upstream), key)

    statement: SignedStatement
    """Statement of the upstream now, signed with the container's key."""

    @classmethod
    def open(
        cls, store: Store, upstream: str, act_id: str, vendors: Path, *, deployment: Deployment = TMR
    ) -> Self:
        """Store of the container; the first start makes one. Raises StoreError, BadItem.

        `deployment`: of the system that the container serves; it takes licences of that kind alone.
        """
        directory = store.path.parent
        container = store.container()
        if container is None:
            container, key = _create(store, directory, act_id)
        else:
            key = _load_key(directory, container)
        if container.act_id != act_id:
            raise StoreError(
                f"{store.path}: the container {container.serial} was made for the system {container.act_id}, "
                f"but act_id is {act_id} in the configuration; correct act_id"
            )
        return cls(store, upstream, container, key, vendors, deployment=deployment)

    def request(self, firm_code: int) -> bytes:
        """The request file for one firm. Raises BadItem where that is no Universal Firm Code."""
        return make_request(self.container, firm_code, self._key)

    def share(self, terms: BorrowTerms) -> BorrowSignature:
        """The container's share of a borrow file. Raises NotSigned. May be called in any thread."""
        return share(terms, self.container, self._key)

    def attest(self, span: RecordSpan, time_ms: int) -> bytes:
        """The container vouches for a span of the record, which was looked up in it (a DSSE envelope)."""
        container = self.container
        attestation = Attestation(FORMAT, container.act_id, self.upstream, container.serial, time_ms, span)
        return attest(attestation, self._key)

    def activate(self, update_file: bytes) -> Activated:
        """Carry out an update: durable before this returns. Raises Refused, having changed nothing.

        Raises BadKey for a vendor's key file that is none; sqlite3.Error.
        """
        before = self.container
        after = activate(before, update_file, self._trusted(), deployment=self.deployment)
        self._store.save_container(after)
        self.container = after
        self.statement = sign(after.statement(self.upstream), self._key)
        (firm,) = [firm for firm in after.firms if firm not in before.firms]
        return Activated(
            after.serial,
            after.generation,
            firm.firm_code,
            firm.counter,
            firm.update_id,
            _changes(before.items_of(firm.firm_code), after.items_of(firm.firm_code)),
        )

    def _trusted(self) -> dict[int, bytes]:
        """Read anew for each activation: a vendor becomes trusted without a restart."""
        trusted = {}
        for path in sorted(self._vendors.glob("*.pem")):
            if not (path.stem.isascii() and path.stem.isdigit()):
                log.warning("vendor key ignored: its name is not FIRMCODE.pem", extra=fields(file=path))
                continue
            try:
                trusted[int(path.stem)] = public_key_from_pem(path.read_bytes())
            except BadKey as error:
                raise BadKey(error.code, f"{path}: {error.reason}", error.remedy) from None
            except OSError as error:
                raise BadKey(
                    "bad-key", f"{path} cannot be read ({error.strerror})", "check owner and mode of the file"
                ) from None
        if not trusted:
            raise UpdateRefused(
                "unknown-vendor",
                f"no vendor is trusted: there is no FIRMCODE.pem in {self._vendors}",
                "put the public key of the vendor there, named after its Firm Code",
            )
        return trusted


def _changes(before: tuple[ProductItem, ...], after: tuple[ProductItem, ...]) -> tuple[ItemChange, ...]:
    old = {item.key: item for item in before}
    new = {item.key: item for item in after}
    changes = []
    for key, item in new.items():
        change = "added" if key not in old else "unchanged" if old[key] == item else "changed"
        changes.append(ItemChange(item, change))
    changes += [ItemChange(item, "removed") for key, item in old.items() if key not in new]
    return tuple(changes)


def _create(store: Store, directory: Path, act_id: str) -> tuple[Container, Ed25519PrivateKey]:
    """A new container. Its key is named only once the container is stored: a crash between leaves no half."""
    final, fresh = directory / KEY_FILE, directory / f"{KEY_FILE}.new"
    if final.exists():
        raise StoreError(
            f"{final}: there is a container's key, but the store has no container: the store was lost; move "
            f"the whole directory {directory} away and start again: this upstream then joins as a new member "
            "with a new container"
        )
    key = Ed25519PrivateKey.generate()
    container = Container.create(act_id, raw_public_key(key))
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private_key_to_pem(key))
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)
    store.save_container(container)
    fresh.rename(final)
    sync_directory(directory)
    log.info("container created", extra=fields(container=container.serial, act_id=act_id))
    return container, key


def _load_key(directory: Path, container: Container) -> Ed25519PrivateKey:
    final, fresh = directory / KEY_FILE, directory / f"{KEY_FILE}.new"
    if not final.exists() and fresh.exists():
        fresh.rename(final)
        sync_directory(directory)
    otherwise = (
        f"restore it, or move the whole directory {directory} away and start again: this upstream then joins "
        "as a new member with a new container, for which the vendor reissues the licences"
    )
    try:
        mode = final.stat().st_mode
        key = private_key_from_pem(final.read_bytes())
    except (OSError, BadKey) as error:
        reason = error.reason if isinstance(error, BadKey) else error.strerror
        raise StoreError(
            f"{final}: the key of the container {container.serial} cannot be read: {reason}; {otherwise}"
        ) from None
    if sys.platform != "win32" and mode & 0o077:
        raise StoreError(
            f"{final}: the container's key is open to others (mode {mode & 0o777:04o}); see who may have "
            f"copied it, then: chmod 0600 {final}"
        )
    if raw_public_key(key) != container.key:
        raise StoreError(f"{final}: this is not the key of the container {container.serial}; {otherwise}")
    return key
