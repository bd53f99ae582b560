# SPDX-License-Identifier: Apache-2.0
"""Packages that the lab needs on the host, and their installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

from lab.errors import LabError

PACKAGE_OF_TOOL = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "umount": "mount",
    "losetup": "mount",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TRIES = 4

_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_INOTIFY_WANTED = 1024
"""A lab uses about 42 of root's: with the kernel's own 128 the third lab hangs in its boot."""


def prepare_environment() -> None:
    """Find the system's tools even where /usr/sbin is not on PATH, and read their messages untranslated."""
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}".lstrip(":")
    os.environ["LC_ALL"] = "C.UTF-8"


def require_root(doing: str) -> None:
    """LabError unless root: namespaces, mounts and cgroups are made."""
    if os.geteuid() != 0:
        raise LabError(f"`{doing}` needs root (namespaces, mounts, cgroups): run it with sudo")


def make_room() -> str:
    """Let the kernel watch as many files as several labs need; what was changed, or an empty string.

    inotify(7) counts instances per user, and the machines' root is root of the host. Not kept over a reboot.
    """
    before = int(_INOTIFY.read_text())
    if before >= _INOTIFY_WANTED:
        return ""
    try:
        _INOTIFY.write_text(str(_INOTIFY_WANTED))
    except OSError as error:
        return f"fs.inotify.max_user_instances stays {before} ({error.strerror}): enough for two labs only"
    return f"fs.inotify.max_user_instances raised from {before} to {_INOTIFY_WANTED}"


def missing_tools() -> list[str]:
    return [tool for tool in PACKAGE_OF_TOOL if shutil.which(tool) is None]


def require_tools() -> None:
    """LabError that names the missing tools and their packages."""
    missing = missing_tools()
    if missing:
        packages = sorted({PACKAGE_OF_TOOL[tool] for tool in missing})
        raise LabError(
            f"missing on this host: {', '.join(missing)}: run `python3 -m lab setup`, "
            f"or install {' '.join(packages)} yourself"
        )


def setup() -> list[str]:
    """Install what the host lacks; the packages installed, none when all is there already."""
    packages = {PACKAGE_OF_TOOL[tool] for tool in missing_tools()}
    if not _KEYRING.exists():
        packages.add("debian-archive-keyring")
    return install(packages)


def install(packages: Collection[str]) -> list[str]:
    """Install these packages, in order of their names; nothing is done when there are none."""
    if not packages:
        return []
    if shutil.which("apt-get") is None:
        raise LabError(f"no apt-get on this host: install {' '.join(sorted(packages))} by its own means")
    wanted = sorted(packages)
    apt("update")
    apt("install", "--yes", "--no-install-recommends", *wanted)
    return wanted


def apt(*arguments: str) -> None:
    """apt-get, tried again when a mirror hiccups or another apt holds the lock."""
    command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in range(1, _TRIES + 1):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
        if attempt < _TRIES:
            time.sleep(2.0**attempt)  # back off: the mirror, not a condition of ours
    last = done.stderr.strip().splitlines()[-5:]
    raise LabError(f"`{' '.join(command)}` failed {_TRIES} times: {' | '.join(last)}")
