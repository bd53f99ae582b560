# SPDX-License-Identifier: Apache-2.0
"""An operator says that the new container of an upstream is to be believed.

The ledger keeps the first key that it saw of each upstream. The operator gives the fingerprint that the
machine itself shows, so that neither a wrong machine nor an attacker in between is believed (decision 13).
"""

import logging
import re
from collections.abc import Mapping
from typing import Final

from tmr.api.operations import Trusted, TrustRequest
from tmr.ledger import ContainersStated, StateContainers, Trust
from tmr.licensing import (
    BadStatement,
    LicensingError,
    SignedStatement,
    Statement,
    fingerprint,
    open_statement,
)
from tmr.net.identity import Identity
from tmr.net.problem import ProblemError, bad_request
from tmr.rpc.messages import ReadContainer
from tmr.rpc.upstream_client import LinkError
from tmr.runtime.logs import fields
from tmr.service.guard import RequestGuard
from tmr.service.problems import problem
from tmr.twin.replicator import Link

log = logging.getLogger(__name__)

_FINGERPRINT: Final = re.compile("[0-9a-f]{64}")


def refused(detail: str, remedy: str | None = None) -> ProblemError:
    """The container is not believed, and nothing has changed."""
    return problem("container-refused", detail, remedy=remedy)


class Truster:
    """`links`: the upstreams by name. `act_id`: of this system's containers."""

    def __init__(self, guard: RequestGuard, links: Mapping[str, Link], act_id: str) -> None:
        self._guard = guard
        self._links = links
        self._act_id = act_id

    async def trust(self, peer: Identity, asked: TrustRequest) -> Trusted:
        """Trust the container that the upstream shows, if it has this fingerprint. Raises ProblemError."""
        self._guard.check()
        wanted = re.sub(r"[\s:-]", "", asked.fingerprint).lower()
        if not _FINGERPRINT.fullmatch(wanted):
            raise bad_request(
                "The fingerprint has not 64 hexadecimal digits.",
                "Copy it from `tmr-upstream status` on the machine of the upstream.",
            )
        if asked.upstream not in self._links:
            raise bad_request(
                f"There is no upstream {asked.upstream!r}.", f"The upstreams are {', '.join(self._links)}."
            )
        signed, statement = await self._shown(asked.upstream)
        shown = fingerprint(signed.key)
        if shown != wanted:
            raise refused(
                f"{asked.upstream} shows the container {statement.container} with the fingerprint {shown}, "
                "not the one that was given.",
                "Look at `tmr-upstream status` on that machine. If it shows this one, the one given was "
                "wrong; if it shows another, the twin is connected with another machine: do not trust that.",
            )
        self._fits(asked.upstream, statement)
        changed = self._guard.command_log.ledger.trusted.get(asked.upstream) != signed.key
        if changed:
            await self._write(peer, asked.upstream, signed)
        self._guard.confirm()
        return Trusted(
            upstream=asked.upstream, container=statement.container, fingerprint=shown, changed=changed
        )

    async def _shown(self, upstream: str) -> tuple[SignedStatement, Statement]:
        try:
            signed = await self._links[upstream].call(ReadContainer())
            return signed, open_statement(signed, signed.key)
        except LinkError as error:
            raise refused(
                f"{upstream} cannot be asked for its container: {error.reason}.",
                "Start it, and see in `tmr status` that it answers.",
            ) from None
        except (BadStatement, LicensingError) as error:
            raise refused(f"{upstream} shows a container that is not believed: {error}.") from None

    def _fits(self, upstream: str, statement: Statement) -> None:
        """Raise ProblemError where the ledger would not believe it, whatever its key."""
        others = {
            name: one for name, one in self._guard.command_log.ledger.statements.items() if name != upstream
        }
        owner = next((name for name, one in others.items() if one.container == statement.container), None)
        if statement.upstream != upstream:
            raise refused(
                f"{upstream} shows the container of {statement.upstream}.",
                "It was copied, or the addresses of the two are mixed up: correct that first.",
            )
        if owner is not None:
            raise refused(
                f"The container {statement.container} of {upstream} is that of {owner}, too.",
                f"One of them is a copy. Move the state directory of {upstream} away, and start it: it makes "
                "a new one.",
            )
        if statement.act_id != self._act_id:
            raise refused(
                f"The container of {upstream} has the CmActId {statement.act_id}, this system has "
                f"{self._act_id}.",
                f"Correct act_id in /etc/tmr/upstream.toml of {upstream}, move its state directory away, and "
                "start it.",
            )

    async def _write(self, peer: Identity, upstream: str, signed: SignedStatement) -> None:
        """Trust first; then what the container states, so that its licences count at once."""
        submit = self._guard.command_log.submit
        await self._guard.outcome(submit(Trust(upstream, signed.key)))
        outcome = await self._guard.outcome(submit(StateContainers((signed,))))
        log.warning(
            "container trusted",
            extra=fields(upstream=upstream, fingerprint=fingerprint(signed.key), operator=str(peer)),
        )
        if isinstance(outcome, ContainersStated) and outcome.rejected:
            raise refused(f"The ledger does not believe it: {'; '.join(outcome.rejected)}.")
