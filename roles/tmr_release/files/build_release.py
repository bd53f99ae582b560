# SPDX-License-Identifier: Apache-2.0
"""Build the file that installs TMR on a machine without internet: wheels, their hashes, and an installer.

    build_release.py --source CHECKOUT --cache DIRECTORY --target 3.11-x86_64 [--target …]

Runs on the controller. For each target (Python version and architecture) there is one archive
`tmr-RELEASE-TARGET.pyz` in the cache; RELEASE is the version of the package and a digest of all that goes
in, so that any change gives a new release. Prints JSON on stdout:
{"release": "0.1.0-1f2e3d4c5b6a", "built": bool, "archives": {"3.11-x86_64": path}}. Exit status: 0, or 1
with the reason on stderr.
"""

from __future__ import annotations

import argparse
import ensurepip
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

NEWEST_GLIBC = 36
"""glibc 2.36 of Debian 12, the oldest system that we support: no wheel may need a newer one."""
ARCHITECTURES = ("x86_64", "aarch64")
KEPT = 12
"""How many archives stay in the cache."""
INSTALLER = "install_release.py"
EXPORTS = {
    "client": ("--no-default-groups",),
    "server": ("--no-default-groups", "--extra", "server"),
    "installer": ("--only-group", "installer"),
}
"""Parts of the lock file for each kind of machine, and for the installation, as words for `uv export`."""


class BuildError(Exception):
    """The release cannot be built; the text says why and what to do."""


class Target:
    """One kind of machine: `3.11-x86_64`."""

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"3\.(\d+)-(\w+)", text)
        if not match or match[2] not in ARCHITECTURES:
            raise BuildError(f"target {text!r}: write 3.MINOR-ARCHITECTURE with one of {ARCHITECTURES}")
        self.text, self.minor, self.architecture = text, int(match[1]), match[2]
        if self.minor < 11:
            raise BuildError(f"a machine has Python 3.{self.minor}: TMR needs 3.11 or newer")

    def environment(self) -> dict[str, str]:
        """What markers such as `python_version < "3.13"` are evaluated with."""
        return {
            "python_version": f"3.{self.minor}",
            "python_full_version": f"3.{self.minor}.99",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "platform_machine": self.architecture,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
        }

    def pip_arguments(self) -> list[str]:
        """What pip needs to choose wheels for this target and not for the machine it runs on."""
        platforms = [f"manylinux_2_{minor}_{self.architecture}" for minor in range(NEWEST_GLIBC, 4, -1)]
        platforms += [f"manylinux2014_{self.architecture}", f"linux_{self.architecture}"]
        return [
            *("--python-version", f"3.{self.minor}", "--implementation", "cp"),
            *("--abi", f"cp3{self.minor}", "--abi", "abi3", "--abi", "none"),
            *(word for platform in platforms for word in ("--platform", platform)),
        ]


