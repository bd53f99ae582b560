# SPDX-License-Identifier: Apache-2.0
"""Statements of the containers, each checked by its signature, and the licences made of them."""

from collections.abc import Iterable, Mapping
from typing import Final

from tmr.api.deployment import TMR, Deployment
from tmr.ledger.commands import Trust, Withdraw
from tmr.ledger.state_digest import StateDigest
from tmr.licensing import (
    BadStatement,
    LicenceKey,
    MergedLicence,
    SignedStatement,
    Statement,
    fingerprint,
    merge,
    merge_plain,
    open_statement,
)

UPSTREAMS: Final = TMR.replicas
"""Upstreams of a TMR system. A fourth name is nobody's: two such would make a licence of a twin's own."""


class Containers:
    """`deployment`: a TMR system's constituents make licences; a plain one is a licence by itself."""

    def __init__(
        self,
        deployment: Deployment,
        trusted: Mapping[str, bytes],
        signed: Mapping[str, SignedStatement],
        withdrawn: Iterable[str] = (),
        *,
        digest: StateDigest,
    ) -> None:
        self._digest = digest
        self._deployment = deployment
        self.trusted = dict(trusted)
        self.signed = dict(signed)
        self.withdrawn = set(withdrawn)
        """Upstreams whose container is gone: the statement is kept, for its generation, and not merged."""
        self._merge()

    def trust(self, trust: Trust) -> list[LicenceKey]:
        """Believe another key from now on. The licences that changed."""
        if self.trusted.get(trust.upstream) == trust.key:
            return []  # a retry must not take away what the container has stated since
        if not self._has_room(trust.upstream):
            return []
        self.trusted[trust.upstream] = trust.key
        self.signed.pop(trust.upstream, None)
        self.withdrawn.discard(trust.upstream)
        return self._merge_anew()

    def withdraw(self, withdraw: Withdraw) -> list[LicenceKey]:
        """Count no more what the upstream's former container stated. The licences that changed.

        A late one, after the container that it names was trusted, changes nothing.
        """
        known = self.fingerprints.get(withdraw.upstream)
        if known in (None, withdraw.container) or withdraw.upstream not in self.signed:
            return []
        self.withdrawn.add(withdraw.upstream)
        return self._merge_anew()

    def state(self, statements: Iterable[SignedStatement]) -> tuple[list[LicenceKey], list[str]]:
        """The licences that changed; and which statements are not believed, for people."""
        rejected = [refusal for signed in statements if (refusal := self._accept(signed)) is not None]
        return self._merge_anew(), rejected

    def _accept(self, signed: SignedStatement) -> str | None:
        """Believe a container's statement; or why not. The first key of an upstream is the one to stay."""
        try:
            statement = open_statement(signed, signed.key)
            if not self._has_room(statement.upstream):
                return f"{statement.upstream}: the upstreams are {', '.join(sorted(self.trusted))}"
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
        self.withdrawn.discard(statement.upstream)
        self.signed[statement.upstream] = signed
        self.statements[statement.upstream] = statement
        return None

    def _has_room(self, upstream: str) -> bool:
        return not self._deployment.tmr_ids or upstream in self.trusted or len(self.trusted) < UPSTREAMS

    def _merge_anew(self) -> list[LicenceKey]:
        before = self.licences
        self._merge()
        keys = sorted({*before, *self.licences})
        return [key for key in keys if before.get(key) != self.licences.get(key)]

    def _merge(self) -> None:
        self._digest.replace(b"containers", (self.trusted, self.signed, sorted(self.withdrawn)))
        self.statements: dict[str, Statement] = {
            upstream: open_statement(signed, self.trusted[upstream])
            for upstream, signed in sorted(self.signed.items())
        }
        self.fingerprints = {upstream: fingerprint(key) for upstream, key in self.trusted.items()}
        in_force = [one for upstream, one in self.statements.items() if upstream not in self.withdrawn]
        if not self._deployment.tmr_ids and len(in_force) == 1:
            self.merged = merge_plain(in_force[0])
        else:
            self.merged = merge(in_force)
        self.firms = frozenset(item.firm_code for one in self.statements.values() for item in one.items)
        """Firm Codes of everything that any container holds."""
        self.licences: dict[LicenceKey, MergedLicence] = {
            licence.item.key: licence for licence in self.merged.licences
        }
