# SPDX-License-Identifier: Apache-2.0
"""Transition table of a proposer's roles: each pair of role and event is listed, or raises."""

from itertools import product

import pytest

from tests.unit.quorum.test_rollback import term_of_tmr1
from tmr.quorum.roles import EVENTS, ROLES, TRANSITIONS, Event, IllegalTransition, Role, after


@pytest.mark.parametrize(("role", "event"), list(product(ROLES, EVENTS)))
def test_a_pair_is_listed_or_raises(role: Role, event: Event) -> None:
    if event in TRANSITIONS[role]:
        assert after(role, event) == TRANSITIONS[role][event]
    else:
        with pytest.raises(IllegalTransition, match=f"{event}.*{role}") as illegal:
            after(role, event)
        assert (illegal.value.role, illegal.value.event) == (role, event)


def test_the_table_has_each_role_and_each_event() -> None:
    assert set(TRANSITIONS) == set(ROLES)
    assert {event for listed in TRANSITIONS.values() for event in listed} == set(EVENTS)


def test_the_only_way_to_be_active_is_an_election() -> None:
    into: dict[Role, set[Role]] = {role: set() for role in ROLES}
    for role, listed in TRANSITIONS.items():
        for following in listed.values():
            into[following].add(role)
    assert into["active"] == {"candidate"}
    assert into["candidate"] == {"pre-candidate"}
    assert into["pre-candidate"] == {"passive"}


@pytest.mark.parametrize("role", [role for role in ROLES if role != "passive"])
def test_every_role_can_be_given_up(role: Role) -> None:
    assert after(role, "fenced") == after(role, "retires") == "passive"


def test_a_proposer_refuses_what_is_not_in_the_table() -> None:
    _, twin = term_of_tmr1()
    assert twin.role == "active"
    with pytest.raises(IllegalTransition):
        twin._turn("elected")
    assert twin.role == "active"
