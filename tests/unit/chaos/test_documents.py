# SPDX-License-Identifier: Apache-2.0
"""The two pages about campaigns name the files and the faults that the code has."""

import re
from pathlib import Path
from typing import Final

import pytest

from chaos.plan import KINDS
from chaos.records import CAMPAIGN
from chaos.report import TIMELINE
from chaos.rules.excuses import HARMLESS

DOCS: Final = Path(__file__).parents[3] / "docs"
HOW_TO: Final = (DOCS / "how-to/run-a-campaign.md").read_text()
RECORDS: Final = (DOCS / "reference/campaign-records.md").read_text()
FILES: Final = {CAMPAIGN, TIMELINE, "report.md", "report.html"} | set(
    re.findall(r'"(\w+\.jsonl)"', (Path(__file__).parents[3] / "chaos/records.py").read_text())
)


@pytest.mark.parametrize("page", [HOW_TO, RECORDS])
def test_both_pages_list_all_files(page: str) -> None:
    rows = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", page, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+\.\w+)`", row)}
    assert named == FILES


def test_the_faults_are_those_of_the_plan() -> None:
    table = HOW_TO.partition("## What it does to the machines")[2].partition("\n\n## ")[0]
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \|", table, re.MULTILINE)
    assert {kind for row in rows for kind in re.findall(r"`([\w-]+)`", row)} == KINDS


def test_faults_without_an_excuse_are_listed() -> None:
    paragraph = RECORDS.partition("Some faults excuse nothing")[2].partition(". If")[0]
    own_excuse = {"switchover", "vip-stolen"}
    assert set(re.findall(r"`([\w-]+)`", paragraph)) == HARMLESS - own_excuse
