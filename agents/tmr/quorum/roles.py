# SPDX-License-Identifier: Apache-2.0
"""Roles of a proposer, and the events that change them.

Theory of operation. A proposer is *passive*: it follows the journal and hears which twin's lease lives. If no
lease lives, it stands for election as a *pre-candidate*: it asks all replicas for a pre-vote, which changes
nothing there, so that a machine with a bad network disturbs no term. Once a majority is ready it becomes a
*candidate*: it asks for promises, and each one is a lease. With promises of a majority it adopts the best
journal, and is *active*: it appends, renews its lease with every message, and serves as soon as an entry of
its own term is committed. Everything that ends a term or a candidacy leads back to passive.

Nothing else changes a role. What is not in the table is a mistake of the program, and raises
IllegalTransition.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

Role = Literal["passive", "pre-candidate", "candidate", "active"]
Event = Literal[
    "stands for election",
    "majority is ready",
    "elected",
    "not elected in time",
    "withdraws",
    "founds the system",
    "fenced",
    "lease ended",
    "machine was paused",
    "ledger is contradicted",
    "retires",
]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
EVENTS: Final[tuple[Event, ...]] = get_args(Event)

TRANSITIONS: Final[Mapping[Role, Mapping[Event, Role]]] = MappingProxyType(
    {
        "passive": {
            "stands for election": "pre-candidate",
        },
        "pre-candidate": {
            "majority is ready": "candidate",
            "not elected in time": "passive",
            "founds the system": "passive",
            "fenced": "passive",
            "retires": "passive",
        },
        "candidate": {
            "elected": "active",
            "not elected in time": "passive",
            "withdraws": "passive",
            "fenced": "passive",
            "retires": "passive",
        },
        "active": {
            "lease ended": "passive",
            "fenced": "passive",
            "machine was paused": "passive",
            "ledger is contradicted": "passive",
            "retires": "passive",
        },
    }
)


class IllegalTransition(Exception):
    """An event that cannot happen in this role: a mistake of the program."""

    def __init__(self, role: Role, event: Event) -> None:
        super().__init__(f"the event {event!r} is not possible in the role {role!r}")
        self.role = role
        self.event = event


def after(role: Role, event: Event) -> Role:
    """The role that follows. Raises IllegalTransition."""
    following = TRANSITIONS[role].get(event)
    if following is None:
        raise IllegalTransition(role, event)
    return following
