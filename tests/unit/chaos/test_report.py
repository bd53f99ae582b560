# SPDX-License-Identifier: Apache-2.0
"""A report names every fault, rule and violation, is whole in itself, and can be drawn of any campaign."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from chaos import report
from chaos.check import check, judge
from chaos.history import History
from chaos.rules import damage
from chaos.timeline import KINDS as ABOUT
from chaos.timeline import draw
from testbed.figures import percentile
from testbed.report import html, markdown
from tests.unit.chaos.histories import METER, SERVERS, Plant, write

KINDS = [kind for kinds in ABOUT.values() for kind in kinds]
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that every element is closed; keeps the text and what is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href", "src"):
                self.references.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def campaign() -> History:
    """Every kind of fault once."""
    plant = Plant()
    grant = plant.checkout("anna", METER)
    for kind in KINDS:
        machines = (
            SERVERS if kind == "restart-all" else ("tmr1", "tmr2") if kind == "twins-lost" else ("up1",)
        )
        told = [f"{machine}: an alarm" for machine in damage.TOLD.get(kind, ())]
        plant.strike(kind, *machines, silent=1.0, told=told)
        plant.heartbeat(grant)
        plant.consume(grant, 2)
    return plant.close()


def parsed(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def rows(text: str) -> dict[str, list[list[str]]]:
    """The tables of a Markdown document, by the heading above."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        if line.startswith("|"):
            assert line.endswith(" |")
            found.setdefault(heading, []).append(re.split(r"(?<!\\)\|", line)[1:-1])
    return found


def test_the_page_is_whole_in_itself(tmp_path: Path) -> None:
    write(campaign(), tmp_path)
    report.write(tmp_path, check(tmp_path))
    text = (tmp_path / "report.html").read_text()
    page = parsed(text)
    assert all(one.startswith("#") for one in page.references)
    assert {one[1:] for one in page.references} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert {one[1:] for one in re.findall(r"url\((.*?)\)", text)} <= set(page.ids)
    assert "@import" not in text
    assert "<script" not in text


def test_both_documents_name_every_fault_and_rule(tmp_path: Path) -> None:
    write(campaign(), tmp_path)
    verdict = check(tmp_path)
    report.write(tmp_path, verdict)
    shown = " ".join(parsed((tmp_path / "report.html").read_text()).text)
    plain = (tmp_path / "report.md").read_text()
    for word in (*KINDS, *(proof.rule for proof in verdict.proofs), "Every promise held"):
        assert word in shown
        assert word in plain
    table = rows(plain)["Faults, and what they caused"]
    assert [row[2].strip() for row in table[2:]] == list(KINDS)


def test_the_tables_in_markdown_are_well_formed() -> None:
    history = campaign()
    history.faults[0].detail = "a | b\nc"
    for heading, table in rows(markdown(report.describe(judge(history)))).items():
        assert len({len(row) for row in table}) == 1, heading
        assert all(re.fullmatch(r" ---:? ", cell) for cell in table[1])


def test_violations_come_first() -> None:
    history = campaign()
    history.campaign.sessions_after = 2
    verdict = judge(history)
    plain = markdown(report.describe(verdict))
    assert plain.index("2 sessions, borrowings") < plain.index("## What was proven")
    assert "Every promise held" not in plain
    assert "BROKEN: 1" in plain
    page = " ".join(parsed(html(report.describe(verdict))).text)
    assert page.index("2 sessions, borrowings") < page.index("What was proven")


def test_of_many_violations_each_rule_shows_some() -> None:
    history = campaign()
    history.campaign.records_agree = False
    for operation in history.operations:
        operation.session = "s-nobody"
    plain = markdown(report.describe(judge(history)))
    assert "- units: and " in plain
    assert "- end: " in plain


def test_what_a_machine_said_cannot_become_markup() -> None:
    history = campaign()
    history.faults[0].detail = "<script>alert(1)</script>"
    verdict = judge(history)
    assert "<script" not in html(report.describe(verdict))
    assert "<script" not in markdown(report.describe(verdict))


def test_the_picture_shows_one_axis_for_all() -> None:
    verdict = judge(campaign())
    text = draw(verdict.findings, 0, 60)
    picture = ET.fromstring(text)  # noqa: S314 - our own
    words = {"".join(one.itertext()).strip() for one in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"faults", "answers/s", "slowest", "seats", "epoch", "tmr1", "up3", "power", "1", "0:00"} <= words
    assert draw(verdict.findings, 0, 60) == text


def test_a_long_campaign_has_a_picture_for_each_stretch() -> None:
    history = campaign()
    for operation in history.operations[-3:]:
        operation.sent += 700
        operation.answered = operation.sent
    history.campaign.finished = 720
    verdict = judge(history)
    page = html(report.describe(verdict))
    assert "From 5:00 to 10:00" in page
    assert len(re.findall("<figure>", page)) == 4
    assert len(parsed(page).ids) == len(set(parsed(page).ids))


def test_a_campaign_in_which_nothing_happened_has_a_report() -> None:
    verdict = judge(Plant().close())
    assert verdict.holds
    assert rows(markdown(report.describe(verdict)))["Faults, and what they caused"][2:] == []
    parsed(html(report.describe(verdict)))


@pytest.mark.parametrize(
    ("rising", "percent", "is_"),
    [
        ([], 50, 0),
        ([7.0], 99.9, 7),
        ([1.0, 2, 3, 4], 50, 2),
        ([1.0, 2, 3, 4], 90, 4),
        ([1.0, 2, 3, 4], 25, 1),
    ],
)
def test_percentiles_are_of_nearest_rank(rising: list[float], percent: float, is_: float) -> None:
    assert percentile(rising, percent) == is_


def test_unknown_kinds_are_drawn() -> None:
    history = campaign()
    history.faults[0].kind, history.faults[0].ended = "meteorite", None
    verdict = judge(history)
    assert "meteorite" in markdown(report.describe(verdict))
    assert "other" in draw(verdict.findings, 0, 60)
