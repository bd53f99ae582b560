# SPDX-License-Identifier: Apache-2.0
"""The built documentation: read from a disk, without anything from elsewhere; searched, copied from, seen."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
DIAGRAMS: Final = sorted((ROOT / "docs/diagrams").glob("*.svg"))
CSS: Final = (ROOT / "docs/stylesheets/extra.css").read_text()
SVG: Final = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Things that a page loads, and its code blocks with prompts as the copy button takes them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.copied: list[str] = []
        self._hidden: list[bool] = []
        self._last = ""
        self._in_block = False
        self._prompts = False
        self._text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.loads += [source] if (source := found.get("src")) else []
        elif tag == "link" and found.get("rel") in ("stylesheet", "icon"):
            self.loads += [found["href"] or ""]
        elif tag == "code" and getattr(self, "_last", "") == "pre":
            self._in_block, self._prompts, self._text, self._hidden = True, False, "", []
        elif tag == "span" and self._in_block:
            kinds = (found.get("class") or "").split()
            self._prompts |= "gp" in kinds
            self._hidden.append(bool({"gp", "go"} & set(kinds)))
        if tag != "span":
            self._last = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "span" and self._in_block:
            self._hidden.pop()
        elif tag == "code" and self._in_block:
            self._in_block = False
            self.copied += [self._text] if self._prompts else []

    def handle_data(self, data: str) -> None:
        if self._in_block and not any(self._hidden):
            self._text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return place


def test_pages_load_nothing_from_elsewhere_and_all_that_they_load_is_there(site: Path) -> None:
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]
    assert len(pages) > 40
    for path in pages:
        loads = Page(path).loads
        assert loads
        assert [one for one in loads if re.match(r"(https?:)?//", one)] == [], path
        missing = [one for one in loads if not one.startswith("data:") and not (path.parent / one).is_file()]
        assert missing == [], path


def test_the_search_works_without_a_server(site: Path) -> None:
    assert (site / "search/search_index.js").read_text().startswith("var __index = {")
    loads = Page(site / "index.html").loads
    assert "javascripts/iframe-worker.js" in loads
    assert loads.index("javascripts/iframe-worker.js") < min(
        place for place, one in enumerate(loads) if "/bundle." in one
    )


def test_the_copy_button_takes_commands_without_prompt_and_output(site: Path) -> None:
    assert re.search(r"\[data-md-copying\] \.gp,\s*\[data-md-copying\] \.go \{\s*display: none;", CSS)
    copied = Page(site / "how-to/deploy.html").copied
    assert "make setup" in [block.strip() for block in copied]
    for path in site.rglob("*.html"):
        for block in Page(path).copied:
            assert block.strip(), path
            assert not re.search(r"^[$] ", block, re.MULTILINE), (path, block)
    shown = "".join(Page(site / "tutorial/first-licence.html").copied)
    assert "tmr vendor init --firm 6000010" in shown
    assert "key fingerprint" not in shown, "output is no command"


@pytest.mark.parametrize("path", DIAGRAMS, ids=lambda path: path.name)
def test_a_diagram_is_shown_by_day_and_by_night_and_described(path: Path) -> None:
    root = ET.parse(path).getroot()  # noqa: S314
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None
    style = root.findtext(f"{SVG}style") or ""
    day, _, night = style.partition("@media (prefers-color-scheme: dark)")
    for rule in ("text {", "rect {", "line, path {", ".on {", ".h {"):
        assert rule in day
        assert rule in night
    assert [key for one in root.iter() for key in one.attrib if key in ("fill", "stroke", "style")] == []
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(f"diagrams/{path.name})" in page.read_text() for page in pages)
