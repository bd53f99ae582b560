# SPDX-License-Identifier: Apache-2.0
"""Renewal of a store by an operator: its journal is given up, its container and its record stay."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

from tmr.quorum.durable import GIVEN_UP
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.fingerprint import machine_fingerprint
from tmr.upstream.store import Store
from tmr.upstream.store_errors import StoreError
from tmr.upstream.store_schema import DAMAGED_FILE


def renew(settings: UpstreamConfig) -> str:
    """Let the store begin anew; what that means, for people.

    Raises StoreError where the store cannot be used, or a running upstream has it, and NoFingerprint.
    """
    directory = Path(settings.state_dir)
    if settings.deployment.replicas == 1:
        raise StoreError(
            f"{directory}: {settings.deployment.server} is alone, and nobody could bring it up to date; "
            "nothing was changed"
        )
    if not directory.is_dir():
        raise StoreError(f"{directory}: there is no store; start tmr-upstream, which makes one")
    store = Store.open(directory, machine_fingerprint())
    try:
        store.renew(GIVEN_UP)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{directory}: {error}; check the disk. Nothing was changed") from None
    finally:
        store.close()
        _give_to_owner(directory)
    return (
        "The journal of this upstream is given up; its container and its record stay. Start tmr-upstream "
        "now: it votes once the active twin has brought it up to date. The former store is "
        f"{directory / DAMAGED_FILE}"
    )


def _give_to_owner(directory: Path) -> None:
    """Files that root made here are the daemon's."""
    owner = directory.stat()
    if sys.platform != "win32" and os.geteuid() == 0 and owner.st_uid:
        for file in directory.iterdir():
            if file.is_file() and not file.stat().st_uid:
                os.chown(file, owner.st_uid, owner.st_gid)
