"""Docstrings of modules begin with a noun or a verb (CONTRIBUTING)."""

import ast
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
QUESTIONS: Final = frozenset(
    {"who", "whose", "what", "which", "whether", "how", "when", "where", "why", "whoever"}
)
MODULES: Final = sorted(
    path
    for folder in ("agents", "ansible", "bench", "lab", "molecule", "roles", "tests")
    for path in (ROOT / folder).rglob("*.py")
)


def first_word(source: str) -> str:
    """The first word of the module's docstring in lower case; empty: no docstring."""
    words = (ast.get_docstring(ast.parse(source)) or "").split()
    return words[0].lower().strip(",.:;") if words else ""


@pytest.mark.parametrize(
    ("source", "word"), [('"""What it does."""', "what"), ('"""The store."""', "the"), ("x = 1", "")]
)
def test_the_first_word(source: str, word: str) -> None:
    assert first_word(source) == word


def test_no_module_begins_with_a_question() -> None:
    assert len(MODULES) > 500
    found = [str(path.relative_to(ROOT)) for path in MODULES if first_word(path.read_text()) in QUESTIONS]
    assert not found, "begin these docstrings with a noun or a verb"
