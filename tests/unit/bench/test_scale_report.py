# SPDX-License-Identifier: Apache-2.0
"""The report of sizes: ratios, goals, and cases that were measured earlier."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bench.load.job import Timeline
from bench.measure import Run
from bench.probing import pauses
from bench.scale import report
from bench.scale.cases import kept
from bench.scale.catch_up import CatchUp, line, way
from bench.scale.cost import Cost, Size
from bench.scale.pauses import Paused
from bench.scale.sessions import Sessions
from bench.scale.system import counted
from bench.scale.takeover import Row, Takeover
from testbed.figures import Latency
from testbed.report import markdown, write

DAEMONS = ("up1", "up2", "up3", "tmr1", "tmr2")


def run(number: int, seconds_each: float) -> Run:
    load = Latency(1000, 0.01, 0.03, 0.035, 0.04)
    cpu = dict.fromkeys(DAEMONS, 2000 * seconds_each)
    return Run("checkout", number, 16, 1.0, load, 2000, cpu, syncs=10.0)


RESULTS = report.Results(
    runs={"cost": "2 processors"},
    cost=Cost(
        16,
        Size(100, 100, 1.0, 0.1, [run(0, 0.001), run(1, 0.001)]),
        Size(100_000, 1_000, 2.0, 50.0, [run(0, 0.0011), run(1, 0.0013)]),
    ),
    sessions=Sessions(
        sessions=1024,
        licences=100,
        every=30.0,
        window=60.0,
        active="tmr1",
        opened=1.0,
        idle=dict.fromkeys(DAEMONS, 0.01),
        cpu=dict.fromkeys(DAEMONS, 0.2),
        fresh=dict.fromkeys(DAEMONS, 50 * 2**20),
        worn=dict.fromkeys(DAEMONS, 60 * 2**20),
        held=dict.fromkeys(DAEMONS, 61 * 2**20),
        churn=1000,
        kept=Latency(100, 0.01, 0.02, 0.025, 0.03),
    ),
    pauses=Paused(
        sessions=100_000,
        minutes=2.0,
        rate=200.0,
        limit=0.05,
        probed=pauses(Timeline([0.0, 1.0], [0.001, 0.3], late=0.002)),
        checkouts=Latency(100, 0.01, 0.02, 0.03, 0.04),
        turned_away=0,
        waited=0.1,
        commands=24_000,
    ),
    takeover=Takeover(
        Row(0, 10, 0, [0.1, 0.2, 0.3]),
        Row(1_000_000, 9_000, 0, [0.25]),
        Row(1_100_000, 9_900, 100_000, [0.4]),
        ttl=2.0,
    ),
    catch_up=CatchUp(
        commands=1_000_000,
        clients=16,
        missed=9_100,
        answers=1.0,
        whole=20.0,
        recorded=90.0,
        way="snapshot",
        messages={"install appended": 1},
        before=Latency(100, 0.01, 0.02, 0.03, 0.03),
        two=Latency(100, 0.01, 0.02, 0.03, 0.03),
        during=Latency(100, 0.01, 0.03, 0.3, 0.3),
        filling=Latency(100, 0.01, 0.025, 0.1, 0.1),
        turned_away=0,
        line=[(0.0, 0.01, 0.02), (1.0, 0.01, 0.03)],
    ),
)
PAGE = markdown(report.describe(RESULTS))


@pytest.mark.parametrize(
    "row",
    [
        "| CPU of all servers, ms/operation | 5.00 ± 0 % | 6.00 ± 8 % | 1.20 | ≤ 1.2 |",
        "| tmr1, active | 1.0 % | 20.0 % | < 25 % | 1.00 | 11.00 | ≤ 1.5 |",
        "| tmr2, passive | 1.0 % | 20.0 % |  | 1.00 | 11.00 |  |",
        "| light request | 1.00 | 300.00 | 300.0 | 300.0 | 1 of 2 | longest ≤ 50 |",
        "| 1,000,000 | 9,000 | 0 | 1 | 250 | 250, 250 | 1.25 | 1 ± 0.2 |",
        "| it votes and has all that is committed | 20.0 | ≤ 60 |",
        "| from its start until it was whole | 100 | 10.00 | 30.00 | 300 | 1.50 | ≤ 2 |",
    ],
)
def test_figures_stand_beside_their_goals(row: str) -> None:
    assert row in PAGE.splitlines()


def test_only_what_was_measured_is_told() -> None:
    assert "2 processors." in PAGE
    empty = markdown(report.describe(report.Results(short=True)))
    assert "##" not in empty
    assert "not to judge" in empty


def test_each_picture_is_drawn(tmp_path: Path) -> None:
    write(tmp_path, "scale", report.describe(RESULTS))
    assert {path.name for path in tmp_path.glob("*.svg")} == set(re.findall(r"\((.*\.svg)\)", PAGE))


def test_cases_of_earlier_runs_stay_where_they_are_of_the_same_kind() -> None:
    data = msgspec.json.encode(RESULTS)
    assert kept(data, False) == RESULTS
    assert kept(data, True) == report.Results(short=True)
    assert kept(b"", False) == kept(b'{"cost": 1}', False) == report.Results()


def test_the_way_of_a_catch_up_is_told_by_messages() -> None:
    metrics = (
        "# HELP tmr_upstream_messages_total Messages answered.\n"
        'tmr_upstream_messages_total{message="install",reply="appended"} 1.0\n'
        'tmr_upstream_messages_total{message="append",reply="conflict"} 2.0\n'
        'tmr_upstream_messages_created{message="append",reply="conflict"} 1.7e+09\n'
    )
    assert counted(metrics) == {"install appended": 1, "append conflict": 2}
    assert way(counted(metrics)) == "snapshot"
    assert way({"append appended": 7, "install refused": 1}) == "journal"


def test_seconds_of_a_timeline() -> None:
    timeline = Timeline(began=[9.5, 10.0, 10.25, 12.5], took=[0.25, 0.125, 0.5, 0.25])
    assert line(timeline, 10.0) == [(-1.0, 0.25, 0.25), (0.0, 0.125, 0.5), (2.0, 0.25, 0.25)]
