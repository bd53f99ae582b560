# SPDX-License-Identifier: Apache-2.0
"""Labs come and go: side by side, without a trace, and after every kind of mishap."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import PYTHON, ROOT, Lab, eventually, lab, traces

NOBODY = 65534


@pytest.fixture
def other(ready_host: None) -> Iterator[Lab]:
    """A lab's name that is free, and free again afterwards."""
    it = Lab(f"other-{os.getpid()}")
    yield it
    it("down")


def test_two_labs_live_side_by_side_and_one_goes_without_a_trace(running: Lab, other: Lab) -> None:
    other("up", "--disk", "tmpfs")
    running.ssh("up1", "echo first > /root/whose")
    other.ssh("up1", "echo second > /root/whose")
    assert running.ssh("up1", "cat /root/whose") == "first"
    assert other.ssh("up1", "cat /root/whose") == "second"
    assert {running.name, other.name} <= set(lab("list").stdout.split())

    tag, directory = other.tag, other.directory
    assert traces(tag, directory)  # the search finds what there is to find
    other("down")
    assert eventually(lambda: not traces(tag, directory)), traces(tag, directory)
    assert running.machine("up1")["state"] == "on"


def test_down_removes_a_lab_of_disks_in_memory_in_every_state(other: Lab) -> None:
    other("up", "--disk", "ram")
    tag, directory = other.tag, other.directory
    other("freeze", "tmr1")
    other("power-off", "up1")
    other("cut", "tmr2", "back")
    other("down")
    assert eventually(lambda: not traces(tag, directory)), traces(tag, directory)
    assert "nothing to do" in other("down").stdout


def test_down_finds_a_lab_whose_state_directory_is_gone(other: Lab) -> None:
    other("up")
    tag, directory = other.tag, other.directory
    subprocess.run(["rm", "-r", str(directory)], check=True)
    other("down")
    assert eventually(lambda: not traces(tag, directory)), traces(tag, directory)


@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.3, 0.5, 0.8])
def test_down_removes_what_a_killed_up_left(other: Lab, after_s: float) -> None:
    """The moment of the kill is the parameter: it lands in another step of `up` each time."""
    rising = subprocess.Popen(
        [PYTHON, "-m", "lab", "--name", other.name, "up"], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    directory = ROOT / ".lab" / other.name
    assert eventually(directory.exists)
    time.sleep(after_s)
    rising.send_signal(signal.SIGKILL)
    rising.wait()
    other("down")
    assert eventually(lambda: not _named(other.name)), _named(other.name)
    assert not directory.exists()


def _named(name: str) -> list[str]:
    """Traces of any lab of that name, whatever its tag."""
    return traces(f"lab-{name}", ROOT / ".lab" / name)


def test_without_root_it_says_so() -> None:
    done = subprocess.run(
        [PYTHON, "-m", "lab", "up"], cwd=ROOT, user=NOBODY, text=True, capture_output=True, check=False
    )
    assert (done.returncode, "needs root" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def test_a_missing_tool_is_named_with_its_remedy(ready_host: None) -> None:
    nspawn = Path("/usr/bin/systemd-nspawn")
    hide = f"mount --bind /dev/null {nspawn} && exec {PYTHON} -m lab --name nowhere up"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hide], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert "missing on this host: systemd-nspawn: run `python3 -m lab setup`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--name", "nowhere", "status"), "there is no lab 'nowhere'"),
        (("--name", "nowhere", "power-off", "up1"), "there is no lab 'nowhere'"),
        (("--name", "nowhere", "inventory"), "there is no lab 'nowhere'"),
        (("--name", "../up", "up"), "cannot name a lab"),
    ],
)
def test_a_lab_that_is_not_there_is_named(arguments: tuple[str, ...], said: str) -> None:
    done = lab(*arguments, check=False)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False)
