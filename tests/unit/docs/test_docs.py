# SPDX-License-Identifier: Apache-2.0
"""The documents keep up with what is there: make targets, pages, roles, decisions, links."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
FRONT = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
DESCRIBED = set(re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
DECISIONS = sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))


def leaves(nav: Any) -> Iterator[str]:
    """Every page named in a nav of mkdocs."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict):
        for child in nav.values():
            yield from leaves(child)
    else:
        for child in nav:
            yield from leaves(child)


def named_targets(text: str) -> set[str]:
    """Targets that a document tells people to make."""
    code = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^(?:[$#] )?(make .*)$", text, re.MULTILINE)
    return {target for line in code for target in re.findall(r"\bmake ([a-z][a-z-]*)", line)}


@pytest.mark.parametrize("name", [*FRONT, *(f"docs/{page}" for page in PAGES)])
def test_every_make_target_named_exists(name: str) -> None:
    assert named_targets((ROOT / name).read_text()) - TARGETS == set()


def test_the_readme_names_the_two_commands() -> None:
    assert {"demo", "test"} <= named_targets((ROOT / "README.md").read_text())


def test_every_part_of_the_test_is_explained() -> None:
    parts = re.findall(r"^(?:BESIDE|PARTS) := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(parts) == 2
    assert set(" ".join(parts).split()) - named_targets((ROOT / "CONTRIBUTING.md").read_text()) == set()


def test_every_target_says_what_it_is_for() -> None:
    assert named_targets((ROOT / "CONTRIBUTING.md").read_text()) - DESCRIBED == set()


def test_every_page_is_in_the_nav_once() -> None:
    nav = list(leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(nav) == PAGES


def test_every_role_is_explained() -> None:
    page = (DOCS / "reference/roles.md").read_text()
    roles = [path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir()]
    assert [role for role in roles if not (ROOT / "roles" / role / "README.md").is_file()] == []
    assert [role for role in roles if f"## {role}" not in page] == []


@pytest.mark.parametrize("name", DECISIONS)
def test_every_decision_is_in_the_index_and_has_a_status(name: str) -> None:
    text = (DOCS / "decisions" / name).read_text()
    assert f"]({name})" in (DOCS / "decisions/index.md").read_text()
    assert text.startswith(f"# {int(name[:4])}. ")
    assert re.search(r"^Status: (accepted|replaced by .+)$", text, re.MULTILINE)


@pytest.mark.parametrize("name", FRONT)
def test_links_of_the_front_pages_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_a_change_log_for_the_version() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_test_that_security_names_exists() -> None:
    """`FILE::test_name`, or `test_name` of any file."""
    page = (DOCS / "explanation/security.md").read_text()
    named = re.findall(
        r"`(?:([a-z_/]+\.py)::)?(test_[a-z0-9_]+)`", page.split("## What is tried against it")[1]
    )
    assert len(named) > 20
    files = [path for part in ("tests", "molecule") for path in (ROOT / part).rglob("test_*.py")]
    defined = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in files
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    anywhere = {name for _, name in defined}
    assert [one for one in named if one not in defined and not (one[0] == "" and one[1] in anywhere)] == []


def too_long(text: str) -> list[str]:
    """Lines of prose over 100 characters that could be wrapped: not those of tables, code, links and HTML."""
    found, code = [], False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            code = not code
        elif not code and len(line) > 100 and " " in line[:100].strip().removeprefix("- "):
            found += [] if line.lstrip().startswith(("|", "#", "<", "!!!", "???", "[")) else [line]
    return found


@pytest.mark.parametrize("name", [*FRONT, *(f"docs/{page}" for page in PAGES)])
def test_prose_wraps_at_100_characters(name: str) -> None:
    assert too_long((ROOT / name).read_text()) == []


def test_only_prose_is_to_wrap() -> None:
    long = "word " * 30
    assert too_long(long) == [long]
    assert too_long(f"```\n{long}\n```\n| {long} |\n# {long}\n{'x' * 120}") == []
