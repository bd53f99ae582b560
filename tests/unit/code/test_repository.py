# SPDX-License-Identifier: Apache-2.0
"""Files of the repository itself: licence lines, ignored files, settings of editors and hooks."""

import configparser
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[3]
FOLDERS: Final = (
    *("agents", "ansible", "bench", "chaos", "demo", "docs", "lab", "molecule", "roles", "testbed", "tests"),
    *(".ci", ".config"),
)
LINES: Final = {
    ".css": "/* {} */",
    ".html": "<!-- {} -->",
    ".js": "/* SPDX-License-Identifier: MIT",
    ".pml": "/* {} */",
    ".proto": "// {}",
    ".py": "# {}",
    ".sh": "# {}",
    ".yml": "# {}",
}
"""Licence line of each kind of source file. Templates, data and pages are under LICENSE as a whole."""
LICENCE: Final = "SPDX-License-Identifier: Apache-2.0"


def sources() -> Iterator[Path]:
    yield ROOT / "Makefile"
    yield ROOT / ".ci/run"
    yield ROOT / "mkdocs.yml"
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = {part for part in path.relative_to(ROOT / folder).parts if part.startswith(".")}
            if path.suffix in LINES and not hidden and "requests" not in path.parts:
                yield path


def lacks_its_line(path: Path) -> bool:
    """Tell whether a file with content has the line neither first, nor after `#!` or the document type."""
    head = path.read_text().splitlines()[:2]
    if not head:
        return False
    wanted = LINES.get(path.suffix, "# {}").format(LICENCE)
    return head[head[0].lower().startswith(("#!", "<!doctype")) :][:1] != [wanted]


def test_every_source_file_states_its_licence() -> None:
    paths = list(sources())
    assert len(paths) > 850
    lacking = [str(path.relative_to(ROOT)) for path in paths if lacks_its_line(path)]
    assert lacking == [], f"begin them with `# {LICENCE}`, as a comment of the language"


def test_the_licence_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert LICENCE.endswith(f": {project['license']}")
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


@pytest.mark.parametrize(
    ("path", "lacking"),
    [
        ("a.py", '"""A module."""\n'),
        ("a.py", f'"""A module."""\n# {LICENCE}\n'),
        ("a.yml", f"---\n# {LICENCE}\n"),
        ("a.sh", "#!/bin/sh\n"),
    ],
)
def test_a_file_without_its_line_is_found(path: str, lacking: str, tmp_path: Path) -> None:
    file = tmp_path / path
    file.write_text(lacking)
    assert lacks_its_line(file)
    shebang, rest = (f"{lacking}", "") if lacking.startswith("#!") else ("", lacking)
    file.write_text(f"{shebang}# {LICENCE}\n{rest}")
    assert not lacks_its_line(file)


def test_what_playbooks_write_into_the_checkout_is_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    playbook = (ROOT / "ansible/playbooks/licences/request.yml").read_text()
    assert "requests" in playbook
    assert "/ansible/requests/" in ignored
    assert "/inventory/*/.secrets/" in ignored


def test_an_editor_is_told_the_width_of_code_and_pages() -> None:
    text = (ROOT / ".editorconfig").read_text()
    settings = configparser.ConfigParser()
    settings.read_string("[top]\n" + text)
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]
    assert settings["*.py"]["max_line_length"] == str(ruff["line-length"])
    assert settings["*.md"]["max_line_length"] == "100"
    assert settings["Makefile"]["indent_style"] == "tab"


def test_the_hooks_before_a_commit_are_part_of_make_lint_and_load_nothing() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    makefile = (ROOT / "Makefile").read_text()
    lint = re.search(r"^lint:.*?\n\n", makefile, re.MULTILINE | re.DOTALL)
    assert lint is not None
    commands = [hook["entry"].removeprefix(".venv/bin/") for hook in config["repos"][0]["hooks"]]
    assert len(commands) >= 4
    assert [command for command in commands if f"$(BIN)/{command}\n" not in lint[0]] == []


def test_a_way_to_report_a_weakness_is_named() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    assert "docs/explanation/security.md" in text
    assert "SECURITY.md" in (ROOT / "README.md").read_text()
