# SPDX-License-Identifier: Apache-2.0
"""From looks at two twins to how long both had the address."""

from __future__ import annotations

from testbed.vip_watcher import Change, summary

MS = 1_000_000


def test_it_stays_on_both() -> None:
    changes = [Change(0, ("tmr1",)), Change(3000 * MS, ("tmr1", "tmr2"))]
    seen = summary(changes, [0, 1500 * MS, 3000 * MS, 10_000 * MS])
    assert (seen.most, seen.both_s, seen.seconds, seen.last) == (2, 7.0, 10.0, ("tmr1", "tmr2"))
    assert (seen.looks, seen.apart_ms) == (4, 7000)


def test_it_moves_and_is_nowhere_meanwhile() -> None:
    changes = [Change(0, ("tmr1",)), Change(100 * MS, ()), Change(160 * MS, ("tmr2",))]
    seen = summary(changes, [0, 100 * MS, 160 * MS, 500 * MS])
    assert (seen.most, seen.both_s, seen.last) == (1, 0.0, ("tmr2",))


def test_one_look() -> None:
    seen = summary([Change(7, ())], [7])
    assert (seen.most, seen.seconds, seen.apart_ms, seen.last) == (0, 0.0, 0, ())
