"""`apply(entry) → outcome`: seats, access modes, expiry, idempotency. The same on every machine.

Nothing here may depend on anything but the entries: no clock, no order of a set, no container at hand.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from tmr.ledger.commands import Assemble, Free, Grant, Trust, decode
from tmr.ledger.outcomes import Assembled, Denied, Freed, Granted, Outcome
from tmr.ledger.state import Remembered, Session, Stored, Use
from tmr.licensing import (
    BadStatement,
    LicenceKey,
    MergedLicence,
    ProductItem,
    SignedStatement,
    Statement,
    merge,
    open_statement,
)

REMEMBER_MS: Final = 600_000
"""Outcomes are remembered this long, for retries: far beyond any client's patience."""
MAX_REMEMBERED: Final = 200_000
"""Outcomes remembered at most: the oldest go first."""
MAX_SESSIONS: Final = 200_000
"""Sessions that one system holds; beyond, requests are denied."""

_encoder = msgspec.msgpack.Encoder()
_stored_decoder: msgspec.msgpack.Decoder[Stored] = msgspec.msgpack.Decoder(Stored)


class Ledger:
    """Sessions, seats and merged licences of one TMR system."""

    _digest: bytes

    def __init__(self) -> None:
        self.restore(b"")

    # -- the state machine that the quorum drives ----------------------------------------------------------

    def apply(self, index: int, time_ms: int, body: bytes) -> Outcome:
        """Carry out one committed command."""
        self._forget(time_ms)
        match decode(body):
            case Grant() as grant:
                outcome = self._grant(time_ms, grant)
            case Free() as free:
                outcome = self._free(free)
            case Assemble() as assemble:
                outcome = self._assemble(assemble)
            case Trust() as trust:
                outcome = self._trust(trust)
        running = hashlib.blake2b(self._digest, digest_size=16)
        running.update(index.to_bytes(8, "big") + time_ms.to_bytes(8, "big"))
        running.update(body)
        running.update(_encoder.encode(outcome))
        self._digest = running.digest()
        return outcome

    def digest(self) -> bytes:
        """Running digest of all commands and outcomes: two ledgers that differ in anything differ here."""
        return self._digest

    def snapshot(self) -> bytes:
        """The whole state."""
        return _encoder.encode(
            Stored(
                self._digest,
                self.trusted,
                self._signed,
                list(self.sessions.values()),
                list(self._remembered.values()),
            )
        )

    def restore(self, state: bytes) -> None:
        """Become what `snapshot` wrote; empty bytes: a ledger before its first command."""
        stored = _stored_decoder.decode(state) if state else Stored(b"", {}, {}, [], [])
        self._digest = stored.digest
        self.trusted = stored.trusted
        self._signed = stored.statements
        self.sessions: dict[str, Session] = {}
        self._uses: dict[LicenceKey, Use] = {}
        self._remembered: dict[tuple[str, str], Remembered] = {}
        for session in stored.sessions:
            self.sessions[session.id] = session
            self._use(session.key).add(session)
        for remembered in stored.remembered:
            self._remembered[remembered.grant.client, remembered.grant.request_id] = remembered
        self._merge()

    # -- what the server asks ------------------------------------------------------------------------------

    def use(self, key: LicenceKey) -> Use:
        """How the licence is used now."""
        return self._uses.get(key, Use())

    def holders(self, key: LicenceKey) -> list[Session]:
        """Sessions on the licence, oldest first."""
        return sorted(
            (self.sessions[session] for session in self.use(key).sessions),
            key=lambda session: (session.granted_ms, session.id),
        )

    def remembered(self, client: str, request_id: str) -> tuple[Grant, Outcome] | None:
        """The request that `client` made with this idempotency key, and its outcome."""
        found = self._remembered.get((client, request_id))
        return None if found is None else (found.grant, found.outcome)

    def review(self, grant: Grant, time_ms: int) -> Denied | None:
        """Why `grant` would be denied now, without changing anything; None: it would be granted."""
        known = self._remembered.get((grant.client, grant.request_id))
        if known is not None:
            return None if known.grant.asks_the_same(grant) else _conflicting_key(grant)
        choice = self._choose(grant, time_ms)
        return choice if isinstance(choice, Denied) else None

    # -- commands ------------------------------------------------------------------------------------------

    def _forget(self, time_ms: int) -> None:
        while self._remembered:
            oldest = next(iter(self._remembered))
            recent = self._remembered[oldest].time_ms > time_ms - REMEMBER_MS
            if recent and len(self._remembered) < MAX_REMEMBERED:
                return
            del self._remembered[oldest]

    def _use(self, key: LicenceKey) -> Use:
        return self._uses.setdefault(key, Use())

    def _grant(self, time_ms: int, grant: Grant) -> Outcome:
        request = (grant.client, grant.request_id)
        known = self._remembered.get(request)
        if known is not None:
            return known.outcome if known.grant.asks_the_same(grant) else _conflicting_key(grant)
        choice = self._choose(grant, time_ms)
        outcome: Outcome
        if isinstance(choice, Denied):
            outcome = choice
        else:
            session = Session(
                grant.session,
                grant.client,
                choice.key,
                grant.mode,
                grant.ttl,
                grant.station,
                grant.user,
                grant.process,
                time_ms,
            )
            self.sessions[session.id] = session
            use = self._use(choice.key)
            use.add(session)
            outcome = Granted(
                session.id, choice.key, grant.mode, grant.ttl, time_ms, use.seats, choice.quantity
            )
        self._remembered[request] = Remembered(grant, outcome, time_ms)
        return outcome

    def _choose(self, grant: Grant, time_ms: int) -> ProductItem | Denied:
        """The first licence of the product that admits the access, or why none does."""
        if grant.session in self.sessions:
            return Denied("conflicting-key", f"session {grant.session} exists already")
        if len(self.sessions) >= MAX_SESSIONS:
            return Denied("overloaded", f"{MAX_SESSIONS} sessions are held")
        denied = Denied(
            "entry-not-found",
            f"no licence {grant.firm_code}:{grant.product_code} with a TMR-Id of {list(grant.tmr_ids)}",
        )
        for tmr_id in grant.tmr_ids:
            merged = self.licences.get(LicenceKey(grant.firm_code, grant.product_code, tmr_id))
            if merged is None:
                continue
            refusal = self._refusal(merged.item, grant, time_ms)
            if refusal is None:
                return merged.item
            denied = refusal
        return denied

    def _refusal(self, item: ProductItem, grant: Grant, time_ms: int) -> Denied | None:
        if item.expiration_ms is not None and time_ms >= item.expiration_ms:
            return Denied("licence-expired", f"the licence ended {time_ms - item.expiration_ms} ms ago")
        use = self.use(item.key)
        if use.exclusive:
            return Denied("exclusive-conflict", f"session {use.exclusive} holds the licence exclusively")
        match grant.mode:
            case "no-user-limit":
                return None
            case "exclusive":
                if use.sessions:
                    return Denied("exclusive-conflict", f"{len(use.sessions)} sessions are in use")
            case "station-share":
                if (grant.client, grant.station) in use.stations:
                    return None
            case "user-limit":
                pass
        if item.quantity is not None and use.seats >= item.quantity:
            return Denied("no-more-licences", f"{use.seats} of {item.quantity} seats are in use")
        return None

    def _free(self, free: Free) -> Outcome:
        session = self.sessions.get(free.session)
        if session is None:
            return Freed(free.session, existed=False)
        if free.client is not None and free.client != session.client:
            return Denied("access-denied", "the session belongs to another client")
        del self.sessions[session.id]
        use = self._uses[session.key]
        use.remove(session)
        if not use.sessions:
            del self._uses[session.key]
        return Freed(session.id, existed=True)

    def _trust(self, trust: Trust) -> Outcome:
        self.trusted[trust.upstream] = trust.key
        self._signed.pop(trust.upstream, None)
        return self._merged_anew(())

    def _assemble(self, assemble: Assemble) -> Outcome:
        rejected = [
            f"{refusal}" for signed in assemble.statements if (refusal := self._accept(signed)) is not None
        ]
        return self._merged_anew(rejected)

    def _accept(self, signed: SignedStatement) -> str | None:
        """Believe a container's statement; or why not. The first key of an upstream is the one to stay."""
        try:
            statement = open_statement(signed, signed.key)
            trusted = self.trusted.get(statement.upstream, signed.key)
            if trusted != signed.key:
                return f"{statement.upstream}: another container than before; an operator must trust it"
        except BadStatement as error:
            return str(error)
        others = [s for name, s in self.statements.items() if name != statement.upstream]
        if any(other.act_id != statement.act_id for other in others):
            return f"{statement.upstream}: CmActId {statement.act_id} is not the one of the other containers"
        if any(other.container == statement.container for other in others):
            return f"{statement.upstream}: container {statement.container} is already another upstream's"
        known = self.statements.get(statement.upstream)
        if known is not None and statement.generation < known.generation:
            return f"{statement.upstream}: generation {statement.generation} is older than {known.generation}"
        self.trusted[statement.upstream] = signed.key
        self._signed[statement.upstream] = signed
        self.statements[statement.upstream] = statement
        return None

    def _merged_anew(self, rejected: Iterable[str]) -> Assembled:
        before = dict(self.licences)
        self._merge()
        keys = sorted({*before, *self.licences})
        changed = tuple(key for key in keys if before.get(key) != self.licences.get(key))
        return Assembled(changed, tuple(rejected))

    def _merge(self) -> None:
        self.statements: dict[str, Statement] = {
            upstream: open_statement(signed, self.trusted[upstream])
            for upstream, signed in sorted(self._signed.items())
        }
        self.merged = merge(self.statements.values())
        self.licences: dict[LicenceKey, MergedLicence] = {
            licence.item.key: licence for licence in self.merged.licences
        }


def _conflicting_key(grant: Grant) -> Denied:
    return Denied("conflicting-key", f"idempotency key {grant.request_id} was used for another request")
