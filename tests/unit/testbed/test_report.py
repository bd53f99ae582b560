# SPDX-License-Identifier: Apache-2.0
"""One description of a report gives Markdown and a page that say the same."""

from __future__ import annotations

from pathlib import Path

import msgspec

from testbed import plots
from testbed.report import Notes, Picture, Report, Section, Table, html, markdown, write

PICTURE = Picture(
    "one.svg", "One", plots.chart((3, 1), lambda axes: plots.bars(axes, [("a", [1.0, 2.0], True)]))
)
REPORT = Report(
    "A run",
    "Of `site.yml` & others.",
    cards=[("7", "facts")],
    sections=[
        Section(
            "Rows", ["Below.", Table(("what", "ms"), [("a <b> | *c*", "1"), ("< 25 %", "2")], frozenset({1}))]
        ),
        Section("More", [PICTURE, Notes.of("Keep in mind:\n- first,\n  and on\n- second\n")]),
    ],
)


def test_markdown() -> None:
    lines = markdown(REPORT).splitlines()
    assert lines[:3] == ["# A run", "", "Of `site.yml` & others."]
    for line in (
        "- 7 facts",
        "## Rows",
        "| what | ms |",
        "| --- | ---: |",
        "| a &lt;b> \\| \\*c\\* | 1 |",
        "| < 25 % | 2 |",
        "![One](one.svg)",
        "Keep in mind:",
        "- first, and on",
        "- second",
    ):
        assert line in lines


def test_html_escapes_what_it_is_told() -> None:
    page = html(REPORT)
    assert "<code>site.yml</code> &amp; others." in page
    assert "a &lt;b&gt; | *c*" in page
    assert '<td class="n">1</td>' in page
    assert "<li>first, and on</li>" in page
    assert "var(--seats)" in page


def test_everything_is_written(tmp_path: Path) -> None:
    assert write(tmp_path / "new", "run", REPORT, {"a": 1}) == tmp_path / "new" / "run.md"
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "run.md",
        "run.html",
        "run.json",
        "one.svg",
    }
    assert msgspec.json.decode((tmp_path / "new" / "run.json").read_bytes()) == {"a": 1}
