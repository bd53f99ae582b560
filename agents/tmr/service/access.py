# SPDX-License-Identifier: Apache-2.0
"""The access list, for operators: read, checked, put into force."""

import msgspec

from tmr.api.access import AccessList
from tmr.ledger import AccessList as Rules
from tmr.ledger import AccessSet, Denied, SetAccess, mistakes
from tmr.net.identity import Identity
from tmr.service.guard import RequestGuard
from tmr.service.problems import problem


class AccessControl:
    """Requests of operators about the access list."""

    def __init__(self, guard: RequestGuard) -> None:
        self._guard = guard
        self._ledger = guard.ledger

    def current(self) -> AccessList:
        """The list that is in force. Raises ProblemError."""
        self._guard.check()
        found = _shown(self._ledger.access, self._ledger.access_version)
        self._guard.confirm()
        return found

    def check(self, wanted: AccessList) -> AccessList:
        """The list, if nothing is wrong with it. Raises ProblemError bad-request with all mistakes."""
        self._guard.check()
        rules = _read(wanted)
        self._guard.confirm()
        return _shown(rules, wanted.version)

    async def replace(self, peer: Identity, wanted: AccessList) -> AccessList:
        """Put the list into force, all of it or nothing. Raises ProblemError."""
        self._guard.check()
        command = SetAccess(_read(wanted), wanted.version, str(peer))
        if not self._ledger.access_version - 1 <= wanted.version <= self._ledger.access_version:
            raise problem(
                "access-list-changed",
                f"The access list is at version {self._ledger.access_version}, not at {wanted.version}.",
            )
        outcome = await self._guard.outcome(self._guard.command_log.submit(command))
        self._guard.confirm()
        if isinstance(outcome, Denied):
            raise problem(outcome.reason, f"{outcome.detail[:1].upper()}{outcome.detail[1:]}.")
        assert isinstance(outcome, AccessSet)  # noqa: S101
        return _shown(command.access, outcome.version)


def _read(wanted: AccessList) -> Rules:
    """The rules for the ledger. Raises ProblemError bad-request, which names every mistake."""
    rules = msgspec.convert(wanted.model_dump(mode="json", exclude={"version"}, exclude_none=True), Rules)
    wrong = [str(mistake) for mistake in mistakes(rules)]
    if wrong:
        raise problem(
            "bad-request",
            f"The access list cannot be used: {'. '.join(wrong)}.",
            remedy="Correct what is named; the list in force stays as it is.",
            mistakes=wrong,
        )
    return rules


def _shown(rules: Rules, version: int) -> AccessList:
    return AccessList.model_validate({**msgspec.to_builtins(rules), "version": version})
