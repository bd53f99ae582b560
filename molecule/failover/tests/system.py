# SPDX-License-Identifier: Apache-2.0
"""The deployed system as the tests of the story see it: faults, and what is true of it now.

Machines that may lose power or a cable are entered by `lab shell`: an ssh connection that is kept open would
outlive the machine, and hold up the next command until it is given up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from machines import LAB, ROOT, SSH_CONFIG, from_fabric, machine_named, names

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds until a condition that must come true is given up. No promise of the product: how long a failover
takes is measured elsewhere."""
PAUSE = 0.2
ON_ITS_WAY = 5
"""Entries."""
SERVER_PORT = 22350


def until(condition: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Wait until `condition()` is true; what it returned. AssertionError says for what was waited in vain."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {patience:g} s in vain: {what}"
        time.sleep(PAUSE)
    return found


def lab(*arguments: str) -> str:
    """Standard output of a command of the lab that must succeed."""
    command = [sys.executable, "-m", "lab", "--name", LAB, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


def fails(run: Callable[[], str]) -> str:
    """What it said when it failed."""
    try:
        run()
    except AssertionError as failed:
        return " ".join(str(failed).split())
    raise AssertionError("it should have failed")


def vendor(*arguments: str) -> None:
    """Run the vendor's tool on this host."""
    command: list[Any] = [Path(sys.executable).with_name("tmr"), "vendor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def tmr_operator(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `tmr` on the controller, with the operator's certificate."""
    config = SSH_CONFIG.parent / "pki" / "operator.toml"
    done = from_fabric(str(Path(sys.executable).with_name("tmr")), "--config", str(config), *arguments)
    return done.returncode, done.stdout, done.stderr


def kill_active() -> str:
    """`kill -9` of the active tmr-server; the other twin, once it alone serves."""
    first = until(active, "one twin is active and alone has the virtual address")
    lab("shell", first, "sh", "-c", "kill -9 $(systemctl show --property=MainPID --value tmr-server)")
    until(lambda: active() == other(first), f"{other(first)} takes over")
    return other(first)


# -- what is true now ----------------------------------------------------------------------------------


def tmr(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `tmr` on the client machine."""
    done = machine_named("client").host.run("tmr " + " ".join(arguments))
    return done.rc, done.stdout, done.stderr


def machines_on() -> dict[str, bool]:
    """Which machines have power and are up."""
    machines: dict[str, Any] = json.loads(lab("status", "--json"))["machines"]
    return {name: machine["state"] == "on" for name, machine in machines.items()}


def vip_holders() -> list[str]:
    """The twins whose kernel has the virtual address on the front interface."""
    vip = machine_named("tmr1")["tmr_vip_addresses"][0]
    on = machines_on()
    return [
        twin
        for twin in names("twins")
        if on[twin] and f" {vip}/" in lab("shell", twin, "ip", "-oneline", "address", "show", "eth0")
    ]


def statuses() -> dict[str, Any]:
    """What each twin says of itself to a client; None: it does not answer on the front LAN."""
    certificate = "--cacert {0}/ca.crt --cert {0}/client.crt --key {0}/client.key".format("/etc/tmr/pki")
    curl = f"curl --silent --connect-timeout 1 --max-time 5 {certificate}"
    addresses = [machine_named(name)["tmr_front_addresses"][0] for name in names("twins")]
    asked = "; ".join(f"{curl} https://{address}:{SERVER_PORT}/v1/status; echo" for address in addresses)
    answers = machine_named("client").host.run(asked).stdout.splitlines()
    return {name: json.loads(answer or "null") for name, answer in zip(names("twins"), answers, strict=True)}


def roles() -> dict[str, str | None]:
    """Role of each twin; None: it does not answer."""
    return {name: status and status["role"] for name, status in statuses().items()}


def other(twin: str) -> str:
    """The other twin."""
    (found,) = [name for name in names("twins") if name != twin]
    return found


def active() -> str | None:
    """The one active twin, if it alone holds the virtual address; None: not so, at the moment."""
    found = [name for name, role in roles().items() if role == "active"]
    return found[0] if len(found) == 1 and vip_holders() == found else None


def active_status() -> Any:
    """Status of the active twin, once there is one."""

    def look() -> Any:
        return next((each for each in statuses().values() if each and each["role"] == "active"), None)

    return until(look, "a twin is active")


def upstream_status(name: str) -> Any:
    """How the active twin sees this upstream."""
    (found,) = [each for each in active_status()["upstreams"] if each["name"] == name]
    return found


def caught_up() -> bool:
    """All upstreams vote and have the journal, but for what is on its way while clients work."""
    status = active_status()
    least = status["commit"] - ON_ITS_WAY
    return all(
        each["reachable"] and each["voting"] and each["match"] >= each["commit"] >= least
        for each in status["upstreams"]
    )


def whole() -> bool:
    """One twin active with the virtual address, the other passive, three upstreams that have everything."""
    return sorted(map(str, roles().values())) == ["active", "passive"] and bool(active()) and caught_up()


def heal() -> None:
    """Give every machine power and cables, and wait until the system is whole."""
    machines: dict[str, Any] = json.loads(lab("status", "--json"))["machines"]
    dark = [name for name, machine in machines.items() if machine["state"] != "on"]
    if dark:
        lab("power-on", *dark)
    for name, machine in machines.items():
        for cable in machine["interfaces"].values():
            if cable["cable"] != "plugged":
                lab("heal", name, cable["network"])
    until(whole, "all machines work again")
