"""Writes what a campaign showed: `report.md`, `report.html`, `timeline.svg`."""

from __future__ import annotations

import html
from pathlib import Path
from string import Template

from chaos import colours
from chaos.check import Verdict
from chaos.tables import Table, seconds, tables
from chaos.timeline import clock, draw, inline

TIMELINE = "timeline.svg"
_PAGE = Path(__file__).with_name("report.html")
_SLICE_S = 300.0
"""A longer campaign has a picture for each stretch of so many seconds, besides the one of the whole."""
_SHOWN = 12
"""Violations of one rule that are listed; a campaign that breaks a promise often breaks it in many places."""


def write(directory: Path, verdict: Verdict) -> None:
    """Write the report into the campaign's directory; what is there of an older one is replaced."""
    end = max(1.0, verdict.findings.history.end)
    whole = draw(verdict.findings, 0.0, end)
    (directory / TIMELINE).write_text(whole, encoding="utf-8")
    (directory / "report.md").write_text(markdown(verdict), encoding="utf-8")
    (directory / "report.html").write_text(page(verdict, whole), encoding="utf-8")


def headline(verdict: Verdict) -> str:
    """The verdict in a phrase."""
    count = len(verdict.violations)
    return "Every promise held" if not count else f"{count:,} violation{'s' if count > 1 else ''}"


def summary(verdict: Verdict) -> str:
    """What was played, in one sentence."""
    campaign, found = verdict.findings.history.campaign, verdict.findings
    return (
        f"{clock(campaign.seconds)} minutes with seed {campaign.seed}: {campaign.clients} clients sent "
        f"{len(found.history.operations):,} requests for {len(campaign.licences)} licences, "
        f"{len(found.effects)} faults struck."
    )


def cards(verdict: Verdict) -> list[tuple[str, str]]:
    """Figures to see first: value, what it is."""
    found = verdict.findings
    longest = max((one.seconds for one in found.outages), default=0.0)
    lost = sum(one.outcomes.get("unanswered", 0) for one in found.verbs)
    end = max(found.history.end, 1.0)
    return [
        (f"{sum(proof.facts for proof in verdict.proofs):,}", "facts checked"),
        (f"{len(found.effects)}", f"faults of {len(found.kinds)} kinds"),
        (f"{max(0, len(found.terms) - 1)}", "changes of term"),
        (f"{100 * (1 - found.silent / end):.1f} %", "of the time somebody was answered"),
        (seconds(longest), "longest silence"),
        (f"{lost}", "requests whose outcome their client never learnt"),
    ]


# -- Markdown ----------------------------------------------------------------------------------------------


def markdown(verdict: Verdict) -> str:
    """The report for a terminal or a code host."""
    parts = ["# Campaign on the lab", f"**{headline(verdict)}.** {summary(verdict)}"]
    if not verdict.holds:
        parts.append("## Violations\n\n" + "\n".join(f"- {_cell(text)}" for text in _listed(verdict)))
    parts.append("\n".join(f"- {value} {what}" for value, what in cards(verdict)))
    parts.append(f"![Faults, answers, seats and epochs over time]({TIMELINE})")
    parts += [_markdown_table(table) for table in tables(verdict)]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    rule = ["---:" if column in table.numbers else "---" for column in range(len(table.head))]
    rows = [table.head, tuple(rule), *table.rows]
    lines = ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return f"## {table.title}\n\n{table.note}\n\n" + "\n".join(lines)


def _cell(text: str) -> str:
    return (
        " ".join(text.split())
        .replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("*", "\\*")
    )


# -- HTML --------------------------------------------------------------------------------------------------


def page(verdict: Verdict, timeline: str) -> str:
    """The report as one page without anything from elsewhere."""
    found = verdict.findings
    end = found.history.end
    pictures = [_picture(inline(timeline, "t"), "The whole campaign")]
    if end > 1.2 * _SLICE_S:
        for number in range(int(end // _SLICE_S) + 1):
            begin, until = number * _SLICE_S, min(end, (number + 1) * _SLICE_S)
            if until - begin > 1:
                caption = f"From {clock(begin)} to {clock(until)}"
                pictures.append(_picture(inline(draw(found, begin, until), f"t{number}"), caption))
    violations = ""
    if not verdict.holds:
        items = "".join(f"<li>{html.escape(text)}</li>" for text in _listed(verdict))
        violations = f'<section class="violations"><h2>Violations</h2><ol>{items}</ol></section>'
    return Template(_PAGE.read_text(encoding="utf-8")).substitute(
        light=colours.styles(False),
        dark=colours.styles(True),
        state="good" if verdict.holds else "bad",
        mark="&#10003;" if verdict.holds else "&#10007;",
        headline=html.escape(headline(verdict)),
        summary=html.escape(summary(verdict)),
        cards="".join(
            f"<div><dd>{html.escape(value)}</dd><dt>{html.escape(what)}</dt></div>"
            for value, what in cards(verdict)
        ),
        violations=violations,
        pictures="".join(pictures),
        tables="".join(_html_table(table) for table in tables(verdict)),
    )


def _picture(svg: str, caption: str) -> str:
    return f'<figure><div class="wide">{svg}</div><figcaption>{html.escape(caption)}</figcaption></figure>'


def _html_table(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        made = []
        for column, cell in enumerate(cells):
            kind = ["n"] if column in table.numbers else []
            kind += ["held"] if cell == "held" else ["broken"] if cell.startswith("BROKEN") else []
            style = f' class="{" ".join(kind)}"' if kind else ""
            made.append(f"<{tag}{style}>{html.escape(cell)}</{tag}>")
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(row(one, "td") for one in table.rows)
    return (
        f"<section><h2>{html.escape(table.title)}</h2><p>{html.escape(table.note)}</p>"
        f'<div class="wide"><table><thead>{row(table.head, "th")}</thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _listed(verdict: Verdict) -> list[str]:
    found = []
    for proof in verdict.proofs:
        found += proof.broken[:_SHOWN]
        if (more := len(proof.broken) - _SHOWN) > 0:
            found.append(f"{proof.rule}: and {more:,} more, which `python -m chaos check` names")
    return found
