# SPDX-License-Identifier: Apache-2.0
"""A whole lab: bring it up, take it down, say how it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lab import disk, fabric, identity, image, machine, ssh
from lab.cgroup import Cgroup
from lab.errors import LabError
from lab.keeper import BootRecord, cgroup
from lab.lock import locked
from lab.names import LabNames, state_root
from lab.topology import FABRIC_NUMBER, MACHINES, NETWORKS, Machine
from lab.wait import until

_DELETE_TIMEOUT_S = 10.0


def up(names: LabNames, disk_kind: str) -> dict[str, float]:
    """Create the lab and boot all machines in parallel; seconds that each took to be ready."""
    tree = image.ensure()
    names.state.mkdir(parents=True, exist_ok=True)
    try:
        names.directory.mkdir()
    except FileExistsError:
        raise LabError(
            f"lab {names.name!r} exists already ({names.directory}): use it, take it `down` first, "
            "or choose another --name"
        ) from None
    with locked(names.directory):
        names.description.write_text(json.dumps({"disk": disk_kind, "tree": str(tree)}))
        ssh.make_key(names)
        Cgroup(names.tag).create()
        fabric.create(names)
        disk.prepare(names, disk_kind)
        with ThreadPoolExecutor(len(MACHINES)) as pool:
            boots = {name: pool.submit(_create, names, made, disk_kind) for name, made in MACHINES.items()}
        ssh.write_config(names)
        return {name: boot.result() for name, boot in boots.items()}


def _create(names: LabNames, made: Machine, disk_kind: str) -> float:
    names.machine_directory(made).mkdir()
    disk.format_disk(names, made, disk_kind, partial(identity.write, names, made))
    return machine.power_on(names, made)


def down(names: LabNames) -> bool:
    """Remove every trace of the lab; whether there was any. Works on whatever an interrupted `up` left."""
    if names.directory.exists():
        with locked(names.directory):
            return _remove(names)
    return _remove(names)


def _remove(names: LabNames) -> bool:
    group = Cgroup(names.tag)
    found = names.directory.exists() or group.path.exists() or fabric.exists(names.fabric)
    group.remove()
    ssh.forget(names)
    fabric.remove(names)
    disk.remove_all(names)
    until(partial(_delete, names.directory), _DELETE_TIMEOUT_S, f"{names.directory} cannot be removed")
    if names.state.exists() and not any(names.state.iterdir()):
        names.state.rmdir()
    return found


def _delete(directory: Path) -> bool:
    """True if it is gone: a child of a killed `up` may still be writing into it."""
    with suppress(OSError):
        shutil.rmtree(directory)
    return not directory.exists()


def require_up(names: LabNames) -> None:
    """LabError unless `up` has finished for this lab."""
    if not names.directory.exists():
        raise LabError(
            f"there is no lab {names.name!r} in {names.state}: `up` makes it, `list` shows which there are"
        )
    if not names.ssh_config.exists():
        raise LabError(
            f"lab {names.name!r} is only half there: an `up` still runs, or it died: then `down` first"
        )


def labs() -> list[LabNames]:
    """All labs of this state directory."""
    root = state_root()
    return [LabNames(path.name, root) for path in sorted(root.glob("*")) if path.is_dir()]


def machine_status(names: LabNames, one: Machine) -> dict[str, object]:
    """State, addresses and places of one machine, ready for JSON."""
    record = BootRecord.read(names.boot_record(one))
    return {
        "state": machine.state(names, one),
        "systemd": machine.systemd_state(names, one),
        "boots": record.boots if record else 0,
        "leader": record.leader if record else None,
        "address": one.address,
        "namespace": names.namespace(one),
        "cgroup": str(cgroup(names, one).path),
        "interfaces": {
            f"eth{index}": {
                "network": network.name,
                "ipv4": network.ipv4(one.number),
                "ipv6": network.ipv6(one.number),
                "mac": network.mac(one.number),
                "cable": "cut" if fabric.is_cut(names, one, network) else "plugged",
            }
            for index, network in enumerate(one.networks)
        },
    }


def status(names: LabNames) -> dict[str, Any]:
    """The lab as `status --json` prints it."""
    gather: Callable[[Machine], dict[str, object]] = partial(machine_status, names)
    with ThreadPoolExecutor(len(MACHINES)) as pool:
        machines = dict(zip(MACHINES, pool.map(gather, MACHINES.values()), strict=True))
    return {
        "name": names.name,
        "directory": str(names.directory),
        "ssh_config": str(names.ssh_config),
        "disk": disk.kind(names),
        "fabric": {
            "namespace": names.fabric,
            "addresses": {network.name: network.ipv4(FABRIC_NUMBER) for network in NETWORKS},
        },
        "machines": machines,
    }
