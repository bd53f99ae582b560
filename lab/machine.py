# SPDX-License-Identifier: Apache-2.0
"""Power, freezing and visits: what is done to machines that exist."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from lab import disk, fabric, ssh
from lab.command import run
from lab.errors import BootError, LabError
from lab.keeper import VISITORS, BootRecord, cgroup
from lab.names import ROOT, LabNames
from lab.topology import Machine
from lab.wait import until

_BOOT_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 90.0
_ANSWER_TIMEOUT_S = 3.0
_ASK_SYSTEMD = (
    *("busctl", "get-property", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"),
    *("org.freedesktop.systemd1.Manager", "SystemState"),
)
# systemd(1), SIGNALS: what pid 1 does on the real-time signals
_POWEROFF = signal.SIGRTMIN + 4
_REBOOT = signal.SIGRTMIN + 5
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wdns=/")


def state(names: LabNames, machine: Machine) -> str:
    """`off`, `booting`, `on` (its systemd has finished booting), `stopping` or `frozen`."""
    group = cgroup(names, machine)
    if not group.populated():
        return "off"
    if group.frozen():
        return "frozen"
    record = BootRecord.read(names.boot_record(machine))
    if record is None or record.leader is None:
        return "booting"
    try:
        comm = Path(f"/proc/{record.leader}/comm").read_text().strip()
    except OSError:
        return "stopping"
    return "on" if comm == "systemd" else "stopping"  # at the very end pid 1 becomes systemd-shutdown


def systemd_state(names: LabNames, machine: Machine) -> str:
    """State as `systemctl is-system-running` says inside; `-` where nothing answers.

    Asked from outside the machine's pid namespace: a foreign process in there would hold up a shutdown.
    """
    if state(names, machine) != "on":
        return "-"
    try:
        enter = ("nsenter", f"--target={_leader(names, machine)}", "--mount", "--wdns=/")
        answer = run(*enter, *_ASK_SYSTEMD, check=False, timeout_s=_ANSWER_TIMEOUT_S)
    except LabError:
        return "-"
    return answer.stdout.strip().removeprefix('s "').removesuffix('"') or "-"


def power_on(names: LabNames, machine: Machine) -> float:
    """Boot; seconds until its systemd said that it is ready. The machine must be off."""
    _require(names, [machine], ("off",))
    started = time.monotonic()
    _tidy(names, machine)
    cgroup(names, machine).child("keeper").create()
    log = names.console_log(machine)
    with log.open("ab") as console:
        keeper = subprocess.Popen(
            [sys.executable, "-P", "-m", "lab.keeper", str(names.state), names.name, machine.name],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )

    def booted() -> bool:
        if keeper.poll() is not None:
            raise BootError(f"{machine.name} ended while booting (code {keeper.returncode}): see {log}")
        record = BootRecord.read(names.boot_record(machine))
        return record is not None and record.leader is not None

    until(booted, _BOOT_TIMEOUT_S, f"{machine.name} does not come up: see {log}", BootError)
    keeper.returncode = 0  # it outlives this process: not ours to wait for
    return time.monotonic() - started


def power_off(names: LabNames, machines: Sequence[Machine]) -> None:
    """Power cut of all `machines` at one moment: what they had not synced is lost, nobody hears from them.

    First no frame leaves them, so that their peers see silence and no reset; then nothing in them runs, so
    that nothing sees its disk fail; then the disk forgets, and only then the processes die.
    """
    _require(names, machines, ("on", "booting", "stopping", "frozen"))
    fabric.silence(names, machines, True)
    for machine in machines:
        cgroup(names, machine).freeze(True, wait=False)
    for machine in machines:
        if record := BootRecord.read(names.boot_record(machine)):
            disk.cut_power(names, machine, record.supervisor)
    for machine in machines:
        cgroup(names, machine).kill()
    for machine in machines:
        cgroup(names, machine).wait_empty()
        _tidy(names, machine)


def stop(names: LabNames, machines: Sequence[Machine]) -> None:
    """Orderly power-off, as by `systemctl poweroff` inside; all machines at once."""
    _require(names, machines, ("on",))
    for machine in machines:
        _send_visitors_away(names, machine)
        _signal(names, machine, _POWEROFF)
    for machine in machines:
        until(
            lambda machine=machine: not cgroup(names, machine).populated(),  # type: ignore[misc]
            _STOP_TIMEOUT_S,
            f"{machine.name} does not stop: see {names.console_log(machine)}, or cut its power: "
            f"`power-off {machine.name}`",
        )
        _tidy(names, machine)


def reboot(names: LabNames, machine: Machine) -> float:
    """Orderly reboot; seconds until its systemd said again that it is ready."""
    _require(names, [machine], ("on",))
    started = time.monotonic()
    before = BootRecord.read(names.boot_record(machine))
    _send_visitors_away(names, machine)
    _signal(names, machine, _REBOOT)

    def back() -> bool:
        if not cgroup(names, machine).populated():
            raise BootError(f"{machine.name} went off instead of rebooting: see {names.console_log(machine)}")
        now = BootRecord.read(names.boot_record(machine))
        return bool(before and now and now.boots > before.boots and now.leader)

    failure = f"{machine.name} does not come back: see {names.console_log(machine)}"
    until(back, _STOP_TIMEOUT_S + _BOOT_TIMEOUT_S, failure, BootError)
    ssh.hang_up(names, machine)
    return time.monotonic() - started


def freeze(names: LabNames, machines: Sequence[Machine]) -> None:
    """Stop every process where it stands, and let no frame in or out, as a paused virtual machine."""
    _require(names, machines, ("on", "booting"))
    fabric.silence(names, machines, True)
    for machine in machines:
        cgroup(names, machine).freeze(True)


def thaw(names: LabNames, machines: Sequence[Machine]) -> None:
    """Let them go on. The network first: what a machine that wakes too late sends first is what matters."""
    _require(names, machines, ("frozen",))
    fabric.silence(names, machines, False)
    for machine in machines:
        cgroup(names, machine).freeze(False)


def visit(names: LabNames, machine: Machine, command: Sequence[str]) -> NoReturn:
    """Become `command` (a login shell when empty) inside the machine, without ssh.

    It runs in the machine's cgroup too: a freeze or a power cut reaches it.
    """
    _require(names, [machine], ("on", "booting"))
    visitors = cgroup(names, machine).child(VISITORS)
    visitors.create()
    arguments = _enter(_leader(names, machine), command or ["bash", "-l"])
    visitors.join(os.getpid())
    os.execvp(arguments[0], arguments)  # noqa: S606 - no shell is wanted


def _send_visitors_away(names: LabNames, machine: Machine) -> None:
    """End what came in by `visit`, so that it does not hold up a shutdown.

    A visitor's parent, nsenter, is outside. Only when it outlives the visitor does it reap it; else the
    host's pid 1 does, some time, and until then systemd-shutdown(8) sees a process that does not end.
    """
    visitors = cgroup(names, machine).child(VISITORS)
    inside = _pid_namespace(_leader(names, machine))
    for pid in visitors.processes():
        if _pid_namespace(pid) == inside:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    visitors.wait_empty()
    visitors.remove()


def _pid_namespace(pid: int) -> str | None:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None  # it has ended


def _enter(leader: int, command: Sequence[str]) -> list[str]:
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    term = f"TERM={os.environ.get('TERM', 'dumb')}"
    enter = ["nsenter", f"--target={leader}", *_NAMESPACES]
    return [*enter, "--", "/usr/bin/env", "-i", path, "HOME=/root", "LANG=C.UTF-8", term, *command]


def _signal(names: LabNames, machine: Machine, number: int) -> None:
    """Tell the machine's pid 1."""
    try:
        os.kill(_leader(names, machine), number)
    except ProcessLookupError:
        raise LabError(f"{machine.name} is just going down: look at `status` and try again") from None


def _leader(names: LabNames, machine: Machine) -> int:
    """Host's pid of the machine's pid 1."""
    record = BootRecord.read(names.boot_record(machine))
    if record is None or record.leader is None:
        raise LabError(f"{machine.name} is still booting: try again in a moment")
    return record.leader


def _require(names: LabNames, machines: Sequence[Machine], wanted: tuple[str, ...]) -> None:
    """LabError when a machine is in none of the `wanted` states, before anything is done to any of them."""
    for machine in machines:
        now = state(names, machine)
        if now not in wanted:
            remedy = {
                "off": f"`power-on {machine.name}` first",
                "frozen": f"`thaw {machine.name}` first",
                "booting": "wait until it is on",
                "stopping": "wait until it is off",
                "on": "nothing to do",
            }[now]
            raise LabError(f"{machine.name} is {now}, not {' or '.join(wanted)}: {remedy}")


def _tidy(names: LabNames, machine: Machine) -> None:
    """Remove what a machine that is off may have left: cgroups, loop device, cables, ssh connections."""
    cgroup(names, machine).remove()
    disk.wait_released(names, machine)
    fabric.unplug(names, machine)
    ssh.hang_up(names, machine)
    names.boot_record(machine).unlink(missing_ok=True)
