# SPDX-License-Identifier: Apache-2.0
"""`python3 -m lab`: the command line of the lab."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lab import disk, fabric, host, image, lifecycle, machine
from lab.errors import LabError
from lab.lock import locked
from lab.names import LabNames, state_root
from lab.topology import Machine, Network, machine_named

_ANYBODY = {"list", "inventory"}  # commands that only read

Run = Callable[[argparse.Namespace, LabNames], None]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m lab",
        description="Five Linux machines (up1 up2 up3 tmr1 tmr2) and a client inside this one.",
    )
    parser.add_argument("--name", default="lab", help="which lab; several live side by side (default: lab)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, does: str, run: Run) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=does, description=does)
        sub.set_defaults(run=run)
        return sub

    command("setup", "install what this host lacks (apt)", _setup)
    command("image", "build the machines' base tree, unless it is cached", _image)
    up = command("up", "make the lab and boot all machines", _up)
    up.add_argument("--disk", choices=disk.KINDS, default=disk.DEFAULT, help=f"default: {disk.DEFAULT}")
    command("down", "remove the lab and every trace of it", _down)
    status = command("status", "show state and addresses of the machines", _status)
    status.add_argument("--json", action="store_true")
    command("list", "show all labs", _list)
    command("inventory", "print the path of the ssh configuration", _inventory)

    ssh = command("ssh", "log in by ssh, or run a command so", _ssh)
    ssh.add_argument("machine")
    ssh.add_argument("remote", nargs=argparse.REMAINDER, metavar="-- CMD")
    shell = command("shell", "enter a machine without ssh, or run a command so", _shell)
    shell.add_argument("machine")
    shell.add_argument("remote", nargs=argparse.REMAINDER, metavar="CMD")
    execute = command(
        "ns-exec", "run a program of this host in a machine's network (or in `fabric`)", _ns_exec
    )
    execute.add_argument("machine", metavar="MACHINE|fabric")
    execute.add_argument("remote", nargs=argparse.REMAINDER, metavar="-- CMD")

    for name, does, run in (
        ("power-off", "cut the power: what was not synced is lost", _together(machine.power_off)),
        ("power-on", "boot", _each(machine.power_on, "on")),
        ("stop", "shut down in order", _together(machine.stop)),
        ("reboot", "reboot in order", _each(machine.reboot, "back")),
        ("freeze", "stop every process, silence the network", _together(machine.freeze)),
        ("thaw", "let a frozen machine go on", _together(machine.thaw)),
    ):
        command(name, does, run).add_argument("machines", nargs="+", metavar="MACHINE")
    for name, does, run in (
        ("cut", "pull a cable", _cable(fabric.cut)),
        ("heal", "put a cable back", _cable(fabric.heal)),
    ):
        cable = command(name, does, run)
        cable.add_argument("machine")
        cable.add_argument("network", choices=("front", "back"))
    return parser


def _setup(_: argparse.Namespace, __: LabNames) -> None:
    installed = host.setup()
    print(f"installed: {' '.join(installed)}" if installed else "this host has all that the lab needs")


def _image(_: argparse.Namespace, __: LabNames) -> None:
    host.require_tools()
    print(image.ensure())


def _up(arguments: argparse.Namespace, names: LabNames) -> None:
    host.require_tools()
    image.ensure()
    if changed := host.make_room():
        print(f"lab: {changed}", file=sys.stderr)
    started = time.monotonic()
    boots = lifecycle.up(names, arguments.disk)
    each = " ".join(f"{name} {seconds:.1f}" for name, seconds in boots.items())
    print(f"lab {names.name} is up in {time.monotonic() - started:.1f} s (seconds to boot: {each})")
    print(f"ssh configuration: {names.ssh_config}")


def _down(_: argparse.Namespace, names: LabNames) -> None:
    host.require_tools()
    started = time.monotonic()
    if lifecycle.down(names):
        print(f"lab {names.name} is gone in {time.monotonic() - started:.1f} s")
    else:
        print(f"there is no lab {names.name!r} in {names.state}: nothing to do")


def _status(arguments: argparse.Namespace, names: LabNames) -> None:
    lifecycle.require_up(names)
    found = lifecycle.status(names)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    print(f"lab {names.name}, disk {found['disk']}, ssh configuration {found['ssh_config']}")
    for name, one in found["machines"].items():
        cables = "  ".join(
            f"{interface} {cable['ipv4']}{' CUT' if cable['cable'] == 'cut' else ''}"
            for interface, cable in one["interfaces"].items()
        )
        print(f"{name:8}{one['state']:9}{one['systemd']:10}{cables}")


def _list(_: argparse.Namespace, __: LabNames) -> None:
    for lab in lifecycle.labs():
        print(lab.name)


def _inventory(_: argparse.Namespace, names: LabNames) -> None:
    lifecycle.require_up(names)
    print(names.ssh_config)


def _ssh(arguments: argparse.Namespace, names: LabNames) -> None:
    lifecycle.require_up(names)
    name = machine_named(arguments.machine).name
    _become(["ssh", "-F", str(names.ssh_config), name, *_words(arguments)])


def _shell(arguments: argparse.Namespace, names: LabNames) -> None:
    lifecycle.require_up(names)
    machine.visit(names, machine_named(arguments.machine), _words(arguments))


def _ns_exec(arguments: argparse.Namespace, names: LabNames) -> None:
    lifecycle.require_up(names)
    words = _words(arguments)
    if not words:
        raise LabError("ns-exec: which program? `ns-exec tmr1 -- ip address`")
    if arguments.machine == "fabric":
        namespace = names.fabric
    else:
        namespace = names.namespace(machine_named(arguments.machine))
        if not fabric.exists(namespace):
            raise LabError(
                f"{arguments.machine} is off and has no network: `power-on {arguments.machine}` first"
            )
    _become(["ip", "netns", "exec", namespace, *words])


def _words(arguments: argparse.Namespace) -> list[str]:
    words = list(arguments.remote)
    return words[1:] if words[:1] == ["--"] else words


def _become(command: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


def _machines(arguments: argparse.Namespace, names: LabNames) -> list[Machine]:
    lifecycle.require_up(names)
    return [machine_named(name) for name in dict.fromkeys(arguments.machines)]


def _together(does: Callable[[LabNames, Sequence[Machine]], None]) -> Run:
    """A command on several machines at one moment."""

    def run(arguments: argparse.Namespace, names: LabNames) -> None:
        machines = _machines(arguments, names)
        with locked(names.directory):
            does(names, machines)

    return run


def _each(does: Callable[[LabNames, Machine], float], word: str) -> Run:
    """A command on each machine, side by side, which says how long it took."""

    def run(arguments: argparse.Namespace, names: LabNames) -> None:
        machines = _machines(arguments, names)
        with locked(names.directory), ThreadPoolExecutor(len(machines)) as pool:
            for one, seconds in zip(machines, pool.map(partial(does, names), machines), strict=True):
                print(f"{one.name} is {word} in {seconds:.1f} s")

    return run


def _cable(does: Callable[[LabNames, Machine, Network], None]) -> Run:
    """A command on one cable."""

    def run(arguments: argparse.Namespace, names: LabNames) -> None:
        lifecycle.require_up(names)
        one = machine_named(arguments.machine)
        does(names, one, one.network(arguments.network))

    return run


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 0; 1 a machine did not boot; 2 what was asked cannot be done; 130 interrupted."""
    arguments = _parser().parse_args(words)
    host.prepare_environment()
    try:
        if arguments.command not in _ANYBODY:
            host.require_root(f"lab {arguments.command}")
        names = LabNames(arguments.name, state_root())
        arguments.run(arguments, names)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("lab: interrupted: `down` removes what is half done", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
