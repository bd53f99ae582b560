# SPDX-License-Identifier: Apache-2.0
"""Lease grants of an acceptor: the promised epoch, and the proposer that may act, with the time until when.

A promise is durable before its answer leaves; the lease lives in memory, on this machine's monotonic clock.
At most one proposer holds it, and it is never shortened for its owner.
"""

from tmr.quorum.durable import Durable, PromiseWrite, Write
from tmr.quorum.entries import ProposerId, StateMachine
from tmr.quorum.invariants import require
from tmr.quorum.messages import Acquire, Append, Install
from tmr.quorum.stored_journal import StoredJournal


class LeaseGrants(StoredJournal):
    """Layer of the acceptor that promises epochs and grants the lease."""

    def __init__(
        self, durable: Durable, machine: StateMachine, now: float, max_ttl: float, newest: int
    ) -> None:
        super().__init__(durable, machine, newest)
        self.promised = durable.promised
        """Epoch: no message of an older epoch is taken any more."""
        self.owner = durable.owner
        """The proposer that the epoch was promised to; None: no epoch was promised."""
        self._max_ttl = max_ttl
        self._given_back: tuple[int, ProposerId] | None = None
        """The promise whose lease was given back. Durable: its owner never acts on it again."""
        # It may have granted a lease that it forgot: the owner of the last promise keeps it for as long as
        # was granted then, whatever the setting is now, unless that was given back.
        self.holder = None if durable.released else durable.owner
        """The proposer whose lease lives until `holder_until`; None: it was given back."""
        if durable.released and durable.owner is not None:
            self._given_back = durable.promised, durable.owner
        self.granted_ms = durable.granted_ms
        """Length of the longest lease of the promise's owner that may live."""
        self.holder_until = now + self.granted_ms / 1000 if self.holder else float("-inf")

    def check_invariants(self) -> None:
        super().check_invariants()
        require((self.owner is None) == (self.promised == 0), "each promise has an owner")
        require(self.term <= self.promised, "no term is taken that was not promised")
        require(self.log.last_epoch <= self.promised, "no entry is stored of an epoch that was not promised")
        require(self.holder in (None, self.owner), "only the owner of the promise holds the lease")
        require(not self.released or self.holder is None, "a lease that was given back lives no more")

    @property
    def released(self) -> bool:
        """The lease of its promise was given back."""
        return self._given_back == (self.promised, self.owner)

    def live_holder(self, now: float) -> ProposerId | None:
        """Holder whose lease lives at `now`."""
        return self.holder if self.holder is not None and now < self.holder_until else None

    def blocked(self, now: float, asker: ProposerId) -> bool:
        """Another lease lives. That of a former run of the same twin counts, too: this run may be the
        original of a machine that was copied.
        """
        holder = self.live_holder(now)
        return holder is not None and holder != asker

    def fences(self, message: Append | Install) -> bool:
        """The message comes from a term that is over: deposed, or it gave its lease back."""
        if message.epoch == self.promised:
            return message.owner != self.owner or self._given_back == (message.epoch, message.owner)
        return message.epoch < self.promised

    def promised_to(self, message: Acquire) -> bool:
        """The candidate has this promise already, and has not heard of it: the answer was lost."""
        promise = (message.epoch, message.owner)
        return not message.pre_vote and promise == (self.promised, self.owner) != self._given_back

    def _granted_ms(self, message: Acquire | Append | Install) -> int:
        """Length of the lease that the message gets."""
        return min(message.ttl_ms, round(self._max_ttl * 1000))

    def _grant(self, now: float, message: Acquire | Append | Install) -> list[Write]:
        """Promise the epoch, and grant or renew the lease. A lease is never shortened for its owner.

        The length is durable, too: the setting may be another after a restart.
        """
        granted_ms, epoch, owner = self._granted_ms(message), message.epoch, message.owner
        until = now + granted_ms / 1000
        if self.holder == owner and until < self.holder_until:
            until, granted_ms = self.holder_until, self.granted_ms
        self.holder, self.holder_until = owner, until
        if (epoch, owner, granted_ms) == (self.promised, self.owner, self.granted_ms):
            return []
        self.promised, self.owner, self.granted_ms = epoch, owner, granted_ms
        return [PromiseWrite(epoch, owner, granted_ms)]
