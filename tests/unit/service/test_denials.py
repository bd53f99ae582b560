# SPDX-License-Identifier: Apache-2.0
"""Refusals on their way into the record: equal ones are one line, and nobody fills it alone."""

from tmr.service.denials import AFTER, OF_CLIENT_MAX, DenialCounter, DeniedRequest

ANNA = DeniedRequest(6_000_010, 201, "anna", "cad-07", "anna", "10.1.0.7")


def test_equal_ones_wait_for_one_another_and_are_counted() -> None:
    refusals = DenialCounter()
    for _ in range(20):
        refusals.add(ANNA, "no-more-licences", "full")
    assert refusals.take(100.0) == ()
    assert refusals.take(100.0 + AFTER / 2) == ()
    (one,) = refusals.take(100.0 + AFTER)
    assert (one.client, one.reason, one.count) == ("anna", "no-more-licences", 20)
    assert refusals.take(200.0) == ()


def test_what_could_not_be_written_is_kept() -> None:
    refusals = DenialCounter()
    refusals.add(ANNA, "no-more-licences", "full", 3)
    taken = refusals.take(0.0, at_once=True)
    refusals.put_back(taken)
    refusals.add(ANNA, "no-more-licences", "full")
    (one,) = refusals.take(0.0, at_once=True)
    assert one.count == 4


def test_one_client_that_varies_all_it_says_hides_nobody() -> None:
    refusals = DenialCounter()
    for number in range(10_000):
        told = DeniedRequest(6_000_010, number, "mallory", f"station-{number}", f"user-{number}", "10.1.0.9")
        refusals.add(told, "entry-not-found", f"no product {number}")
    refusals.add(ANNA, "no-more-licences", "all")
    taken = refusals.take(0.0, at_once=True)
    assert len(taken) <= OF_CLIENT_MAX + 2
    assert sum(one.count for one in taken if one.client == "mallory") == 10_000
    (one,) = (one for one in taken if one.client == "anna")
    assert (one.station, one.rule) == ("cad-07", "all")
