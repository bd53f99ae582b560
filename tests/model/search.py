# SPDX-License-Identifier: Apache-2.0
"""One exhaustive search: a model and its bounds, through spin, gcc and the verifier they make."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from pathlib import Path

import msgspec

from lab.host import install, require_root

HERE = Path(__file__).parent
MEMORY_MIB = 4_000
"""What one search may use; the verifier gives up beyond."""
_DEPTH = 1_000_000
_PACKAGES = {"spin": ["spin"], "gcc": ["gcc", "libc6-dev"]}
_HEADERS = Path("/usr/include/stdio.h")


class Search(msgspec.Struct, frozen=True):
    """A model, its bounds (`TERMS=3`), and the rule taken away (`FENCING`), if any."""

    model: str
    bounds: tuple[str, ...]
    without: str = ""

    @property
    def flags(self) -> list[str]:
        """What spin's preprocessor is told."""
        rule = [f"-DWITHOUT_{self.without}"] if self.without else []
        return [*(f"-D{bound}" for bound in self.bounds), *rule]

    def __str__(self) -> str:
        return " ".join([self.model, *self.bounds, *([f"without {self.without}"] if self.without else [])])


class Found(msgspec.Struct, frozen=True):
    """What the verifier said."""

    complete: bool
    """Every reachable state was visited: no limit of depth or memory was met, no error ended it."""
    errors: int
    states: int
    transitions: int
    depth: int
    memory_mib: float
    seconds: float
    """Processor time of the verifier."""
    story: str
    """With an error: what happened up to it, one line a step. Otherwise what the verifier printed."""


class ToolMissing(Exception):
    """spin or gcc is not installed."""


def _missing_packages() -> list[str]:
    missing = [
        package for tool, needs in _PACKAGES.items() if shutil.which(tool) is None for package in needs
    ]
    if not _HEADERS.exists():
        missing.append("libc6-dev")
    return sorted(set(missing))


def install_tools() -> list[str]:
    """Install what is missing of spin and gcc, as the lab installs its tools; the packages installed."""
    missing = _missing_packages()
    if missing:
        require_root(f"installing {', '.join(missing)}")
    return install(missing)


def require_tools() -> None:
    """ToolMissing unless a model can be searched here."""
    if missing := _missing_packages():
        raise ToolMissing(f"not installed: {', '.join(missing)}: run `make model`, which installs them")


def _run(command: list[str], where: Path) -> str:
    done = subprocess.run(
        command, cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the verifier printed nothing like {pattern!r}:\n{text[-4000:]}")
    return float(found[1])


def explore(search: Search, where: Path, optimise: int = 1) -> Found:
    """Visit every reachable state, in the empty directory `where`; RuntimeError when a tool fails."""
    require_tools()
    source = HERE / f"{search.model}.pml"
    _run(["spin", *search.flags, "-a", str(source)], where)
    # The whole state space (no -DBITSTATE, no hash compaction), safety properties only.
    compiled = ["gcc", f"-O{optimise}", "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c"]
    _run(compiled, where)
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    # -E: a world in which nothing more can happen is no error. -n: no list of code that was not reached.
    said = _run(["./pan", "-E", "-n", f"-m{_DEPTH}", "-w22"], where)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    errors = int(_number(r"errors: (\d+)", said))
    limits = re.search(r"Search not completed|max search depth|out of memory", said)
    story = said
    if errors:
        story = _run_story(search, source, where)
    return Found(
        complete=limits is None and errors == 0 and "Full statespace search for" in said,
        errors=errors,
        states=int(_number(r"^ *(\S+) states, stored", said)),
        transitions=int(_number(r"^ *(\S+) transitions", said)),
        depth=int(_number(r"depth reached (\d+)", said)),
        memory_mib=_number(r"^ *(\S+)\s+total actual memory usage", said),
        seconds=seconds,
        story=story,
    )


def _run_story(search: Search, source: Path, where: Path) -> str:
    """The trail to the error, retold by the model's own words."""
    trail = f"{source.name}.trail"
    told = subprocess.run(
        ["spin", *search.flags, "-T", "-k", trail, str(source)],
        cwd=where, capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = told.stdout.splitlines()
    end = next((at for at, line in enumerate(lines) if line.startswith("#processes")), len(lines))
    return "\n".join(lines[:end])
