# SPDX-License-Identifier: Apache-2.0
"""Protection of an upstream's own container: no twin, not even a stolen one, may replace its key.

The ledger believes a container by the key that it saw first, or that a `Trust` names. So a twin that could
bring keys of its own for two upstreams could state licences that no vendor issued. Each upstream therefore
refuses to store what would replace *its own* key: then no majority stores it for two.
"""

import msgspec

from tmr.ledger import CommandBatch, Consume, Free, Grant, Ledger, StateContainers, Trust, decode, encoded_as
from tmr.ledger.containers import UPSTREAMS
from tmr.ledger.continuity import lost, read
from tmr.licensing import BadStatement, open_statement
from tmr.quorum.entries import FIRST


class OwnContainerValidator:
    """`ledger`: the one that the acceptor drives. `name`: of this upstream. `key`: its container's (raw)."""

    def __init__(self, ledger: Ledger, name: str, key: bytes) -> None:
        self._ledger = ledger
        self._name = name
        self._key = key

    def command(self, body: bytes) -> str:
        """Reason not to store the command; empty: none. One that cannot be read is left to the ledger."""
        if encoded_as(body, CommandBatch, Grant, Free, Consume):
            return (
                ""  # nearly all are, and none of `CommandBatch` can be another: the ledger reads them, once
            )
        try:
            command = decode(body)
        except msgspec.MsgspecError:
            return ""
        match command:
            case Trust(upstream, key):
                if upstream == self._name and key not in (self._key, self._ledger.trusted.get(upstream)):
                    return f"it trusts another key for {upstream} than that of the container here"
                return self._shut_out({upstream})
            case StateContainers(statements):
                names = set[str]()
                for signed in statements:
                    try:
                        upstream = open_statement(signed, signed.key).upstream
                    except BadStatement:
                        continue
                    names.add(upstream)
                    if upstream == self._name and self._key != signed.key and not self._known:
                        return f"it states a container for {upstream} that is not the one here"
                return self._shut_out(names)
        return ""

    def state(self, state: bytes, entry_format: int = FIRST, *, fresh: bool) -> str:
        """Reason not to continue from the state. `fresh`: there is nothing to compare it with."""
        after = read(state, entry_format, type(self._ledger))
        if isinstance(after, str):
            return after
        key = after.trusted.get(self._name)
        if key is None and len(after.trusted) >= UPSTREAMS:
            return f"the state has no place for {self._name}"
        if fresh:
            return ""
        if key not in (self._key, self._ledger.trusted.get(self._name)):
            return f"the state trusts another key for {self._name} than that of the container here"
        return lost(self._ledger, after)

    @property
    def _known(self) -> bool:
        return self._name in self._ledger.trusted

    def _shut_out(self, names: set[str]) -> str:
        known = {*self._ledger.trusted, *names}
        if self._name in known or len(known) < UPSTREAMS:
            return ""
        return f"it fills all three places without {self._name}"
