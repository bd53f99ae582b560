# SPDX-License-Identifier: Apache-2.0
"""The writable disk of a machine, laid over the shared base tree.

`ext4` is an image behind a loop device: a power cut loses what was not synced, as on a real disk.
`ram` is the same with the image in memory: a sync never waits for the host's disk.
`tmpfs` is memory: quicker, and a power cut loses nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.command import run
from lab.errors import LabError
from lab.names import LabNames
from lab.topology import Machine
from lab.wait import until

KINDS = ("ext4", "ram", "tmpfs")
DEFAULT = "ext4"
_SIZE = "4G"  # sparse: only what is written takes room
_RELEASE_TIMEOUT_S = 20.0
# linux/fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN = _IOR('X', 125, __u32), EXT4_GOING_FLAGS_NOLOGFLUSH
_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


def kind(names: LabNames) -> str:
    """Kind of disk that the lab was brought up with."""
    return str(json.loads(names.description.read_text())["disk"])


def image(names: LabNames, machine: Machine) -> Path:
    if kind(names) == "ram":
        return _memory(names) / f"{machine.name}.img"
    return names.machine_directory(machine) / "disk.img"


def mount_point(names: LabNames, machine: Machine) -> Path:
    """Mount point of the disk, inside the machine's private mount namespace alone."""
    return names.machine_directory(machine) / "disk"


def root(names: LabNames, machine: Machine) -> Path:
    """Mount point of the machine's root, inside its private mount namespace alone."""
    return names.machine_directory(machine) / "root"


def _memory(names: LabNames) -> Path:
    return names.directory / "memory"


def prepare(names: LabNames, disk: str) -> None:
    """Makes what all machines' disks of that kind need, once for the lab."""
    if disk != "ext4":
        memory = _memory(names)
        memory.mkdir()
        run("mount", "-t", "tmpfs", "-o", "mode=755,size=8g", names.tag, memory)


def format_disk(names: LabNames, machine: Machine, disk: str, fill: Callable[[Path], None]) -> None:
    """A new disk whose overlay holds what `fill` writes into the directory it is given."""
    mount_point(names, machine).mkdir()
    root(names, machine).mkdir()
    content = (
        _memory(names) / machine.name if disk == "tmpfs" else names.machine_directory(machine) / "content"
    )
    for part in ("upper", "work"):
        (content / part).mkdir(parents=True)
    fill(content / "upper")
    if disk != "tmpfs":
        features = "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"
        run("mkfs.ext4", "-q", "-F", "-E", features, "-d", content, image(names, machine), _SIZE)
        shutil.rmtree(content)


def mount_commands(names: LabNames, machine: Machine, tree: Path) -> list[list[str]]:
    """Commands that put the machine's root together in the mount namespace they run in."""
    disk = str(mount_point(names, machine))
    if kind(names) != "tmpfs":
        first = ["mount", "-o", "loop,noatime", str(image(names, machine)), disk]
    else:
        first = ["mount", "--bind", str(_memory(names) / machine.name), disk]
    layers = f"lowerdir={tree},upperdir={disk}/upper,workdir={disk}/work,metacopy=off,redirect_dir=on"
    return [first, ["mount", "-t", "overlay", "-o", layers, "lab", str(root(names, machine))]]


def cut_power(names: LabNames, machine: Machine, supervisor: int) -> None:
    """Make the ext4 disk take no more writes, and forget those that were not synced.

    `supervisor` is a process in the machine's mount namespace, 0 if there is none. A tmpfs loses nothing.
    """
    if kind(names) == "tmpfs" or not supervisor:
        return
    inside = Path(f"/proc/{supervisor}/root{mount_point(names, machine)}")
    try:
        descriptor = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # it ended by itself meanwhile
    try:
        fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    except OSError as error:
        raise LabError(f"{machine.name}: its disk cannot be shut down: {error}") from error
    finally:
        os.close(descriptor)


@contextmanager
def mounted(names: LabNames, machine: Machine) -> Iterator[Path]:
    """The disk of a machine that is off, mounted on the host meanwhile."""
    if kind(names) == "tmpfs":
        yield _memory(names) / machine.name
        return
    point = names.machine_directory(machine) / "open"
    point.mkdir(exist_ok=True)
    run("mount", "-o", "loop,noatime", image(names, machine), point)
    try:
        yield point
    finally:
        run("umount", point)
        wait_released(names, machine)


def wait_released(names: LabNames, machine: Machine) -> None:
    """Until the kernel let go of the image.

    A mount namespace dies a moment after its last process; mounted again before that, the same dead file
    system would come back.
    """
    where = image(names, machine)
    until(lambda: not loop_devices(where), _RELEASE_TIMEOUT_S, f"the kernel still holds {where}")


def loop_devices(under: Path) -> list[str]:
    """Loop devices whose backing file is `under`, or lies under it (also when it was deleted)."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = Path(backing.read_text().strip().removesuffix(" (deleted)"))
        except OSError:
            continue  # released between listing and reading
        if file == under or under in file.parents:
            found.append(f"/dev/{backing.parent.parent.name}")
    return found


def remove_all(names: LabNames) -> None:
    """Unmount and detach whatever is left of the lab's disks. All machines must be off."""
    directory = names.directory
    # images first: once the memory that they lie in is unmounted, the kernel names them otherwise
    until(lambda: not _detach(directory), _RELEASE_TIMEOUT_S, f"the kernel still holds images in {directory}")
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        point = Path(line.split()[4])
        if directory in point.parents:
            run("umount", "--lazy", point)


def _detach(directory: Path) -> list[str]:
    devices = loop_devices(directory)
    for device in devices:
        run("losetup", "--detach", device, check=False)
    return loop_devices(directory)
