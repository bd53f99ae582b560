# SPDX-License-Identifier: Apache-2.0
"""Stores of upstreams on the disks of machines: a bit that flips, copies that are made and put back."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from lab import disk
from lab.command import run
from lab.errors import LabError
from lab.keeper import BootRecord
from lab.names import LabNames
from lab.topology import machine_named

STATE = "var/lib/tmr-upstream"
FILE = "upstream.db"


def live_disk(names: LabNames, target: str) -> Path | None:
    """Whole disk of a machine that runs, as its supervisor sees it; None while it is off."""
    one = machine_named(target)
    record = BootRecord.read(names.boot_record(one))
    if record is None or not record.supervisor:
        return None
    return Path(f"/proc/{record.supervisor}/root{disk.mount_point(names, one)}")


def copy(names: LabNames, targets: Sequence[str]) -> None:
    """Keep copies of these stores. The machines must be frozen: then the copies are of one moment."""
    for target in targets:
        mounted = live_disk(names, target)
        if mounted is None:
            raise LabError(f"{target} is off: its store cannot be copied")
        kept = _kept(names, target)
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        run("cp", "-a", mounted / "upper" / STATE, kept)


def put_back(names: LabNames, targets: Sequence[str]) -> None:
    """Put the copies in the place of the stores. The machines must be off."""
    for target in targets:
        with disk.mounted(names, machine_named(target)) as content:
            place = content / "upper" / STATE
            shutil.rmtree(place)
            run("cp", "-a", _kept(names, target), place)
        shutil.rmtree(_kept(names, target))


def flip(names: LabNames, target: str, percent: int) -> str:
    """Flip one bit in the row of the journal that is so far from its beginning; its name.

    The machine must be off.
    """
    with disk.mounted(names, machine_named(target)) as content:
        return flip_bit(content / "upper" / STATE / FILE, percent)


def flip_bit(store: Path, percent: int) -> str:
    """Flip one bit in the body of a journal row, or of the snapshot where the journal is empty."""
    database = sqlite3.connect(store, isolation_level=None)
    try:
        rows = [row for (row,) in database.execute("SELECT idx FROM journal ORDER BY idx")]
        if not rows:
            state = bytearray(database.execute("SELECT state FROM snapshot").fetchone()[0])
            state[len(state) // 2] ^= 1
            database.execute("UPDATE snapshot SET state = ?", (bytes(state),))
            return "the snapshot"
        entry = rows[(len(rows) - 1) * percent // 100]
        epoch, body = database.execute("SELECT epoch, body FROM journal WHERE idx = ?", (entry,)).fetchone()
        if body:
            struck = bytearray(body)
            struck[len(struck) // 2] ^= 1
            database.execute("UPDATE journal SET body = ? WHERE idx = ?", (bytes(struck), entry))
        else:  # the first entry of an epoch may have none
            database.execute("UPDATE journal SET epoch = ? WHERE idx = ?", (epoch ^ 1, entry))
        return f"journal entry {entry}"
    finally:
        database.close()


def _kept(names: LabNames, target: str) -> Path:
    return names.directory / "chaos" / "copies" / target