def release_name(source: Path) -> str:
    """Version of the package and twelve digits of everything that decides what a release holds."""
    project = tomllib.loads((source / "pyproject.toml").read_text())
    version = project["project"]["version"]
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    here = Path(__file__).parent
    files = [source / "pyproject.toml", source / "uv.lock", here / INSTALLER, Path(__file__)]
    files += (source / page for page in wheel["shared-data"])
    files += (path for path in (source / "agents" / "tmr").rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in sorted(files):
        if "__pycache__" not in path.parts:
            inside = path.relative_to(source) if path.is_relative_to(source) else path.name
            digest.update(f"{inside}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return f"{version}-{digest.hexdigest()[:12]}"


def requirements_for(target: Target, exported: str) -> Iterator[str]:
    """The lines of uv's export that hold for `target`, without their markers; hashes are kept.

    pip would evaluate the markers for the Python that it runs on.
    """
    for line in exported.replace("\\\n", " ").splitlines():
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        head, *hashes = re.split(r"\s+(?=--hash=)", text)
        requirement = Requirement(head)
        if requirement.marker is None or requirement.marker.evaluate(target.environment()):
            yield " ".join([f"{requirement.name}{requirement.specifier}", *map(str.strip, hashes)])


def names_in(requirements: Iterable[str]) -> set[str]:
    """Packages that these lines name."""
    return {canonicalize_name(line.split("==", 1)[0]) for line in requirements}


def pinned(wheels: Iterable[Path], names: set[str]) -> Iterator[str]:
    """Requirements file of exactly those of the wheels that have one of these names."""
    for wheel in sorted(wheels):
        name, version, _, _ = parse_wheel_filename(wheel.name)
        if name in names:
            yield f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


def find_uv(source: Path) -> str:
    """uv on PATH, or the one in the checkout."""
    found = shutil.which("uv") or shutil.which("uv", path=source / ".tools" / "bin")
    if found is None:
        raise BuildError(
            f"uv builds the release, and is neither on PATH nor in {source}/.tools/bin: run `make setup`"
            " in the checkout, or install it (https://docs.astral.sh/uv)"
        )
    return found


def find_pip() -> Path:
    """The wheel of pip that the controller's Python brings for `ensurepip`: it runs from the file, here.

    Not on the machines: Debian 12's does not run on the Python of Debian 13.
    """
    directories = [sysconfig.get_config_var("WHEEL_PKG_DIR"), Path(ensurepip.__file__).parent / "_bundled"]
    wheels = [wheel for place in directories if place for wheel in sorted(Path(place).glob("pip-*.whl"))]
    if not wheels:
        raise BuildError(f"{sys.executable} has no ensurepip: install the package python3-venv here")
    return wheels[-1]


def run(command: list[str], **environment: str) -> str:
    """Standard output of a command that must succeed."""
    whole = {**os.environ, **environment}
    done = subprocess.run(command, env=whole, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise BuildError(f"{' '.join(command[:4])} … failed:\n{tail}")
    return done.stdout


def download(requirements: list[str], target: Target, into: Path) -> None:
    """Fetch the target's wheels of these requirements, which name their hashes."""
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(into)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(requirements) + "\n")
        file.flush()
        run(
            [sys.executable, "-m", "pip", "download", *options, *target.pip_arguments(), "-r", file.name],
            PYTHONPATH=str(find_pip()),
            PIP_DISABLE_PIP_VERSION_CHECK="1",
        )


def build(source: Path, release: str, target: Target, archive: Path) -> None:
    """Write `archive`; it appears under its name when it is complete."""
    with tempfile.TemporaryDirectory(prefix="building-", dir=archive.parent) as name:
        room = Path(name)
        wheels = room / "wheels"
        uv = find_uv(source)
        project = ["--project", str(source)]
        run([uv, "build", "--quiet", "--wheel", "--out-dir", str(wheels), str(source)])
        export = [uv, "export", "--quiet", *project, "--frozen", "--no-emit-project"]
        lines = {
            kind: list(requirements_for(target, run([*export, *words]))) for kind, words in EXPORTS.items()
        }
        download(lines["server"], target, wheels)
        download(lines["installer"], target, room / "pip")
        manifest = {"release": release, "python": f"3.{target.minor}", "architecture": target.architecture}
        whole = room / archive.name
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as sink:
            sink.write(Path(__file__).with_name(INSTALLER), "__main__.py")
            sink.writestr("manifest.json", json.dumps(manifest))
            for kind in ("client", "server"):
                chosen = pinned(wheels.glob("*.whl"), {"tmr", *names_in(lines[kind])})
                sink.writestr(f"requirements/{kind}.txt", "\n".join(chosen) + "\n")
            for part in ("pip", "wheels"):
                for wheel in sorted((room / part).glob("*.whl")):
                    sink.write(wheel, f"{part}/{wheel.name}")
        whole.rename(archive)


def prune(cache: Path) -> None:
    """Remove the oldest archives beyond KEPT: one is made for every change of the source."""
    archives = sorted(cache.glob("tmr-*.pyz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for archive in archives[KEPT:]:
        archive.unlink()


def main(words: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Build the offline archive of a TMR release.")
    parser.add_argument("--source", type=Path, required=True, help="the checkout")
    parser.add_argument("--cache", type=Path, required=True, help="where archives are kept")
    parser.add_argument("--target", action="append", required=True, help="such as 3.11-x86_64")
    options = parser.parse_args(words)
    try:
        source = options.source.resolve()
        targets = [Target(text) for text in sorted(set(options.target))]
        release = release_name(source)
        options.cache.mkdir(parents=True, exist_ok=True)
        archives, built = {}, False
        with (options.cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for target in targets:
                archive = options.cache.resolve() / f"tmr-{release}-{target.text}.pyz"
                archives[target.text] = str(archive)
                if not archive.exists():
                    build(source, release, target, archive)
                    built = True
            prune(options.cache)
    except (BuildError, OSError) as error:
        print(f"build_release: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(json.dumps({"release": release, "built": built, "archives": archives}))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
