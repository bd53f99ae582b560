"""Looks every 20 ms at which twins have the virtual address, and writes down each change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chaos.plan import TWINS
from chaos.records import HOLDERS, Holders, append
from lab.keeper import BootRecord
from lab.names import LabNames
from lab.topology import machine_named
from testbed.addresses import VIP
from testbed.fault_injector import boottime

_EVERY_S = 0.02
_LINE_S = 1.0
"""A line is written at least so often: the rule counts the looks."""


class AddressWatch(threading.Thread):
    """One thread. It asks the kernel, which knows the addresses of a frozen machine, too."""

    def __init__(self, names: LabNames, directory: Path, began: float) -> None:
        super().__init__(name="address watch", daemon=True)
        self._names, self._began = names, began
        self._file = directory / HOLDERS
        self._over = threading.Event()
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._watch()
        except BaseException as error:  # handed to the campaign by `stop`
            self._failure = error

    def stop(self) -> None:
        """No more looks; raises what made it stop before, if anything did."""
        self._over.set()
        self.join()
        if self._failure is not None:
            raise self._failure

    def _watch(self) -> None:
        since, before, looks = self._now(), together(self._has), 0
        while not self._over.wait(_EVERY_S):
            at, found = self._now(), together(self._has)
            looks += 1
            if found != before or at - since > _LINE_S:
                append(self._file, [Holders(since, before, looks)])
                since, before, looks = at, found, 0
        append(self._file, [Holders(since, before, looks + 1)])

    def _now(self) -> float:
        return round(boottime() - self._began, 3)

    def _has(self, name: str) -> bool:
        record = BootRecord.read(self._names.boot_record(machine_named(name)))
        with suppress(OSError):
            return (
                record is not None
                and record.leader is not None
                and f" {VIP}\n" in Path(f"/proc/{record.leader}/net/fib_trie").read_text()
            )
        return False


def together(has: Callable[[str], bool]) -> tuple[str, ...]:
    """Twins that have the address at one moment.

    They are read one after the other: of two that were found, the first is read again. If it still has the
    address, it had it also when the second was read; if not, the address has moved in between.
    """
    found = tuple(name for name in TWINS if has(name))
    return found if len(found) < 2 or has(found[0]) else found[1:]
