# SPDX-License-Identifier: Apache-2.0
"""The ledger with one rule broken at a time: the comparison with the model must find each, or it is blind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import replace

from tmr.ledger import choose, granting, lending, promote, use
from tmr.ledger.choose import LicenceChooser
from tmr.ledger.commands import Consume
from tmr.ledger.ledger_state import LedgerState
from tmr.ledger.queue import Queues
from tmr.ledger.seats import Seats
from tmr.ledger.timer_queue import TimerQueue
from tmr.ledger.usage_counters import UsageCounters
from tmr.ledger.use import SeatUse

Patch = pytest.MonkeyPatch


def one_seat_too_many(patch: Patch) -> None:
    original = LicenceChooser.refusal

    def refusal(self: Any, item: Any, *rest: Any) -> Any:
        return original(self, replace(item, quantity=item.quantity and item.quantity + 1), *rest)

    patch.setattr(LicenceChooser, "refusal", refusal)


def borrowed_seats_are_free(patch: Patch) -> None:
    patch.setattr(
        SeatUse, "lend", lambda self, borrowing, count: self.borrowings.update({borrowing.id: None})
    )
    patch.setattr(SeatUse, "take_back", lambda self, borrowing, count: self.borrowings.pop(borrowing.id))


def retries_spend_units_again(patch: Patch) -> None:
    original = LedgerState.repeated

    def repeated(self: Any, request: Any) -> Any:
        return None if isinstance(request, Consume) else original(self, request)

    patch.setattr(LedgerState, "repeated", repeated)


def last_come_first_served(patch: Patch) -> None:
    original = Queues.of
    patch.setattr(Queues, "of", lambda self, product: dict(reversed(original(self, product).items())))


def nobody_is_promoted_on_release(patch: Patch) -> None:
    patch.setattr(granting, "promote", lambda *_, **__: None)


def nobody_is_promoted_on_return(patch: Patch) -> None:
    patch.setattr(lending, "promote", lambda *_, **__: None)


def reserved_seats_are_given_away(patch: Patch) -> None:
    patch.setattr(LicenceChooser, "_kept", lambda *_: None)


def emergency_licences_first(patch: Patch) -> None:
    original = LicenceChooser.choose

    def choose(self: Any, asked: Any, time_ms: int, blocked: Any) -> Any:
        for key in asked.keys:
            merged = self._containers.licences.get(key)
            if merged and merged.item.emergency and not self.refusal(merged.item, asked, time_ms, blocked):
                return merged.item
        return original(self, asked, time_ms, blocked)

    patch.setattr(LicenceChooser, "choose", choose)


def denied_requests_start_the_usage_period(patch: Patch) -> None:
    original = LicenceChooser.refusal

    def refusal(self: Any, item: Any, asked: Any, time_ms: int, blocked: Any) -> Any:
        found = original(self, item, asked, time_ms, blocked)
        if item.emergency and found is not None:
            self._usage.start(item, time_ms)
        return found

    patch.setattr(LicenceChooser, "refusal", refusal)


def newcomers_pass_who_waits_to_be_alone(patch: Patch) -> None:
    patch.setattr(granting, "blocked", lambda *_: set())


def one_unit_too_many(patch: Patch) -> None:
    original = UsageCounters.too_few
    patch.setattr(UsageCounters, "too_few", lambda self, item, units: original(self, item, units - 1))


def nobody_is_looked_at_as_time_goes_by(patch: Patch) -> None:
    patch.setattr(TimerQueue, "pop", lambda *_: [])


def the_crashed_instance_keeps_its_seat(patch: Patch) -> None:
    patch.setattr(granting, "former_of", lambda *_: None)


def snapshots_forget_the_first_use(patch: Patch) -> None:
    original = LedgerState.stored

    def stored(self: Any, digest: bytes) -> Any:
        whole = original(self, digest)
        whole.counters = [replace(counter, first_use_ms=None) for counter in whole.counters]
        return whole

    patch.setattr(LedgerState, "stored", stored)


def a_kept_seat_is_anybodys(patch: Patch) -> None:
    patch.setattr(
        SeatUse, "linger", lambda self, lingering, count: self.lingering.update({lingering.id: None})
    )
    patch.setattr(SeatUse, "stop_lingering", lambda self, kept, count: self.lingering.pop(kept.id))


def a_kept_seat_is_nobodys(patch: Patch) -> None:
    patch.setattr(Seats, "lingering_for", lambda *_: None)


def a_kept_seat_stays_for_ever(patch: Patch) -> None:
    patch.setattr(Seats, "lingering_over", lambda *_: [])


def a_kept_seat_is_kept_once_more(patch: Patch) -> None:
    patch.setattr(Seats, "without", lambda *_: nullcontext())


def a_named_user_takes_a_seat_each_time(patch: Patch) -> None:
    original = use.shared_seat

    def shared_seat(mode: Any, named: bool, *rest: Any) -> Any:
        return original(mode, False, *rest)

    for module in (use, choose):
        patch.setattr(module, "shared_seat", shared_seat)


def places_in_vain_are_kept(patch: Patch) -> None:
    patch.setattr(promote, "_dismiss", lambda *_: None)


MUTATIONS: list[Callable[[Patch], None]] = [
    one_seat_too_many,
    borrowed_seats_are_free,
    retries_spend_units_again,
    last_come_first_served,
    nobody_is_promoted_on_release,
    nobody_is_promoted_on_return,
    reserved_seats_are_given_away,
    emergency_licences_first,
    denied_requests_start_the_usage_period,
    newcomers_pass_who_waits_to_be_alone,
    one_unit_too_many,
    nobody_is_looked_at_as_time_goes_by,
    the_crashed_instance_keeps_its_seat,
    snapshots_forget_the_first_use,
    a_kept_seat_is_anybodys,
    a_kept_seat_is_nobodys,
    a_kept_seat_stays_for_ever,
    a_kept_seat_is_kept_once_more,
    a_named_user_takes_a_seat_each_time,
    places_in_vain_are_kept,
]
