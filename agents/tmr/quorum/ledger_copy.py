# SPDX-License-Identifier: Apache-2.0
"""Ledger copy of a proposer: journal, commit index, and the state machine that the journal drives.

It knows nothing of replicas or roles. What is committed is applied, in order and once.
"""

from typing import Final

from tmr.quorum import formats
from tmr.quorum.entries import FIRST, Entry, Snapshot, StateMachine
from tmr.quorum.invariants import require
from tmr.quorum.log import Log
from tmr.quorum.outputs import Applied, Output

LOG_RETAIN_ENTRIES: Final = 20_000
"""Applied entries kept in memory to catch up a replica by journal; beyond that it gets a snapshot."""
LOG_RETAIN_BYTES: Final = 10 * 2**20
"""Bytes of their bodies, at most."""


class LedgerCopy:
    """Journal and ledger. At all times log.base <= applied <= commit <= log.last."""

    def __init__(self, machine: StateMachine, newest: int) -> None:
        self.newest = newest
        """Newest format of the journal that it can apply."""
        self.log = Log()
        self.commit = 0
        """Entries up to here are known to be committed."""
        self.applied = 0
        """Entries up to here are in the ledger."""
        self._machine = machine
        self._outputs: list[Output] = []
        machine.restore(b"", FIRST)

    def check_invariants(self) -> None:
        """Raise InvariantViolation where something does not hold that always must."""
        log = self.log
        require(log.base <= self.applied <= self.commit <= log.last, "base <= applied <= commit <= last")
        require(self.applied == self.commit, "all that is committed is applied")

    def take(self) -> list[Output]:
        """Returns the actions to be done, in order; empties the list."""
        outputs, self._outputs = self._outputs, []
        return outputs

    @property
    def format(self) -> int:
        """The format that entries are written in now: the journal's."""
        return self.log.format

    def newer(self, entries: tuple[Entry, ...], snapshot: Snapshot | None) -> str:
        """Reason why this version cannot continue with these; empty: it can."""
        return formats.newer(entries, snapshot, self.newest, self._machine.unreadable)

    def _restore(self, snapshot: Snapshot) -> None:
        self.log = Log.after(snapshot)
        self.commit = self.applied = snapshot.index
        self._machine.restore(snapshot.state, snapshot.format)

    def _apply(self) -> None:
        while self.applied < self.commit:
            entry = self.log[self.applied + 1]
            outcome = None
            if entry.kind == "command":
                outcome = self._machine.apply(entry.index, entry.time_ms, entry.body, entry.format)
            self.applied = entry.index
            self._outputs.append(Applied(entry.index, entry, outcome))

    def _forget(self) -> None:
        if self.applied - self.log.base > 2 * LOG_RETAIN_ENTRIES or self.log.size > 2 * LOG_RETAIN_BYTES:
            self.log.compact(self.log.tail(self.applied, LOG_RETAIN_ENTRIES, LOG_RETAIN_BYTES))

    def _clear(self) -> None:
        """Forget journal and ledger, as after a start."""
        self.log, self.commit, self.applied = Log(), 0, 0
        self._machine.restore(b"", FIRST)

    def _snapshot(self) -> Snapshot:
        """The ledger as it is now."""
        at = self.applied
        return Snapshot(
            at,
            self.log.epoch_at(at) or 0,
            self.log.time_at(at),
            self.log.membership_at(at),
            self._machine.snapshot(self.log.format_at(at)),
            self.log.format_at(at),
            self.log.founding_at(at),
            self.log.sum_at(at),
        )
