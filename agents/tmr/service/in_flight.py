# SPDX-License-Identifier: Apache-2.0
"""Commands on their way into the journal: the fate of each, and the patience of those who wait for it. Pure.

The *fate* of a command is its outcome once its entry is applied, `Overloaded` or `NotActive` if it never came
into the journal, and `NotActive` when the term ends first: the next term decides it before it serves.
Patience is another matter. A client that has waited too long hears `Undecided`; the command stays in flight,
and whatever depends on its fate, such as a session whose end it is, goes on waiting.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from tmr.ledger import BatchedEntry, Outcome
from tmr.quorum.outputs import NotActive, Overloaded


class Undecided(Exception):
    """A command is not committed yet, and its client has waited long enough: its fate is open."""


Fate = Outcome | NotActive | Overloaded
"""Fate of a command."""


class Submission(msgspec.Struct, eq=False):
    """A command in flight since `since` (seconds). `fate`: None while it is open."""

    body: bytes
    since: float
    fate: Fate | None = None
    _then: list[Callable[[Fate], None]] = []

    def then(self, call: Callable[[Fate], None]) -> None:
        """Call `call` once, with the fate; at once if it is known."""
        if self.fate is None:
            self._then.append(call)
        else:
            call(self.fate)

    def decide(self, fate: Fate) -> None:
        """Set the fate, and tell it. Only the first one counts."""
        if self.fate is not None:
            return
        self.fate = fate
        for call in self._then:
            call(fate)
        self._then.clear()


class _Entry(msgspec.Struct):
    """A journal entry that is not committed yet, and the commands in it."""

    epoch: int
    body: bytes
    submissions: list[Submission]


class _Listener(msgspec.Struct, eq=False):
    """One that waits for a fate since `since`. `hear` is called once."""

    since: float
    hear: Callable[[Fate | Undecided], None]
    served: bool = False

    def tell(self, answer: Fate | Undecided) -> None:
        if not self.served:
            self.served = True
            self.hear(answer)


class InFlight:
    """The commands in flight of one twin. `patience`: seconds after which a client hears `Undecided`."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.waiting: list[Submission] = []
        """Commands that wait to become entries, in their order."""
        self._entries: dict[int, _Entry] = {}
        self._listeners: deque[_Listener] = deque()
        """The waiting clients, the longest first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Submission]:
        """All of them, the oldest first."""
        for entry in self._entries.values():
            yield from entry.submissions
        yield from self.waiting

    def add(self, now: float, body: bytes) -> Submission:
        """Take a command that is to become an entry, or a part of one."""
        submission = Submission(body, now)
        self.waiting.append(submission)
        self._count += 1
        return submission

    def listen(self, now: float, submission: Submission, hear: Callable[[Fate | Undecided], None]) -> None:
        """Have the fate told to a client, or `Undecided` when its patience is over first."""
        listener = _Listener(now, hear)
        submission.then(listener.tell)
        if not listener.served:
            self._listeners.append(listener)

    def take(self, limit: int | None = None) -> list[Submission]:
        """Takes the commands that wait to become entries. The caller enters them, or turns them away."""
        taken, self.waiting = self.waiting[:limit], [] if limit is None else self.waiting[limit:]
        return taken

    def enter(
        self, first: int, epoch: int, entries: Iterable[BatchedEntry], submissions: Iterable[Submission]
    ) -> None:
        """Note that `submissions` are in the journal, in `entries` of this epoch from index `first` on."""
        rest = iter(submissions)
        for index, entry in enumerate(entries, first):
            self._entries[index] = _Entry(epoch, entry.body, list(islice(rest, entry.count)))

    def turn_away(self, submissions: Collection[Submission], error: NotActive | Overloaded) -> None:
        """Note that these never came into the journal."""
        self._decide(submissions, [error] * len(submissions))

    def applied(self, index: int, epoch: int, body: bytes, outcomes: Sequence[Outcome]) -> None:
        """Note that an entry was applied: the fate of its commands, or of those whose index it took."""
        entry = self._entries.pop(index, None)
        if entry is None:
            return
        if entry.epoch != epoch or entry.body != body:
            self.turn_away(entry.submissions, NotActive())
        else:
            self._decide(entry.submissions, outcomes)

    def end_term(self) -> None:
        """Note that the term is over: the next one decides what is in flight, before it serves."""
        submissions = list(self)
        self._entries, self.waiting = {}, []
        self.turn_away(submissions, NotActive())

    def lose_patience(self, now: float) -> None:
        """Tell the clients that have waited too long. It changes nothing of any command's fate."""
        listeners = self._listeners
        while listeners and (listeners[0].served or now - listeners[0].since >= self.patience):
            listeners.popleft().tell(Undecided())

    def _decide(self, submissions: Collection[Submission], fates: Sequence[Fate]) -> None:
        self._count -= len(submissions)
        for submission, fate in zip(submissions, fates, strict=True):
            submission.decide(fate)
