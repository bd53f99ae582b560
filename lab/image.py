# SPDX-License-Identifier: Apache-2.0
"""The base tree that all machines share, read-only: built by debootstrap, cached by what goes into it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from lab.command import run
from lab.errors import LabError
from lab.lock import locked
from lab.names import cache_root

SUITE = "bookworm"
PACKAGES = (
    "acl",
    "ca-certificates",
    "chrony",
    "curl",
    "dbus",
    "ethtool",
    "iproute2",
    "iputils-arping",
    "iputils-ping",
    "libfaketime",
    "nftables",
    "openssh-server",
    "openssl",
    "procps",
    "python3",
    "python3-apt",
    "python3-cffi-backend",  # named because debootstrap does not resolve virtual packages
    "python3-cryptography",
    "python3-venv",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tcpdump",
)
"""Machines have no route to any mirror: what the roles' packages are is in the tree already."""

_ENABLED = ("systemd-networkd.service", "ssh.service")
_DISABLED = ("chrony.service",)  # cannot set the clock in here; the role that wants it enables it
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "console-getty.service",
    "getty@.service",
    "systemd-networkd-wait-online.service",
)
_RECIPE = "1"  # raise it when _finish changes: cached trees of the old recipe are then left alone
_TRIES = 3


def key() -> str:
    """Twelve hex digits of everything that decides what the tree holds."""
    parts = [_RECIPE, SUITE, *PACKAGES, "", *_ENABLED, "", *_DISABLED, "", *_MASKED]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def path() -> Path:
    """Path of the tree, whether or not it is there."""
    return cache_root() / f"{SUITE}-{key()}"


def ensure() -> Path:
    """Path of the tree, built now if need be; one builds, others wait for it.

    The tree appears under its name by one rename when it is complete: a build that was killed leaves
    only a temporary directory, which the next build removes.
    """
    tree = path()
    if tree.exists():
        return tree
    cache = cache_root()
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache):
        if tree.exists():
            return tree
        for leftover in cache.glob("building-*"):
            shutil.rmtree(leftover)
        log = cache / "build.log"
        print(f"building the base tree of the machines, a minute or two; log: {log}", flush=True)
        started = time.monotonic()
        building = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
        building.chmod(0o755)
        _bootstrap(building, log)
        _finish(building)
        building.rename(tree)
        print(f"base tree built in {time.monotonic() - started:.0f} s: {tree}", flush=True)
    return tree


def _bootstrap(target: Path, log: Path) -> None:
    """debootstrap in a mount and pid namespace of its own: when it dies, its mounts and daemons die too."""
    command = [
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(target)),
    ]
    if mirror := os.environ.get("LAB_MIRROR"):
        command.append(mirror)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for _ in range(_TRIES):
        with log.open("wb") as sink:
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, check=False
            )
        if done.returncode == 0:
            return
        inner = target / "debootstrap" / "debootstrap.log"
        if inner.exists():
            log.write_bytes(log.read_bytes() + inner.read_bytes())
        shutil.rmtree(target)
        target.mkdir(mode=0o755)
    lines = log.read_text(errors="replace").splitlines()
    raise LabError(f"debootstrap failed {_TRIES} times, see {log}; it ended with: {' | '.join(lines[-3:])}")


def _finish(tree: Path) -> None:
    """Make the tree nobody's: no identity, no history, only the units that a machine here needs."""
    run("chroot", tree, "systemctl", "--quiet", "enable", *_ENABLED)
    run("chroot", tree, "systemctl", "--quiet", "disable", *_DISABLED)
    run("chroot", tree, "systemctl", "--quiet", "mask", *_MASKED)
    run("chroot", tree, "apt-get", "clean")
    for host_key in (tree / "etc/ssh").glob("ssh_host_*"):
        host_key.unlink()
    for emptied in ("etc/machine-id", "etc/resolv.conf", "etc/hostname"):
        file = tree / emptied
        file.unlink(missing_ok=True)
        file.touch(mode=0o644)
    for listing in (tree / "var/lib/apt/lists").glob("*_*"):
        listing.unlink()
    (tree / "var/lib/dbus/machine-id").unlink(missing_ok=True)
