# SPDX-License-Identifier: Apache-2.0
"""Commitment: a majority has stored it, and it is of the own epoch."""

import pytest

from tmr.quorum.commitment import commit_index, confirmed_since


@pytest.mark.parametrize(
    ("stored", "known", "index"),
    [
        ([], 0, 0),
        ([9], 0, 0),
        ([9, 4], 0, 4),
        ([9, 4, 0], 0, 4),
        ([9, 9, 9], 4, 9),
        ([9, 3, 2], 4, 4),
    ],
)
def test_the_commit_index_is_what_a_majority_has_and_never_falls(
    stored: list[int], known: int, index: int
) -> None:
    assert commit_index(stored, known, lambda _: True) == index


def test_an_older_entry_is_committed_with_one_of_the_own_epoch_only() -> None:
    epochs = {1: 1, 2: 2, 3: 4}
    assert commit_index([2, 2, 0], 1, lambda index: epochs[index] == 4) == 1
    assert commit_index([3, 3, 0], 1, lambda index: epochs[index] == 4) == 3


def test_reads_are_confirmed_by_a_majority() -> None:
    never = float("-inf")
    assert confirmed_since([]) == confirmed_since([5.0]) == never
    assert confirmed_since([5.0, 7.0]) == 5.0
    assert confirmed_since([5.0, 7.0, never]) == 5.0
