# SPDX-License-Identifier: Apache-2.0
"""Install a TMR release from the archive that this file is the `__main__.py` of. Needs Python alone.

    python3 tmr-RELEASE-TARGET.pyz --into /opt/tmr/releases/NAME [--for client] [--keep 3]

Makes a virtual environment at that place, installs the wheels of the archive that this kind of machine needs
into it by their hashes, and marks it complete: a directory without the mark is the remains of an installation
that was cut off, and is made anew. Older releases beyond the newest `--keep` are removed, but never the one
that /opt/tmr/current (beside `releases`) points to. Exit status: 0, or 1 with the reason on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

MARK = "complete"


class InstallError(Exception):
    """The release cannot be installed here; the text says why."""


def check(manifest: dict[str, str]) -> None:
    """Raise InstallError if the archive was made for another kind of machine."""
    here = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "architecture": platform.machine(),
    }
    for key, value in here.items():
        if manifest[key] != value:
            raise InstallError(f"this archive is for {key} {manifest[key]}, this machine has {value}")


def install(archive: Path, into: Path, kind: str) -> None:
    """Make the virtual environment `into` from the archive, for a machine of this kind."""
    with zipfile.ZipFile(archive) as source, tempfile.TemporaryDirectory(prefix="tmr-") as name:
        check(json.loads(source.read("manifest.json")))
        source.extractall(name)
        room = Path(name)
        venv.EnvBuilder(clear=True, symlinks=True).create(into)
        pip = next((room / "pip").glob("pip-*.whl"))
        command = [str(into / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        command += ["--no-cache-dir", "--disable-pip-version-check", "--require-hashes"]
        command += ["--find-links", str(room / "wheels")]
        command += ["--requirement", str(room / "requirements" / f"{kind}.txt")]
        environment = {**os.environ, "PYTHONPATH": str(pip), "PIP_CONFIG_FILE": os.devnull}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InstallError(f"pip: {(done.stderr or done.stdout).strip()}")
    os.sync()
    (into / MARK).touch(mode=0o644)


def prune(into: Path, keep: int) -> list[str]:
    """Remove the oldest releases beside `into`; names of those removed."""
    current = (into.parent.parent / "current").resolve()
    others = [path for path in into.parent.iterdir() if path.is_dir() and path not in (into, current)]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    spare = keep - 1 - (current.parent == into.parent and current != into)
    removed = others[max(spare, 0) :]
    for path in removed:
        shutil.rmtree(path)
    return [path.name for path in removed]


def main(words: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Install a TMR release offline.")
    parser.add_argument("--into", type=Path, required=True, help="such as /opt/tmr/releases/NAME")
    parser.add_argument(
        "--for",
        dest="kind",
        choices=("client", "server"),
        default="server",
        help="client: without the packages that servers need (default: server)",
    )
    parser.add_argument("--keep", type=int, default=3, help="how many releases stay (default: 3)")
    options = parser.parse_args(words)
    into = options.into.absolute()
    os.umask(0o022)
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        if not (into / MARK).exists():
            install(Path(sys.argv[0]), into, options.kind)
        removed = prune(into, options.keep)
    except (InstallError, OSError, zipfile.BadZipFile) as error:
        print(f"install_release: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"installed {into}" + (f"; removed {', '.join(removed)}" if removed else ""))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
