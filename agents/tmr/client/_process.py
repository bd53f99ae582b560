# SPDX-License-Identifier: Apache-2.0
"""Process that a client belongs to. A forked child has a copy of its memory, and none of its sessions."""

import os
import weakref
from collections.abc import Callable

from tmr.api.errors import OtherProcess


class OwnerProcess:
    """Process that holds the sessions of one client."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    @property
    def here(self) -> bool:
        """This is the process. False in a child that was forked."""
        return os.getpid() == self.pid

    def check(self) -> None:
        """Raise OtherProcess in a forked child."""
        if not self.here:
            raise OtherProcess(
                f"This client belongs to the process {self.pid}; this one, {os.getpid()}, was forked from it",
                "Make a new client here, or have this process take the sessions over with `adopt`.",
            )

    def adopt(self) -> None:
        """This process holds the sessions from now on."""
        self.pid = os.getpid()


_children: "weakref.WeakSet[ForkNotice]" = weakref.WeakSet()


class ForkNotice:
    """Has `told` called in every child that Python forks from this process, while the notice is kept."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        _children.add(self)

    def tell(self) -> None:
        """Call it."""
        self._told()


def _forked() -> None:
    for notice in list(_children):
        notice.tell()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
