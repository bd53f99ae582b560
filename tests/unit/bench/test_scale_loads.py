# SPDX-License-Identifier: Apache-2.0
"""Loads of many sessions: what is sent when, and what is made of the times of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import many
from bench.load.engine import offsets
from bench.load.job import Target, Timeline
from bench.load.licences import STRIDE, Refused, wish
from bench.probing import pauses
from testbed.http import Connection

TARGET = Target(1, "tmr1", "", "", "", firm_code=6_000_010, product_code=1_000, products=100)


class Answers(Connection):
    """Answers with what it was given, and keeps what it was asked."""

    def __init__(self, *answers: tuple[int, object]) -> None:
        self.answers = list(answers)
        self.asked: list[list[dict[str, object]]] = []

    async def ask(self, method: str, path: str, body: bytes = b"", headers: str = "") -> tuple[int, bytes]:
        assert (method, path) == ("POST", "/v1/batch")
        self.asked.append(json.loads(body)["steps"])
        status, answer = self.answers.pop(0)
        return status, json.dumps(answer).encode()


def results(*statuses: int) -> dict[str, object]:
    sessions = [{"id": str(number)} if status == 201 else None for number, status in enumerate(statuses)]
    return {"results": [{"status": s, "session": one} for s, one in zip(statuses, sessions, strict=True)]}


def carry_out(connection: Connection, steps: Sequence[many.Step]) -> list[str]:
    return asyncio.run(many.carry_out(connection, steps))


@given(st.integers(0, 2_000), st.integers(1, 300))
def test_chunks_are_all_numbers_once(count: int, size: int) -> None:
    parts = list(many.chunks(count, size))
    assert [number for part in parts for number in part] == list(range(count))
    assert all(len(part) == size for part in parts[:-1])


def test_steps_that_are_turned_away_are_sent_again_with_their_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "PAUSE", 0.0)
    steps = [many.opening(TARGET, number, 600) for number in range(3)]
    connection = Answers((503, {}), (200, results(201, 503, 201)), (200, results(201)))
    assert len(carry_out(connection, steps)) == 3
    assert connection.asked == [steps, steps, [steps[1]]]


def test_a_step_that_is_refused_for_good_ends_the_load() -> None:
    with pytest.raises(Refused, match="409"):
        carry_out(Answers((200, results(409))), [many.opening(TARGET, 0, 600)])
    with pytest.raises(Refused, match="422"):
        carry_out(Answers((422, {})), [many.opening(TARGET, 0, 600)])


def test_a_churn_releases_all_that_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "STEPS", 4)
    connection = Answers(
        (200, results(201, 201)), (200, results(204, 204, 201, 201)), (200, results(204, 204))
    )
    asyncio.run(many.churn([connection], TARGET, 8))
    done = [step["do"] for steps in connection.asked for step in steps]
    assert done == ["open", "open", "release", "release", "open", "open", "release", "release"]


def test_every_product_has_its_turn() -> None:
    for products in (1, 100, 1_000, 5_000):
        target = Target(1, "tmr1", "", "", "", 6_000_010, 1_000, products)
        codes = {wish(target, 3, turn * STRIDE)["product_code"] for turn in range(products)}
        assert codes == set(range(1_000, 1_000 + products))


@given(st.integers(1, 1_000))
def test_clients_begin_evenly_spread(count: int) -> None:
    times = offsets(count)
    gaps = [later - at for at, later in zip(times, [*times[1:], 1.0], strict=True)]
    assert times[0] == 0.0
    assert gaps == pytest.approx([1 / count] * count, rel=1e-6)


def test_a_window_has_what_was_under_way_in_it() -> None:
    timeline = Timeline(began=[0.0, 1.0, 2.0, 3.0], took=[0.5, 1.5, 0.1, 1.0])
    assert sorted(timeline.within(2.05, 2.5)) == [0.1, 1.5]
    assert sorted(timeline.within(0.0, 10.0)) == [0.1, 0.5, 1.0, 1.5]
    assert timeline.within(5.0, 6.0) == []
    assert timeline.done(0.5, 3.5) == [1.5, 0.1]


def test_pauses_are_counted() -> None:
    samples = Timeline([float(second) for second in range(1000)], [0.001] * 999 + [0.2], late=0.002)
    found = pauses(samples)
    assert (found.took.count, found.over, found.took.worst, found.late) == (1000, 1, 0.2, 0.002)
    assert found.took.p99 == found.took.p999 == 0.001
    assert found.quantiles[0] == (0.0, 0.001)
    assert [took for _, took in found.quantiles] == sorted(took for _, took in found.quantiles)
    assert all(part <= 1 - 1 / 1001 for part, _ in found.quantiles)
