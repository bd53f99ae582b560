# SPDX-License-Identifier: Apache-2.0
"""Progress of one replica, as a proposer sees it. Each field states its invariant."""

import msgspec

from tmr.quorum.messages import ReplicaState

NEVER = float("-inf")


class Progress(msgspec.Struct):
    """Knowledge of one replica: its state, its place in the journal, its lease, the messages under way."""

    # -- the replica ---------------------------------------------------------------------------------------
    state: ReplicaState | None = None
    """Header of the newest answer; None: it never answered this proposer."""
    noted_at: float = NEVER
    """Time at which the message was sent whose answer `state` is from. Never falls."""
    reachable: bool = False
    """It answered, and no later message failed."""
    failed_at: float = NEVER
    """Time at which the last message was sent that it did not answer in time. Never falls.

    An answer to that, or to one before, does not say that it is there now.
    """
    new_store: bool = False
    """It never belonged to a system; only while it is `not_voting`."""
    not_voting: bool = False
    """It answered last that it has no vote."""
    rolled_back: bool = False
    """It shows less than it has confirmed: it counts for nothing before it has that again. Then
    `match_index` is 0 and there is no `granted_until`."""
    rolled_back_at: float = NEVER
    """Time at which that was last seen."""
    foreign: bool = False
    """Its journal is of another founding: it counts for nothing. Then `match_index` is 0 and there is no
    `granted_until`."""
    joining: str = ""
    """Store in its place that is no member, and is to answer again in this term before it is readmitted."""
    joining_at: float = NEVER
    """Mark of its first answer: a majority is to confirm the term after that."""
    joining_confirmed: float = float("inf")
    """Mark of the answer at which that had happened: one to a later question is to come."""
    alarm: str = ""
    """Note for an operator; empty: none."""

    # -- its journal, in the term of this proposer ---------------------------------------------------------
    match_index: int = 0
    """Its journal is known to equal this proposer's up to here: at most the last entry. Within a term it
    falls only to 0, when what it confirmed no longer counts."""
    next: int = 1
    """Index of the entry that it is sent next: at most the one behind the last. A late `Conflict` may lead
    back to entries that it has: they are sent again."""
    refused_upto: int | None = None
    """It refused a message that ends with this entry: it stands still, and has no vote before it took it."""

    # -- its lease, in the term of this proposer -----------------------------------------------------------
    granted_until: float | None = None
    """End of the lease that it granted, by this proposer's clock; None outside a term. Never falls within
    one, unless to None."""
    granted: float | None = None
    """Seconds of the lease that it granted last, in whatever term."""
    confirmed_at: float = NEVER
    """Time at which the last message was sent that it took as one of this term; -inf outside a term."""

    # -- what is under way ---------------------------------------------------------------------------------
    busy: bool = False
    """A message other than a `Subscribe` or a `Release` is under way: no other one is sent."""
    sent_at: float = NEVER
    """Time at which the last such message was sent. Never falls."""
    ask_at: float = float("inf")
    """Time at which this election asks it again: it failed, or another lease ends then."""
    delay: float = 0.0
    """Seconds that its answers to appends take, smoothed."""

    # -- what it tells a passive proposer ------------------------------------------------------------------
    subscribed: bool = False
    """A `Subscribe` is under way."""
    subscribed_at: float = NEVER
    """Time at which it was sent: an answer to an earlier one must not start another."""
    with_entries: bool = False
    """That `Subscribe` asks for entries, too."""
    holder: str | None = None
    """Last known lease holder there: a twin's name; empty: none; None: unknown."""
    holder_epoch: int = 0
    """Epoch that it had promised when it told of `holder`."""

    def discount(self) -> None:
        """Forget what it confirmed: another store, an older state, or another system's store answers."""
        self.match_index, self.granted_until, self.confirmed_at = 0, None, NEVER

    def distrust(self, now: float, last: int) -> None:
        """Count it for nothing until it has again what it has confirmed. `last`: the journal's last entry."""
        self.discount()
        self.rolled_back, self.rolled_back_at = True, now
        self.next = min(self.next, last + 1)

    def begin_term(self, last: int, *, elected: bool) -> None:
        """A term begins behind the entry `last`. `elected`: its vote was counted."""
        self.discount()
        self.reachable = self.reachable and elected  # it may have answered long ago
        self.rolled_back = self.rolled_back and not elected
        self.next = last + 1
        self.busy = False
        self.joining = ""

    def end_term(self) -> None:
        """The term, or the candidacy, is over."""
        self.granted_until, self.confirmed_at = None, NEVER
        self.busy = False
        self.refused_upto = None

    def grant(self, seconds: float, until: float) -> None:
        """It granted a lease of so many seconds: it lives until then, or as long as an earlier one does."""
        self.granted = seconds
        self.granted_until = until if self.granted_until is None else max(self.granted_until, until)

    def took(self, sent_at: float) -> None:
        """It took a message of this term."""
        self.confirmed_at = max(self.confirmed_at, sent_at)

    def stored(self, match_index: int, last: int) -> None:
        """Its journal equals this proposer's, which ends with `last`, up to `match_index`."""
        self.match_index = max(self.match_index, min(match_index, last))
        self.next = max(self.match_index + 1, min(self.next, last + 1))
