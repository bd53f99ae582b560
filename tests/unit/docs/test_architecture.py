# SPDX-License-Identifier: Apache-2.0
"""Architecture page against the code: the layers as import-linter has them, and the files that it names."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/explanation/architecture.md").read_text()
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_the_layers_are_those_that_are_checked() -> None:
    (contract,) = [one for one in CONTRACTS if one.get("containers") == ["tmr"]]
    drawn = re.search(r"## The layers.*?```\n(.*?)```", PAGE, re.DOTALL)
    assert drawn is not None
    rows = [re.split(r" {3,}", line)[0] for line in drawn[1].splitlines()]
    names = [[name.strip() for name in row.split("|")] for row in rows]
    assert names == [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def test_every_package_is_in_a_layer() -> None:
    (contract,) = [one for one in CONTRACTS if one.get("containers") == ["tmr"]]
    layers = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    assert layers == {path.parent.name for path in (ROOT / "agents/tmr").glob("*/__init__.py")}


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"`([a-z_]+(?:/[a-z_]+)+\.py)`", PAGE)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / "agents/tmr" / name).is_file()] == []
