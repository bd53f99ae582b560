# SPDX-License-Identifier: Apache-2.0
"""`make venv` uses the system's Python, and names the remedy where it is too old or missing."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
UV: Final = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that `make venv` reads, and a PATH without any Python."""
    place = tmp_path / "checkout"
    (place / ".tools/bin").mkdir(parents=True)
    (place / ".tools/bin/uv").symlink_to(Path(UV).resolve())
    for name in ("Makefile", "pyproject.toml", "uv.lock", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("make", "bash", "nproc", "sleep", "echo"):
        (programs / name).symlink_to(str(shutil.which(name)))
    return place


def make_venv(checkout: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": str(checkout.parent / "bin"),
        "HOME": str(checkout.parent),
        "UV_CACHE_DIR": str(checkout.parent / "cache"),
    }
    return subprocess.run(
        ["make", "--no-print-directory", "venv"],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        executable=shutil.which("make"),
    )


def test_without_a_new_enough_python_the_remedy_is_named_and_nothing_is_fetched(checkout: Path) -> None:
    done = make_venv(checkout)
    assert done.returncode == 2
    assert "Python 3.11 or newer" in done.stderr
    assert "apt install python3" in done.stderr
    assert not (checkout / ".venv").exists()
    assert sorted(path.name for path in checkout.parent.iterdir() if path.name.startswith(".")) == []


def test_no_interpreter_is_wanted_but_that_of_the_machine() -> None:
    assert not (ROOT / ".python-version").exists()
    assert PROJECT["tool"]["uv"]["python-downloads"] == "never"


def test_one_oldest_python_is_meant_everywhere() -> None:
    (oldest,) = re.findall(r"^>=(3\.\d+)$", PROJECT["project"]["requires-python"])
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert f"Python {oldest} or newer" in (ROOT / "CONTRIBUTING.md").read_text()
    assert f"Python {oldest} or newer" in (ROOT / "Makefile").read_text()
    lines = [line for group in PROJECT["dependency-groups"].values() for line in group]
    assert [line for line in lines if "python_version" in line] == [], "the same tools on every Python"
