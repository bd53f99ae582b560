# SPDX-License-Identifier: Apache-2.0
"""Readiness of a twin, and what keeps it from taking over."""

import pytest

from tmr.ledger import Ledger
from tmr.quorum.anchor import Anchor
from tmr.quorum.election import OBJECTS
from tmr.quorum.entries import Entry, Membership, ProposerId, Snapshot
from tmr.quorum.lease import Timing
from tmr.quorum.messages import ReplicaState, Subscribed
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer
from tmr.quorum.readiness import LAG, hindrance

ME = ProposerId("tmr2", "life-1")
DISKS = ("disk-0", "disk-1", "disk-2")
FOUNDED = Snapshot(0, 0, 0, Membership(DISKS), b"")
WALL = 1_800_000_000_000


@pytest.fixture
def twin() -> Proposer:
    return Proposer(ME, 0, ("up1", "up2", "up3"), Ledger(), Timing(ttl=2.0), 0.0, lambda: 0.5)


def follow(
    twin: Proposer, *slots: int, commit: int = 1, needs: int = 1, entries: int = 1, founded: bool = True
) -> None:
    """Let the upstreams answer the polls: another twin is active, these entries are committed."""
    twin.tick(0.01)
    news = tuple(Entry(index, 2, WALL, "term", b"") for index in range(1, entries + 1)) if founded else ()
    for send in [one for one in twin.take() if isinstance(one, Send)]:
        if send.replica in slots:
            member = ReplicaState(DISKS[send.replica], True, 2, commit, 2, commit, WALL, needs=needs)
            snapshot = FOUNDED if founded else None
            reply = Subscribed(member, ME, "tmr1", 2, 1_000, snapshot, news)
            twin.receive(0.02, send.replica, send.at, send.request, reply)


def test_a_twin_that_mirrors_is_ready(twin: Proposer) -> None:
    follow(twin, 0, 1)
    assert hindrance(twin, 0.03) == ""


def test_a_twin_that_has_just_started_is_not(twin: Proposer) -> None:
    assert hindrance(twin, 0.0) == "it reaches fewer than two upstreams"
    follow(twin, 0)
    assert hindrance(twin, 0.03) == "it reaches fewer than two upstreams"


def test_a_twin_without_the_journal_is_not(twin: Proposer) -> None:
    follow(twin, 0, 1, founded=False)
    assert hindrance(twin, 0.03) == "it has not mirrored the journal yet"


@pytest.mark.parametrize(("commit", "ready"), [(1 + LAG, True), (2 + LAG, False)])
def test_a_twin_far_behind_is_not(twin: Proposer, commit: int, ready: bool) -> None:
    follow(twin, 0, 1, commit=commit)
    assert (hindrance(twin, 0.03) == "") is ready


def test_one_upstream_that_claims_much_keeps_no_twin_from_being_ready(twin: Proposer) -> None:
    follow(twin, 0, 1)
    follow(twin, 2, commit=1_000_000)
    assert hindrance(twin, 0.03) == ""


def test_a_twin_of_an_older_version_is_not(twin: Proposer) -> None:
    follow(twin, 0, 1, needs=2)
    assert "format 2" in hindrance(twin, 0.03)


def test_a_twin_that_objects_to_the_journal_is_not() -> None:
    lost = Anchor(epoch=1, index=9, time_ms=WALL)
    timing = Timing(ttl=2.0)
    twin = Proposer(ME, 0, ("up1", "up2", "up3"), Ledger(), timing, 0.0, lambda: 0.5, lost)
    follow(twin, 0, 1)
    assert hindrance(twin, 0.03) == OBJECTS
