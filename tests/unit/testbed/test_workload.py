# SPDX-License-Identifier: Apache-2.0
"""Clients do the same for the same seed, and nothing that they wrote is lost."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from testbed.workload.observed import blank
from testbed.workload.operations import Journal, Operation, settled
from testbed.workload.plan import FOREVER, Client, Job, Plan, Use

SOME = Use(1, hold=3.0, wait=FOREVER, leaves=0.5, more_units=(1, 9), every=0.7, forgets=0.5)
TWO = Client("two", ((SOME, 3), (Use(2, hold=FOREVER), 1)), pause=0.5)
ONE = Client("one", ((Use(1, hold=0.0), 1),), pause=0.0)


def jobs(client: Client, seed: int = 7) -> list[Job]:
    plan = Plan(6_000_010, (ONE, TWO), ttl=10, seed=seed)
    return list(itertools.islice(plan.jobs(client), 50))


def test_a_client_does_the_same_for_the_same_seed() -> None:
    assert jobs(TWO) == jobs(TWO)
    assert jobs(TWO) != jobs(TWO, seed=8)


@given(st.integers(0, 1_000))
def test_a_job_is_about_as_long_as_its_use(seed: int) -> None:
    for job in jobs(TWO, seed):
        assert job.pause <= 3 * TWO.pause
        assert job.hold == FOREVER if job.use is not SOME else 0 < job.hold <= 3 * SOME.hold
        assert job.units in (range(1, 10) if job.use is SOME else {0})
        assert job.wait in ((FOREVER, job.hold) if job.use is SOME else (0.0,))


def test_a_client_without_pause_and_hold_does_one_after_the_other() -> None:
    assert {(job.pause, job.hold, job.wait) for job in jobs(ONE)} == {(0.0, 0.0, 0.0)}


def test_clients_of_one_address_share_connections() -> None:
    clients = tuple(Client(str(n), ONE.uses, address="ab"[n % 2]) for n in range(7))
    groups = [[client.name for client in group] for group in Plan(1, clients, ttl=10, together=3).groups()]
    assert groups == [["0", "2", "4"], ["6"], ["1", "3", "5"]]


def test_a_plan_survives_its_way_to_the_client_machine() -> None:
    plan = Plan(6_000_010, (ONE, TWO), ttl=10)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


def test_the_last_word_of_a_client_holds_and_what_was_only_sent_is_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "operations", began=0.0)

    def sent(client: str, number: int, at: float) -> Operation:
        return msgspec.structs.replace(blank("checkout", 3000), client=client, number=number, sent=at)

    later, lost = sent("b", 1, 2.0), sent("a", 2, 3.0)
    first = sent("a", 1, 1.0)
    for operation in (later, first, lost):
        journal.write(operation)
    answered = msgspec.structs.replace(first, answered=4.0, outcome="granted")
    journal.write(answered)
    with (tmp_path / "operations").open("ab") as file:
        file.write(b'{"client":"a","number":3,"ve')  # the line in which a crash came
    text = (tmp_path / "operations").read_bytes()
    assert settled(text.splitlines(keepends=True)) == [answered, later, lost]
    assert settled(text.decode().splitlines(keepends=True)) == [answered, later, lost]
