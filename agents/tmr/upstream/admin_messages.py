# SPDX-License-Identifier: Apache-2.0
"""Answers of the administration socket. Light to import: every command starts with it."""

import msgspec

from tmr.api.deployment import DeploymentName
from tmr.licensing import ProductItem
from tmr.quorum.entries import Membership


class ItemChange(msgspec.Struct, frozen=True):
    """Change of one Product Item by an activation: `added`, `changed`, `removed` or `unchanged`."""

    item: ProductItem
    change: str


class Activated(msgspec.Struct, frozen=True):
    """The outcome of an activation."""

    container: str
    generation: int
    firm_code: int
    counter: int
    update_id: str
    changes: tuple[ItemChange, ...]


class Status(msgspec.Struct, frozen=True):
    """One look at the upstream. `lease_*`: the twin whose lease it grants now, None: no twin's.

    `promised`: of a server without replicas, the number of its starts.
    """

    name: str
    system: str
    version: str
    act_id: str
    container: str
    generation: int
    items: int
    replica_id: str
    """Identity of its store: another one with every new store."""
    voting: bool
    membership: Membership | None
    promised: int
    lease_holder: str | None
    lease_remaining_ms: int | None
    last_index: int
    commit: int
    applied: int
    syncs: int
    sync_last_ms: float
    sync_longest_ms: float
    alarms: tuple[str, ...]
    deployment: DeploymentName = "tmr"
    free_bytes: int | None = None
    """Left on the disk of the store; None: not known."""
    fingerprint: str = ""
    """SHA-256 of the container's public key, hexadecimal: what an operator compares before trusting it."""
    clock_synchronised: bool | None = None
    """A time source keeps the machine's clock; None: not known."""
    founding: str = ""
    """Founding of the system that its journal is of; empty: none yet."""
    certificate_ends: str | None = None
    """End of its TLS certificate (RFC 3339); None: not known."""
