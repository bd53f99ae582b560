# SPDX-License-Identifier: Apache-2.0
"""Root on one upstream: it answers what it likes, and the system goes on with the two others."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.tmr_system import ask, item, key, running, scenario, until
from tmr.quorum.entries import Entry, Snapshot
from tmr.quorum.messages import Promise, Reply, Request, Subscribed
from tmr.runtime.clock import wall_ms

Lie = Callable[[Reply], Reply]


def _member(**values: int) -> Lie:
    return lambda reply: msgspec.structs.replace(reply, state=msgspec.structs.replace(reply.state, **values))


def _journal(*entries: Entry, state: bytes | None = None) -> Lie:
    """A journal of its own in every promise, and for who follows."""

    def lie(reply: Reply) -> Reply:
        if not isinstance(reply, Promise | Subscribed):
            return reply
        snapshot = None if state is None else Snapshot(10**6, 10**6, wall_ms(), None, state)
        return msgspec.structs.replace(reply, entries=entries, snapshot=snapshot)

    return lie


LIES: dict[str, Lie] = {
    "an epoch that is the last": _member(promised=2**53 - 1),
    "a commit index beyond its journal": _member(commit=10**9),
    "entries with a gap": _journal(Entry(10**6, 1, 1, "term", b"")),
    "a membership that cannot be read": _journal(Entry(1, 1, 1, "members", b"\xc1")),
    "a state that cannot be read": _journal(state=b"\xc1"),
}


@pytest.mark.parametrize("lie", LIES)
@scenario
async def test_one_that_lies_does_not_count(tmp_path: Path, lie: str) -> None:
    async with running(tmp_path, item()) as system:
        first = system.active
        hostile = system.upstreams[0]
        honestly = hostile.quorum

        async def lies(request: Request) -> Reply:
            return LIES[lie](await honestly(request))

        hostile.quorum = lies  # type: ignore[method-assign]
        first.vip.stop()
        await until(lambda: any(t.serves for t in system.twins if t is not first), "the other twin serves")
        async with system.active.client() as client:
            answer = await client.post("/v1/sessions", json=ask(), headers=key())
            assert answer.status_code == 201
        reaches = [twin.agent.replicator.reach[0] for twin in system.twins]
        await until(
            lambda: any("does not hold together" in reach.error for reach in reaches), "the lie is noticed"
        )
        assert not [error for twin in system.twins for error in twin.failures]
        first.vip.start()
