# SPDX-License-Identifier: Apache-2.0
"""Debian packages of the peers, unpacked below `.cache/bench`: nothing is installed on the host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab import host

ROOT = Path(__file__).parents[1] / ".cache" / "bench"
PACKAGES = ("etcd-server", "redis-server")
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def binary(name: str) -> Path:
    """A program of the peers. Call `fetch` first."""
    for directory in ("usr/bin", "usr/sbin"):
        if (found := ROOT / "tree" / directory / name).exists():
            return found
    raise FileNotFoundError(f"{name} is in none of the packages {', '.join(PACKAGES)}")


def environment() -> dict[str, str]:
    """The environment in which the peers find their libraries."""
    return {**os.environ, "LD_LIBRARY_PATH": str(ROOT / "tree" / LIBRARIES), "ETCD_UNSUPPORTED_ARCH": ""}


def fetch(packages: Sequence[str] = PACKAGES, root: Path = ROOT, *, machine: Path | None = None) -> Path:
    """Download the packages with what they need beyond the host's, and unpack them; once. Gives the tree.

    `machine`: the root of another Debian system, which has what the packages need not bring.
    """
    tree, archives = root / "tree", root / "archives"
    if (root / "done").exists():
        return tree
    (archives / "partial").mkdir(parents=True, exist_ok=True)
    installed = ("-o", f"Dir::State::status={machine}/var/lib/dpkg/status") if machine else ()
    host.apt("update")
    host.apt(
        *("install", "--yes", "--download-only", "--no-install-recommends", *installed),
        *("-o", f"Dir::Cache::archives={archives}", *packages),
    )
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(tree)], check=True)
    (root / "done").touch()
    return tree
