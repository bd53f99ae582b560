# SPDX-License-Identifier: Apache-2.0
"""The simulated disk: what a crash leaves of what was written and not synced."""

import pytest

from tests.simulation.disk import Disk, Survived
from tests.simulation.licences import SimContainer
from tmr.quorum.durable import AppendWrite, CommitWrite, PromiseWrite, Write
from tmr.quorum.entries import Entry, ProposerId

FIRST: list[Write] = [PromiseWrite(3, ProposerId("tmr1", "a")), AppendWrite((Entry(1, 3, 0, "term", b""),))]
SECOND: list[Write] = [CommitWrite(1)]


@pytest.mark.parametrize(
    ("share", "survived", "promised", "commit"),
    [
        (0.0, Survived(lost=2), 0, 0),
        (0.4, Survived(lost=2, torn=1), 0, 0),
        (0.6, Survived(kept=1, lost=1), 3, 0),
        (0.8, Survived(kept=1, lost=1, torn=1), 3, 0),
        (0.99, Survived(kept=2), 3, 1),
    ],
)
def test_any_number_of_frames_survives_and_a_batch_is_whole_or_absent(
    share: float, survived: Survived, promised: int, commit: int
) -> None:
    disk = Disk("disk", SimContainer(1, licensed=True))
    disk.write(FIRST)
    disk.write(SECOND)
    assert disk.load().promised == 0
    assert disk.crash(share) == survived
    found = disk.load()
    assert (found.promised, len(found.entries), found.commit) == (promised, promised // 3, commit)


def test_what_was_synced_is_certain() -> None:
    disk = Disk("disk", SimContainer(1, licensed=True))
    disk.write(FIRST)
    disk.sync()
    assert disk.crash(0.0) == Survived()
    assert disk.load().promised == 3


def test_a_transaction_that_is_rolled_back_leaves_nothing() -> None:
    disk = Disk("disk", SimContainer(1, licensed=True))
    disk.write(FIRST)
    disk.forget()
    disk.sync()
    assert disk.load().promised == 0
