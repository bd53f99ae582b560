# SPDX-License-Identifier: Apache-2.0
"""New rules of the firewall that end unless they are confirmed: the script of the role, in a namespace.

systemd does not run in a namespace: its programs are replaced by ones that write down how they were called.
"""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.firewall import RULES
from tests.netns.world import Namespace, ip

SCRIPT = Path(__file__).parents[2] / "roles/tmr_firewall/templates/tmr-firewall-try.sh.j2"


class Machine:
    """A network namespace with the script, and files in place of those of a machine."""

    def __init__(self, place: Namespace, directory: Path) -> None:
        self._place, self._directory = place, directory
        self.rules, self.new = directory / "tmr.nft", directory / "tmr.nft.new"
        self.calls = directory / "calls"
        programs = directory / "bin"
        programs.mkdir()
        for name in ("systemctl", "systemd-run"):
            (programs / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{shlex.quote(str(self.calls))}\n')
            (programs / name).chmod(0o755)
        self._path = f"{programs}:{os.environ['PATH']}"
        text = SCRIPT.read_text()
        for installed, here in (
            ("/etc/nftables-tmr.nft", self.rules),
            ("/run/tmr-firewall-tried", directory / "t"),
        ):
            assert installed in text
            text = text.replace(installed, str(here))
        self.script = directory / "try.sh"
        self.script.write_text(text)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self._place.name, *words],
            env={**os.environ, "PATH": self._path},
            capture_output=True,
            text=True,
            check=False,
        )

    def step(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("bash", str(self.script), *words)

    def accepts(self, port: int) -> bool:
        return f"dport {port} accept" in self.run("nft", "list", "table", "inet", "tmr").stdout

    def timer_elapses(self) -> None:
        (call,) = [line for line in self.calls.read_text().splitlines() if line.startswith("systemd-run")]
        assert "--on-active=60 " in call
        self.run(*call[call.index("/bin/bash") :].split())


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    place = Namespace(f"try-{os.getpid()}")
    try:
        yield Machine(place, tmp_path)
    finally:
        ip("netns", "delete", place.name)


def rules(port: int) -> str:
    return RULES.replace("PORT", str(port))


def test_rules_that_are_not_confirmed_are_taken_back(machine: Machine) -> None:
    machine.rules.write_text(rules(22351))
    machine.new.write_text(rules(4711))
    assert machine.step("try", "60").returncode == 0
    assert machine.accepts(4711)
    assert machine.rules.read_text() == rules(22351), "a boot has the former ones"
    assert "systemctl stop tmr-firewall-watch.service" in machine.calls.read_text()
    machine.timer_elapses()
    assert machine.accepts(22351)
    assert not machine.accepts(4711)
    assert "systemctl start tmr-firewall-watch.service" in machine.calls.read_text()
    late = machine.step("confirm")
    assert late.returncode == 1
    assert "too late" in late.stderr
    assert machine.rules.read_text() == rules(22351)


def test_rules_that_are_confirmed_stay(machine: Machine) -> None:
    machine.rules.write_text(rules(22351))
    machine.new.write_text(rules(4711))
    assert machine.step("try", "60").returncode == 0
    done = machine.step("confirm")
    assert done.returncode == 0, done.stderr
    assert machine.accepts(4711)
    assert machine.rules.read_text() == rules(4711)
    assert not machine.new.exists()
    assert "systemctl stop tmr-firewall-rollback.timer" in machine.calls.read_text()


def test_a_new_machine_is_open_again(machine: Machine) -> None:
    machine.new.write_text(rules(4711))
    assert machine.step("try", "60").returncode == 0
    assert machine.accepts(4711)
    machine.timer_elapses()
    assert machine.run("nft", "list", "tables").stdout == ""
    assert not machine.rules.exists()


def test_rules_that_another_program_changed_meanwhile_are_not_confirmed(machine: Machine) -> None:
    machine.rules.write_text(rules(22351))
    machine.new.write_text(rules(4711))
    assert machine.step("try", "60").returncode == 0
    machine.run("nft", "flush", "chain", "inet", "tmr", "input")
    done = machine.step("confirm")
    assert done.returncode == 1
    assert "another program changed the rules" in done.stderr
    assert machine.accepts(22351)


def test_broken_rules_change_nothing_for_good(machine: Machine) -> None:
    machine.rules.write_text(rules(22351))
    machine.new.write_text("table inet tmr {")
    assert machine.step("try", "60").returncode != 0
    machine.timer_elapses()
    assert machine.accepts(22351)
