# SPDX-License-Identifier: Apache-2.0
"""Glossary against the code: packages and public classes are named with its words only."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "agents/tmr"
PAGE = (ROOT / "docs/reference/glossary.md").read_text()
TERMS, PACKAGES, WORDS = re.split(r"^## .*$", PAGE, flags=re.MULTILINE)[1:]
PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z]+")


def first_column(table: str) -> str:
    return "\n".join(re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:])


def words(text: str) -> set[str]:
    """Words of a text; of names in code style as well."""
    return {part.lower() for part in PARTS.findall(text)}


def public_classes() -> dict[str, str]:
    """Name of each public class, and the file that defines it."""
    return {
        node.name: str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


PLAIN = set(WORDS.split("\n\n")[-1].replace(",", " ").strip(" .\n").split())
FIELD = words(first_column(TERMS)) | words(first_column(PACKAGES))


def test_classes_are_named_with_the_words_of_the_glossary() -> None:
    unknown = {
        f"{place}: {name}": sorted(words(name) - FIELD - PLAIN)
        for name, place in public_classes().items()
        if words(name) - FIELD - PLAIN
    }
    assert unknown == {}, "take a term of docs/reference/glossary.md, or add the word there"


def test_every_package_is_explained_and_none_that_is_not_there() -> None:
    there = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(first_column(PACKAGES).replace("`", "").split()) == there


def test_the_list_has_no_word_that_no_name_uses() -> None:
    used = set().union(*(words(name) for name in public_classes()))
    assert not PLAIN - used
    assert not PLAIN & FIELD


def test_the_list_is_sorted() -> None:
    listed = WORDS.split("\n\n")[-1].replace(",", " ").strip(" .\n").split()
    assert listed == sorted(set(listed))
