# SPDX-License-Identifier: Apache-2.0
"""Invariants: a proposer or an acceptor in a state that no message can lead to says so."""

from collections.abc import Callable

import pytest

from tests.unit.quorum.test_rollback import System, command, term_of_tmr1
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.entries import ProposerId
from tmr.quorum.invariants import InvariantViolation
from tmr.quorum.log import Log
from tmr.quorum.progress import Progress
from tmr.quorum.proposer import Proposer

OTHER = ProposerId("tmr2", "other")


def _set(name: str, value: object) -> Callable[[object], None]:
    return lambda thing: setattr(thing, name, value)


def _at_first(change: Callable[[Progress], None]) -> Callable[[Proposer], None]:
    return lambda twin: change(twin.replicas[0])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("base <= applied", _set("applied", 99)),
        ("all that is committed is applied", _set("applied", 1)),
        ("only an active proposer serves", _set("role", "passive")),
        ("never use the same epoch", _set("rank", 1)),
        ("ends with an entry of the term", _set("epoch", 98)),
        ("only a committed term is served", _set("_term_start", 99)),
        ("no replica has more", _at_first(_set("match_index", 99))),
        ("no gap", _at_first(_set("next", 99))),
        ("rolled back counts for nothing", _at_first(_set("rolled_back", True))),
    ],
)
def test_an_active_proposer(what: str, change: Callable[[Proposer], None]) -> None:
    system, twin = term_of_tmr1()
    command(system, twin, frozenset({0, 1, 2}))
    twin.check_invariants()
    change(twin)
    with pytest.raises(InvariantViolation, match=what):
        twin.check_invariants()


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("not committed", lambda twin: twin._add("command", b"", 0.0)),
        ("in a term alone", _at_first(_set("granted_until", 1.0))),
        ("in a term alone", _at_first(_set("confirmed_at", 1.0))),
        ("no pre-votes", lambda twin: twin._pre_votes.update({0: twin.replicas[0].state})),
        ("only a candidate has votes", lambda twin: twin._votes.update({0: (0.0, None)})),
    ],
)
def test_a_passive_proposer(what: str, change: Callable[[Proposer], None]) -> None:
    system, twin = term_of_tmr1()
    twin.retire(system.now, "planned")
    twin.check_invariants()
    change(twin)
    with pytest.raises(InvariantViolation, match=what):
        twin.check_invariants()


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("base <= snapshot <= applied", _set("_applied", -1)),
        ("all that is committed is applied", _set("commit", 99)),
        ("each promise has an owner", _set("owner", None)),
        ("no term is taken", _set("term", 99)),
        ("no entry is stored", _set("promised", 1)),
        ("only the owner of the promise", _set("holder", OTHER)),
        ("given back lives no more", lambda it: _set("_given_back", (it.promised, it.owner))(it)),
        ("without a system", _set("log", Log())),
    ],
)
def test_an_acceptor(what: str, change: Callable[[Acceptor], None]) -> None:
    system, twin = term_of_tmr1()
    command(system, twin, frozenset({0, 1, 2}))
    acceptor = system.upstreams[0].acceptor
    acceptor.check_invariants()
    if what == "without a system":
        acceptor = System().upstreams[0].acceptor
    elif what == "no entry is stored":
        acceptor.term = 0
    change(acceptor)
    with pytest.raises(InvariantViolation, match=what):
        acceptor.check_invariants()
