# SPDX-License-Identifier: Apache-2.0
"""Usage counters of licences: units taken, and the start of the Usage Period at the first use."""

from collections.abc import Sequence

from tmr.ledger import validity
from tmr.ledger.outcomes import Denied
from tmr.ledger.state import Counter
from tmr.ledger.state_digest import StateDigest
from tmr.licensing import LicenceKey, ProductItem


class UsageCounters:
    """Counters of the units taken, and the times of first use."""

    def __init__(self, counters: Sequence[Counter], digest: StateDigest) -> None:
        self._digest = digest
        self._spent = {counter.key: counter.spent for counter in counters}
        self._first_use = {c.key: c.first_use_ms for c in counters if c.first_use_ms is not None}
        for counter in counters:
            digest.add(b"counter", counter)

    def counters(self) -> list[Counter]:
        """All that was counted, sorted by licence."""
        return [self._counter(key) for key in sorted({*self._spent, *self._first_use})]

    def remaining(self, item: ProductItem) -> int | None:
        """Units that remain of the licence; None: it has no Unit Counter."""
        return None if item.units is None else max(0, item.units - self._spent.get(item.key, 0))

    def first_use_ms(self, key: LicenceKey) -> int | None:
        """Time at which a licence with a Usage Period was used first; None: not yet."""
        return self._first_use.get(key)

    def ends_ms(self, item: ProductItem) -> int | None:
        """End of the licence's validity, as far as it is known."""
        return validity.ends_ms(item, self._first_use.get(item.key))

    def invalid(self, item: ProductItem, time_ms: int) -> Denied | None:
        """Reason why nobody can use the licence at `time_ms`, by its own options."""
        return validity.invalid(item, time_ms, self._first_use.get(item.key))

    def too_few(self, item: ProductItem, units: int) -> Denied | None:
        """Reason why so many units cannot be taken."""
        if not units:
            return None
        remaining = self.remaining(item)
        if remaining is None:
            return Denied("not-enough-units", f"{item.key} has no Unit Counter")
        if remaining < units:
            return Denied(
                "not-enough-units", f"{units} units are asked for, {remaining} of {item.key} remain"
            )
        return None

    def spend(self, key: LicenceKey, units: int) -> None:
        """Take units. There are as many."""
        self._changes(key)
        self._spent[key] = self._spent.get(key, 0) + units
        self._digest.add(b"counter", self._counter(key))

    def start(self, item: ProductItem, time_ms: int) -> bool:
        """The licence is used. Whether its Usage Period starts with that."""
        if item.usage_s is None or item.key in self._first_use:
            return False
        self._changes(item.key)
        self._first_use[item.key] = time_ms
        self._digest.add(b"counter", self._counter(item.key))
        return True

    def _changes(self, key: LicenceKey) -> None:
        if key in self._spent or key in self._first_use:
            self._digest.remove(b"counter", self._counter(key))

    def _counter(self, key: LicenceKey) -> Counter:
        return Counter(key, self._spent.get(key, 0), self._first_use.get(key))
