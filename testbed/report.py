# SPDX-License-Identifier: Apache-2.0
"""Reports: results as JSON; one description of a report, and one template each for Markdown and HTML."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from testbed import plots

_WIDTH = 100


@dataclass(frozen=True)
class Table:
    """Cells as text. `numbers`: columns that are set flush right."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """An SVG document. `name`: of its file; without one it is in the page alone."""

    name: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Notes:
    """Notes for the reader: a sentence, and points."""

    intro: str
    points: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Notes:
        """From a Markdown list with a sentence before it."""
        intro, *points = (" ".join(part.split()) for part in text.split("\n- "))
        return cls(intro, tuple(points))


Part = str | Table | Picture | Notes


@dataclass(frozen=True)
class Section:
    """A title, and paragraphs, tables and pictures below it."""

    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Report:
    """Description of a report. `verdict`: in a phrase; `cards`: figures to see first, with what they are."""

    title: str
    summary: str
    parts: Sequence[Part] = ()
    sections: Sequence[Section] = ()
    verdict: str = ""
    good: bool = True
    violations: Sequence[str] = ()
    cards: Sequence[tuple[str, str]] = ()

    def pictures(self) -> Iterable[Picture]:
        """Those that are files."""
        parts = [*self.parts, *(part for section in self.sections for part in section.parts)]
        return (part for part in parts if isinstance(part, Picture) and part.name)


def write(directory: Path, name: str, report: Report, results: object = None) -> Path:
    """`NAME.md`, `NAME.html`, its pictures, and `NAME.json` of the results; the path of the first."""
    directory.mkdir(parents=True, exist_ok=True)
    if results is not None:
        (directory / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    for picture in report.pictures():
        (directory / picture.name).write_text(picture.svg, encoding="utf-8")
    (directory / f"{name}.md").write_text(markdown(report), encoding="utf-8")
    (directory / f"{name}.html").write_text(html(report), encoding="utf-8")
    return directory / f"{name}.md"


def markdown(report: Report) -> str:
    """For a terminal or a code host."""
    text = _environment(markup=False).get_template("report.md.j2").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def html(report: Report) -> str:
    """One page without anything from elsewhere."""
    return _environment(markup=True).get_template("report.html.j2").render(report=report, plots=plots)


def _environment(*, markup: bool) -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=markup,  # noqa: S701 - Markdown is no HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"cell": _cell, "wrap": _wrap, "code": _code, "inline": plots.inline}
    made.tests["text"] = lambda part: isinstance(part, str)
    for kind in (Table, Picture, Notes):
        made.tests[kind.__name__.lower()] = lambda part, kind=kind: isinstance(part, kind)
    return made


def _cell(text: str) -> str:
    """Cell of a table: what a machine said cannot become markup."""
    flat = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")
    return re.sub(r"<(?=[\w/!?])", "&lt;", flat)


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _code(text: str) -> Markup:
    """Text for HTML, what is between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped
