# SPDX-License-Identifier: Apache-2.0
"""The page on the exhaustive model names what is in the models and in the code."""

import importlib
import re
from pathlib import Path

import pytest

from tests.model.search import Search
from tests.model.searches import CLAIMS, DEEP

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/explanation/model.md").read_text()
SOURCES = {path.stem: path.read_text() for path in (ROOT / "tests/model").glob("*.pml")}


def table(header: str) -> list[list[str]]:
    """The cells of the page's table whose header line begins so."""
    _, found, below = PAGE.partition(f"\n{header}")
    assert found, header
    rows = below.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


MAP = table("| in the model | in the code |")


@pytest.mark.parametrize("name", [name for row in MAP for name in names(row[0])])
def test_a_part_of_the_model_exists(name: str) -> None:
    defined = re.compile(rf"^(?:inline|proctype|#define) {re.escape(name)}\b", re.MULTILINE)
    assert any(defined.search(source) for source in SOURCES.values())


@pytest.mark.parametrize("name", [name for row in MAP for name in names(row[1])])
def test_its_counterpart_in_the_code_exists(name: str) -> None:
    module, *path = name.split(".")
    thing: object = importlib.import_module(f"tmr.quorum.{module}")
    for part in path:
        thing = vars(thing)[part]


def test_every_part_of_the_models_that_decides_is_mapped() -> None:
    # These only tell time, or keep the books of the model itself.
    own = {"length_of_log", "no_answers", "alone", "answered", "tick"}
    inlines = {
        name for source in SOURCES.values() for name in re.findall(r"^inline (\w+)", source, re.MULTILINE)
    }
    assert inlines - own - {name for row in MAP for name in names(row[0])} == set()


@pytest.mark.parametrize("row", table("| assertion | promise |"), ids=lambda row: row[0])
def test_an_assertion_is_where_the_page_says(row: list[str]) -> None:
    for name in names(row[0]):
        assert any(
            re.search(rf"^inline {name}\b[^\n]*\n(?:(?!^}}).*\n)*?.*assert\(", source, re.MULTILINE)
            for source in SOURCES.values()
        )


def test_every_rule_that_can_be_taken_away_is_explained() -> None:
    told = {(row[0], rule) for row in table("| model | `WITHOUT_…` |") for rule in names(row[1])}
    assert told == {
        (model, rule)
        for model, source in SOURCES.items()
        for rule in re.findall(r"\bWITHOUT_([A-Z_]+)\b", source)
    }


@pytest.mark.parametrize("search", [*CLAIMS, *DEEP], ids=str)
def test_every_search_has_figures(search: Search) -> None:
    assert f"\n| `{search}` | " in PAGE
