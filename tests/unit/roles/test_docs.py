# SPDX-License-Identifier: Apache-2.0
"""Every role explains itself: each variable is specified, has a default or is required, and is documented."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from .plugin import ROLES, ROOT

PAGE = (ROOT / "docs/reference/roles.md").read_text()
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def options(role: str) -> dict[str, Any]:
    """Variables of all entries of a role."""
    entries = read(ROLES / role / "meta/argument_specs.yml")["argument_specs"].values()
    return {name: option for entry in entries for name, option in entry["options"].items()}


@pytest.mark.parametrize("role", NAMES)
def test_defaults_and_specification_agree(role: str) -> None:
    wanted = options(role)
    own = {name for name in wanted if name.startswith(f"{role}_") and not wanted[name].get("required")}
    defaults = set(read(ROLES / role / "defaults/main.yml"))
    assert own == defaults if role != "tmr_inventory" else not defaults


@pytest.mark.parametrize("role", NAMES)
def test_every_variable_is_documented(role: str) -> None:
    assert [name for name in options(role) if f"`{name}`" not in PAGE] == []
    assert f"## {role}" in PAGE


def test_every_entry_of_the_operators_role_is_specified_and_documented() -> None:
    entries = set(read(ROLES / "tmr_operate/meta/argument_specs.yml")["argument_specs"])
    assert entries == {path.stem for path in (ROLES / "tmr_operate/tasks").glob("*.yml")}
    assert [entry for entry in entries if f"`{entry}`" not in PAGE] == []


@pytest.mark.parametrize("role", NAMES)
def test_a_role_has_its_parts(role: str) -> None:
    for part in ("tasks/main.yml", "meta/main.yml", "meta/argument_specs.yml", "README.md"):
        assert (ROLES / role / part).is_file(), part


def test_every_playbook_is_documented() -> None:
    folder = ROOT / "ansible/playbooks"
    playbooks = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.yml"))
    assert [name for name in playbooks if f"| `{name}` |" not in PAGE] == []
    assert len(playbooks) == PAGE.count(".yml` | ")


@pytest.mark.parametrize("unit", sorted(ROLES.glob("*/templates/*.service.j2")), ids=lambda path: path.name)
def test_every_unit_names_a_page_that_the_release_brings(unit: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    named = re.findall(r"^Documentation=file:/opt/tmr/current/(\S+)$", unit.read_text(), re.MULTILINE)
    assert named
    assert set(named) <= set(pages.values())
    assert [page for page in pages if not (ROOT / page).is_file()] == []
