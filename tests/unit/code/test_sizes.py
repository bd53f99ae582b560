# SPDX-License-Identifier: Apache-2.0
"""Sizes of modules and functions (CONTRIBUTING): what is longer does more than one thing."""

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
MODULE_MAX: Final = 400
FUNCTION_MAX: Final = 70
FOLDERS: Final = ("agents", "bench", "chaos", "demo", "lab", "testbed")
SOURCES: Final = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_sources() -> None:
    assert len(SOURCES) > 250


def test_no_module_is_too_long() -> None:
    lengths = {place(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > MODULE_MAX} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_too_long(folder: str) -> None:
    found = {
        f"{place(path)}:{node.lineno} {node.name}": length
        for path in SOURCES
        if path.is_relative_to(ROOT / folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_MAX
    }
    assert found == {}
