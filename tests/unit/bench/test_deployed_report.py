# SPDX-License-Identifier: Apache-2.0
"""A run's figures as Markdown."""

from __future__ import annotations

import re

import pytest

from bench.deployed.figures import (
    AT_WORK,
    CABLE,
    KEEPALIVED,
    POWER,
    TMR,
    Boot,
    Figures,
    Gap,
    Holding,
    Missing,
    Playbook,
    Requests,
)
from bench.deployed.keepalived import DEFAULT, QUICK, configuration
from bench.deployed.report import describe, reference, rows
from bench.deployed.tmr import requests
from testbed.report import markdown as rendered
from testbed.vip_watcher import Seen
from testbed.workload.operations import Operation


def markdown(found: Figures) -> str:
    """The report, each paragraph in one line."""
    return re.sub(r"(?<=[^\n|])\n(?=[^\n|#-])", " ", rendered(describe(found)))


def gap(event: str, system: str, setting: str, ms: float, asked: Requests | None = None) -> Gap:
    return Gap(event, system, setting, 0, "tmr1", 0.0, ms, 0.0, 5.0, {}, asked)


def figures() -> Figures:
    works = [Requests(200, 0, 61.0, 2.0, ()), Requests(300, 1, 80.0, 3.0, ("checkout: nobody answers",))]
    return Figures(
        "2 processors",
        3,
        boots=[Boot({"up1": 3.0, "tmr1": 4.0}, 4.5), Boot({"up1": 3.2, "tmr1": 4.2}, 5.5)],
        first=[Playbook(80.0, 120)],
        unchanged=[Playbook(20.0, 0), Playbook(22.0, 0), Playbook(21.0, 1)],
        gaps=[
            *(gap(POWER, KEEPALIVED, "advert_int 1", ms) for ms in (3500.0, 3000.0, 3200.0)),
            *(gap(POWER, TMR, "lease 2 s", ms) for ms in (1600.0, 1700.0, 1500.0)),
            gap(POWER, TMR, "lease 1.5 s", 1200.0),
            gap(CABLE, KEEPALIVED, "advert_int 1", 3300.0),
            *(gap(AT_WORK, TMR, "lease 2 s", ms, one) for ms, one in zip((40.0, 50.0), works, strict=True)),
        ],
        holdings=[
            Holding(TMR, "lease 2 s", 0, "tmr1", Seen(5000, 10.0, 1, 0.0, ("tmr2",), 3.0), 350.0),
            Holding(
                KEEPALIVED, "advert_int 1", 0, "tmr1", Seen(4900, 10.0, 2, 6.4, ("tmr1", "tmr2"), 3.0), 5.0
            ),
        ],
        missing=[Missing("TMR, lease 1 s", "nobody active")],
    )


def line(text: str, start: str) -> str:
    return next(found for found in text.splitlines() if found.startswith(start))


def test_rows_are_in_the_order_of_events_and_ours_first() -> None:
    assert list(rows(figures().gaps)) == [
        (POWER, TMR, "lease 2 s"),
        (POWER, TMR, "lease 1.5 s"),
        (POWER, KEEPALIVED, "advert_int 1"),
        (CABLE, KEEPALIVED, "advert_int 1"),
        (AT_WORK, TMR, "lease 2 s"),
    ]


def test_ratios_are_to_our_median_of_the_same_event() -> None:
    found = rows(figures().gaps)
    assert reference(found, POWER) == 1600.0
    assert reference(found, CABLE) is None
    text = markdown(figures())
    assert line(text, "| power cut | keepalived").endswith("| 3200 (3000 … 3500) | 3 | 2.00 |")
    assert line(text, "| power cut | TMR, lease 1.5 s").endswith("| 1200 | 1 | 0.75 |")
    assert line(text, "| front cable pulled | keepalived").endswith("| 3300 | 1 | — |")


def test_boots_and_playbooks_beside_their_goals() -> None:
    text = markdown(figures())
    assert line(text, "| lab of six machines up").endswith("| 5.0 (4.5 … 5.5) | 8 |")
    assert line(text, "| `site.yml` on bare").endswith("| 80.0 | 90 |")
    assert line(text, "| `site.yml`, nothing").endswith("| 21.0 (20.0 … 22.0) | 40 |")
    assert "up1 3.1, tmr1 4.1. Changes of the playbook: first 120; then 0, 0, 1." in text


def test_requests_and_failures_are_counted_over_all_rounds() -> None:
    text = markdown(figures())
    assert "500 requests, 1 failed" in text
    assert "- checkout: nobody answers" in text


def test_who_had_the_address() -> None:
    text = markdown(figures())
    assert line(text, "| TMR, lease 2 s | 1 | 1 |").endswith("| 0.0 of 10.0 | 0 of 1 | 350 | 5000 | 3 |")
    assert line(text, "| keepalived, advert_int 1 | 1 | 2 |").endswith(
        "| 6.4 of 10.0 | 1 of 1 | 5 | 4900 | 3 |"
    )


def test_what_was_not_measured_is_said() -> None:
    assert "TMR, lease 1 s: nobody active" in markdown(figures())


def test_a_run_that_measured_nothing_has_a_report() -> None:
    text = markdown(Figures("2 processors", 1, missing=[Missing("all of it", "no lab")]))
    assert "| lab of six machines up | — | 8 |" in text
    assert "1 round," in text


def test_requests_that_were_under_way_count() -> None:
    asked = [
        Operation("bench", 1, "checkout", 1, "", sent=0.0, answered=0.004),
        Operation("bench", 2, "release", 1, "", sent=0.004, answered=0.06),
        Operation("bench", 3, "checkout", 1, "", sent=0.06, given_up=0.07, problem="no-quorum"),
    ]
    found = requests(asked, 0.01)
    assert (found.asked, found.failed, found.errors) == (2, 1, ("checkout: no-quorum",))
    assert (found.longest_ms, found.longest_from_ms) == pytest.approx((56.0, -6.0))
    assert requests([], 0.0) == Requests(0, 0, 0.0, 0.0, ())


def test_keepalived_s_configuration() -> None:
    assert "    version 2\n" in configuration(DEFAULT)
    assert "    advert_int 1\n" in configuration(DEFAULT)
    assert "    version 3\n" in configuration(QUICK)
    assert "    advert_int 0.1\n" in configuration(QUICK)
    assert (DEFAULT.name, QUICK.name) == ("advert_int 1", "advert_int 0.1")
