# SPDX-License-Identifier: Apache-2.0
"""Commands in flight: their fate, and the patience of clients, which changes nothing of it."""

import asyncio
from pathlib import Path
from typing import Any

from tests.support.tmr_system import ALICE, System, ask, item, key, running, scenario, until
from tmr.ledger import BatchedEntry, Freed, Outcome
from tmr.quorum.outputs import NotActive, Overloaded
from tmr.service.in_flight import InFlight, Undecided

PATIENCE = 4.0
DONE = Freed("a", existed=True)


def entered(flight: InFlight, *bodies: bytes, first: int = 7, epoch: int = 2) -> None:
    """Each of these commands is an entry of its own."""
    for body in bodies:
        flight.add(100.0, body)
    flight.enter(first, epoch, [BatchedEntry(body, 1) for body in bodies], flight.take())


def test_a_client_that_waited_too_long_hears_so_and_the_command_stays_in_flight() -> None:
    flight = InFlight(PATIENCE)
    entered(flight, b"end")
    (submission,) = flight
    fates, heard = list[Any](), list[Any]()
    submission.then(fates.append)
    flight.listen(100.0, submission, heard.append)
    flight.lose_patience(99.9 + PATIENCE)
    assert heard == []
    flight.lose_patience(100.0 + PATIENCE)
    assert [type(one) for one in heard] == [Undecided]
    assert fates == [] and len(flight) == 1
    later = list[Any]()
    flight.listen(105.0, submission, later.append)
    flight.lose_patience(105.1)
    flight.applied(7, 2, b"end", [DONE])
    assert fates == later == [DONE] and len(heard) == 1 and not len(flight)
    submission.then(fates.append)
    assert fates == [DONE, DONE]


def test_what_shares_an_entry_has_its_own_outcome_each() -> None:
    flight = InFlight(PATIENCE)
    heard = list[Any]()
    for body in (b"a", b"b", b"c"):
        flight.listen(1.0, flight.add(1.0, body), heard.append)
    flight.enter(3, 2, [BatchedEntry(b"ab", 2), BatchedEntry(b"c", 1)], flight.take())
    outcomes: list[Outcome] = [Freed(name, existed=True) for name in "abc"]
    flight.applied(3, 2, b"ab", outcomes[:2])
    flight.applied(4, 2, b"c", outcomes[2:])
    assert heard == outcomes


def test_the_end_of_a_term_and_a_lost_index_are_a_fate() -> None:
    flight = InFlight(PATIENCE)
    entered(flight, b"a", b"b")
    heard = list[Any]()
    for submission in flight:
        submission.then(heard.append)
    flight.applied(7, 4, b"a", [DONE])  # another term's entry took the index
    assert [type(one) for one in heard] == [NotActive]
    flight.add(101.0, b"c").then(heard.append)
    flight.end_term()
    assert [type(one) for one in heard] == [NotActive] * 3
    assert not len(flight) and not flight.waiting
    flight.add(102.0, b"d").then(heard.append)
    flight.turn_away(flight.take(), Overloaded())
    assert isinstance(heard[-1], Overloaded)


async def end_that_takes_long(system: System) -> bool:
    """Whether one term saw it all: a session's end on its way, a heartbeat meanwhile, and the end."""
    replicator, service = system.active.agent.replicator, system.active.agent.licence_service.held
    epoch = replicator.epoch
    async with system.active.client(ALICE) as alice:
        granted = await alice.post("/v1/sessions", json=ask(ttl=10), headers=key())
        if granted.status_code != 201:
            return False
        session = granted.json()["id"]
        for upstream in system.upstreams:
            upstream.delay = 0.25  # a commit takes longer than a client waits, and the lease lives
        replicator.in_flight.patience = 0.02
        release = asyncio.ensure_future(alice.delete(f"/v1/sessions/{session}"))
        await until(release.done, "the client is told something")
        told = release.result().status_code
        answers = []
        on_its_way = session in service.ending
        while on_its_way and session in replicator.ledger.sessions and replicator.epoch == epoch:
            beat = await alice.put(f"/v1/sessions/{session}/heartbeat")
            answers.append((beat.status_code, beat.json().get("epoch")))
            await asyncio.sleep(0.01)
    for upstream in system.upstreams:
        upstream.delay = 0.0
    replicator.in_flight.patience = 2.0
    assert (200, epoch) not in answers
    return replicator.epoch == epoch and told == 503 and any(status == 503 for status, _ in answers)


@scenario
async def test_nobody_is_told_alive_while_the_end_may_still_be_committed(tmp_path: Path) -> None:
    async with running(tmp_path, item(1, quantity=None)) as system:
        for _ in range(20):
            await system.serving()
            if await end_that_takes_long(system):
                return
        raise AssertionError("no term lasted long enough to see it")
