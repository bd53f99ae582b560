# SPDX-License-Identifier: Apache-2.0
"""The wheel as an application developer gets it: installed with its base dependencies alone."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from packaging.requirements import Requirement

from tmr.cli.main import COMMANDS
from tmr.daemons.start import SERVER, VIP

ROOT: Final = Path(__file__).parents[2]
UV: Final = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
PAGE: Final = (ROOT / "docs/how-to/use-from-an-application.md").read_text()
SERVERS: Final = {"tmr-server": "twin_server", "tmr-upstream": "upstream", "tmr-vip": "vip"}
IMPORTED: Final = """
import sys
import tmr.client
print(*sorted({".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("tmr.")}))
"""


class Installed(NamedTuple):
    """A fresh environment with the wheel in it."""

    place: Path
    wanted: frozenset[str]
    """Packages that the lock file names for the base dependencies, without the project itself."""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, away from the checkout."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.place), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [str(self.place / "bin" / words[0]), *words[1:]],
            cwd=self.place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


def uv(*words: str | Path) -> str:
    done = subprocess.run([UV, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(*extras: str) -> str:
    return uv("export", "--quiet", "--frozen", "--no-default-groups", "--no-emit-project", *extras)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    base = tmp_path_factory.mktemp("wheel")
    uv("build", "--quiet", "--wheel", "--out-dir", base, ROOT)
    (wheel,) = base.glob("*.whl")
    needed = base / "needed.txt"
    needed.write_text(exported())
    place = base / "venv"
    uv("venv", "--quiet", "--python", sys.executable, place)
    install = ("pip", "install", "--quiet", "--python", place / "bin/python")
    uv(*install, "--require-hashes", "-r", needed)
    uv(*install, "--no-deps", wheel)
    return Installed(place, names(needed.read_text()))


def names(requirements: str) -> frozenset[str]:
    """Names in uv's export that hold for this Python and this machine."""
    lines = (line.split(" --hash")[0] for line in requirements.replace("\\\n", "").splitlines())
    found = [Requirement(line) for line in lines if not line.lstrip().startswith("#")]
    return frozenset(one.name for one in found if one.marker is None or one.marker.evaluate())


def packages(installed: Installed) -> set[str]:
    shown = uv("pip", "freeze", "--quiet", "--python", installed.place / "bin/python")
    return {re.split(r"==| @ ", line)[0] for line in shown.splitlines()}


def test_the_client_needs_few_packages_and_says_how_many(installed: Installed) -> None:
    assert packages(installed) - {"tmr"} == installed.wanted
    assert f"{len(installed.wanted)} other packages" in PAGE
    size = sum(path.stat().st_size for path in installed.place.rglob("*") if path.is_file())
    (stated,) = re.findall(r"other packages, less than (\d+)\sMB", PAGE)
    assert size < int(stated) * 1_000_000, f"{size} bytes"


def test_nothing_of_the_servers_is_installed(installed: Installed) -> None:
    extra = names(exported("--extra", "server")) - installed.wanted
    assert {"aiohttp", "fastapi", "uvicorn"} <= extra
    assert packages(installed) & extra == set()


def test_an_application_imports_nothing_of_the_servers(installed: Installed) -> None:
    done = installed.run("python", "-c", IMPORTED)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) <= {"tmr.api", "tmr.client", "tmr.licensing"}
    assert "tmr.client" in done.stdout


def test_each_command_works(installed: Installed) -> None:
    shown = installed.run("tmr", "--version")
    assert (shown.returncode, shown.stdout.split()[0], shown.stderr) == (0, "tmr,", "")
    for command in COMMANDS:
        done = installed.run("tmr", command, "--help")
        assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.parametrize("command", SERVERS)
def test_a_daemon_says_which_extra_it_needs(installed: Installed, command: str) -> None:
    done = installed.run(command, "--config", "/nonexistent")
    assert done.returncode == 2, done.stderr
    assert "pip install 'tmr[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_modules_that_are_told_apart_are_those_of_the_extra() -> None:
    assert [name for name in SERVER + VIP if find_spec(name) is None] == []


@pytest.mark.parametrize("words", [("--help",), ("--config", "/nonexistent")])
@pytest.mark.parametrize("command", SERVERS)
def test_with_the_extra_a_daemon_starts(command: str, words: Sequence[str]) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / command), *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "extra" not in done.stderr
    assert done.returncode == (0 if words == ("--help",) else 2)
