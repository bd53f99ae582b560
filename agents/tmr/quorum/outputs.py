# SPDX-License-Identifier: Apache-2.0
"""Outputs of a proposer: what its runtime is to send and to tell, and why a command is turned away."""

from typing import Any

import msgspec

from tmr.quorum.entries import Entry
from tmr.quorum.messages import Request
from tmr.quorum.roles import Role


class Send(msgspec.Struct, frozen=True):
    """Send `request` to this replica; report the answer by `receive` or `failed`."""

    replica: int
    request: Request
    at: float
    """The `now` of the decision: the lease counts from here. Hand it back with the answer."""


class Applied(msgspec.Struct, frozen=True):
    """Entry `index` is committed and applied; `outcome` is the state machine's."""

    index: int
    entry: Entry
    outcome: Any


class RoleChanged(msgspec.Struct, frozen=True):
    """The twin became `role`; `reason` is for people."""

    role: Role
    epoch: int
    reason: str


class Serving(msgspec.Struct, frozen=True):
    """The term is committed: the twin may answer clients and claim the VIP while `holds`."""

    epoch: int


Output = Send | Applied | RoleChanged | Serving


class NotActive(Exception):
    """A command was submitted to a twin that is not active, or whose lease has ended."""


class Overloaded(Exception):
    """Too many commands wait for commitment."""
