# SPDX-License-Identifier: Apache-2.0
"""Order of the messages of one run of a twin, as a replica hears them. Pure.

A twin numbers what it sends. A message with a lower number than one before is late, or is sent by a copy of
the running machine, put beside it or in its place: the memory that was copied has the same name, incarnation
and epoch. Nothing else distinguishes the two processes. A replica goes on with the process that is ahead.
"""

from typing import Final

from msgspec.structs import replace

from tmr.quorum.entries import ProposerId
from tmr.quorum.majority import is_majority
from tmr.quorum.messages import Acquire, Append, Install, Release

RUNS: Final = 8
"""Runs of twins whose last number is kept, in memory."""
LATE: Final = (
    "a later message of this run of the twin came before: this one was long under way, or a copy of the "
    "running machine sends, too"
)
"""Reason why such a message is refused."""


class CopiedTwin(Exception):
    """Two replicas have later messages of this very run than it has sent: another machine has its memory."""


class MessageOrder:
    """The last message of each run of a twin. A number of 0 is none: such messages are not ordered."""

    def __init__(self) -> None:
        self._last: dict[ProposerId, Acquire | Append | Install] = {}
        self._late: dict[ProposerId, int] = {}
        """The newest term or candidacy of each run that a late message was of."""

    def is_late(self, message: Acquire | Append | Install) -> bool:
        """A later message of this run came before, or another of this number; else, note this message."""
        if not message.number:
            return False
        last, brief = self._last.pop(message.owner, None), _brief(message)
        late = last is not None and (
            message.number < last.number or (message.number == last.number and brief != last)
        )
        self._last[message.owner] = last if late and last is not None else brief
        if late and not (isinstance(message, Acquire) and message.pre_vote):
            self._late[message.owner] = max(message.epoch, self._late.pop(message.owner, 0))
        for kept in (self._last, self._late):
            while len(kept) > RUNS:
                del kept[next(iter(kept))]
        return late

    def may_be_two(self, release: Release) -> bool:
        """A message of this term was late: a copy of the twin that uses the lease may be giving it back.

        A pre-vote is of no term: it often arrives behind the candidacy that two others have let begin.
        """
        return release.epoch <= self._late.get(release.owner, 0)


def _brief(message: Acquire | Append | Install) -> Acquire | Append | Install:
    """The message without a state that is large."""
    if not isinstance(message, Install):
        return message
    return replace(message, snapshot=replace(message.snapshot, state=b""))


class OwnOrder:
    """The numbers of a twin's own messages, and the replicas that have heard later ones of it."""

    def __init__(self) -> None:
        self._number = 0
        self._late = set[int]()

    def next(self) -> int:
        """The number of the next message."""
        self._number += 1
        return self._number

    def answered(self, replica: int, *, late: bool) -> None:
        """The newest message to this replica was taken for late, or was not. Raises CopiedTwin."""
        if not late:
            self._late.discard(replica)
            return
        self._late.add(replica)
        if is_majority(self._late):
            raise CopiedTwin(
                "two upstreams have later messages of this very run than it has sent: a copy of this running "
                "machine was started beside it, or it was put back to a copy. This process begins anew"
            )
