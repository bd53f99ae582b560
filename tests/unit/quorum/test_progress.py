# SPDX-License-Identifier: Apache-2.0
"""Progress of one replica: what it confirmed counts until that is in doubt."""

from tmr.quorum.progress import NEVER, Progress


def granted() -> Progress:
    progress = Progress(reachable=True)
    progress.begin_term(10, elected=True)
    progress.grant(2.0, 12.0)
    progress.took(10.5)
    progress.stored(8, 10)
    return progress


def test_a_replica_that_stored_something_is_sent_what_follows() -> None:
    progress = granted()
    assert (progress.match_index, progress.next) == (8, 11), "the rest is under way"
    progress.next = 3
    progress.stored(8, 10)
    assert progress.next == 9


def test_it_never_has_more_than_the_journal() -> None:
    progress = granted()
    progress.stored(99, 10)
    assert (progress.match_index, progress.next) == (10, 11)


def test_what_it_confirmed_never_falls_within_a_term() -> None:
    progress = granted()
    progress.grant(1.0, 11.0)
    progress.took(10.1)
    progress.stored(2, 10)
    assert (progress.granted_until, progress.confirmed_at, progress.match_index) == (12.0, 10.5, 8)
    assert progress.granted == 1.0, "it renews by the lease that was granted last"


def test_a_replica_rolled_back_counts_for_nothing() -> None:
    progress = granted()
    progress.distrust(11.0, 7)
    assert (progress.granted_until, progress.confirmed_at, progress.match_index) == (None, NEVER, 0)
    assert (progress.rolled_back, progress.rolled_back_at, progress.next) == (True, 11.0, 8)


def test_a_term_that_begins_trusts_those_that_elected_it() -> None:
    for elected in (True, False):
        progress = granted()
        progress.distrust(11.0, 10)
        progress.busy = True
        progress.begin_term(20, elected=elected)
        assert (progress.rolled_back, progress.reachable) == (not elected, elected)
        assert (progress.next, progress.match_index, progress.busy) == (21, 0, False)


def test_a_term_that_ends_leaves_no_lease() -> None:
    progress = granted()
    progress.refused_upto = 10
    progress.end_term()
    assert progress.granted_until is None
    assert progress.refused_upto is None
    assert progress.confirmed_at == NEVER
