# SPDX-License-Identifier: Apache-2.0
"""Docstrings begin with a noun or a verb (CONTRIBUTING)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
QUESTIONS: Final = frozenset(
    {"who", "whose", "what", "which", "whether", "how", "when", "where", "why", "whoever", "whom"}
)
PERSONS: Final = frozenset({"whoever", "whom", "whomever"})
"""Words that stood for machines, messages and tasks only: a name of the glossary is clearer."""
WHOLE: Final = ("agents", "lab", "testbed", "demo", "chaos", "bench")
"""Folders of which all docstrings are looked at, not those of modules alone."""
MODULES: Final = sorted(
    path
    for folder in (*WHOLE, "ansible", "molecule", "roles", "tests")
    for path in (ROOT / folder).rglob("*.py")
)


def first_word(docstring: str) -> str:
    """The first word in lower case; empty: there is none."""
    words = docstring.split()
    return words[0].lower().strip(",.:;") if words else ""


def of_module(source: str) -> str:
    return ast.get_docstring(ast.parse(source)) or ""


def docstrings(source: str) -> Iterator[str]:
    """Docstrings of the module, its classes, functions and attributes: all strings that stand alone."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.value.value, str):
            yield node.value.value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('"""What it does."""', ["what"]),
        ('"""The store."""\nx = 1\n"""Whether it is so."""', ["the", "whether"]),
        ("x = 1", []),
    ],
)
def test_the_first_word(source: str, words: list[str]) -> None:
    assert [first_word(docstring) for docstring in docstrings(source)] == words


def test_no_module_begins_with_a_question() -> None:
    assert len(MODULES) > 500
    found = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if first_word(of_module(path.read_text())) in QUESTIONS
    ]
    assert not found, "begin these docstrings with a noun or a verb"


def test_no_docstring_of_the_package_begins_with_a_question() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {docstring.splitlines()[0]}"
        for folder in WHOLE
        for path in (ROOT / folder).rglob("*.py")
        for docstring in docstrings(path.read_text())
        if first_word(docstring) in QUESTIONS
    ]
    assert not found, "begin these docstrings with a noun or a verb"


def test_no_docstring_of_the_package_speaks_of_whoever() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {docstring.splitlines()[0]}"
        for folder in WHOLE
        for path in (ROOT / folder).rglob("*.py")
        for docstring in docstrings(path.read_text())
        if PERSONS & set(re.findall(r"\w+", docstring.lower()))
    ]
    assert not found, "name the machine, the message or the role"
