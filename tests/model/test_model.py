# SPDX-License-Identifier: Apache-2.0
"""The protocol's models, searched exhaustively: no error as it is, and one for each rule taken away."""

import re
from pathlib import Path

import pytest

from tests.model.search import HERE, MEMORY_MIB, Search, explore
from tests.model.searches import CLAIMS, MUTATIONS


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("search", CLAIMS, ids=str)
def test_no_reachable_state_breaks_a_promise(search: Search, tmp_path: Path) -> None:
    found = explore(search, tmp_path)
    assert found.errors == 0, found.story
    assert found.complete, found.story
    assert found.memory_mib < MEMORY_MIB
    page = (HERE.parents[1] / "docs/explanation/model.md").read_text()
    figures = f"| {found.states:,} | {found.depth:,} |"
    rows = [row for row in page.splitlines() if row.startswith(f"| `{search}` |")]
    assert rows and all(figures in row for row in rows), (
        f"docs/explanation/model.md: `{search}` has {figures}"
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("search", MUTATIONS, ids=str)
def test_a_rule_taken_away_is_missed(search: Search, tmp_path: Path) -> None:
    found = explore(search, tmp_path, optimise=0)  # most end at once: compiling is what takes time
    assert found.errors == 1
    assert "assertion violated" in found.story
    assert not found.complete
    print(found.story)


def test_every_rule_that_a_model_can_lose_is_taken_away() -> None:
    for model in ("journal", "lease"):
        rules = set(re.findall(r"\bWITHOUT_([A-Z_]+)\b", (HERE / f"{model}.pml").read_text()))
        assert rules == {search.without for search in MUTATIONS if search.model == model}
