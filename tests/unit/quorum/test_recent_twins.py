# SPDX-License-Identifier: Apache-2.0
"""Recent twins: what the two heard last said."""

from tmr.quorum.recent_twins import RecentTwins


def test_the_two_heard_last_are_kept() -> None:
    twins = RecentTwins[int]()
    assert [twins.note("tmr1", 1), twins.note("tmr2", 2), twins.note("tmr1", 3)] == [None, None, 1]
    assert twins.newest_first() == [("tmr1", 3), ("tmr2", 2)]
    assert twins.note("tmr3", 4) is None
    assert twins.newest_first() == [("tmr3", 4), ("tmr1", 3)]
