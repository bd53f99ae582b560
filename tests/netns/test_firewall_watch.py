# SPDX-License-Identifier: Apache-2.0
"""The watch over the firewall's rules, as its role installs it, in a network namespace of its own."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.firewall import RULES
from tests.netns.world import Namespace, ip, until

SCRIPT = Path(__file__).parents[2] / "roles/tmr_firewall/templates/tmr-firewall-watch.sh.j2"
INSTALLED = "/etc/nftables-tmr.nft"
PATIENCE_S = 60.0


class Watched:
    """A network namespace whose rules the script watches over."""

    def __init__(self, place: Namespace, rules: Path, errors: Path) -> None:
        self._place, self.rules, self.errors = place, rules, errors

    def nft(self, *words: str) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self._place.name, "nft", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    def shown(self) -> str:
        return self.nft("--stateless", "list", "table", "inet", "tmr")

    def left_alone(self) -> bool:
        """Rules that are loaded again get other handles: true if none did for a while."""
        before = self.nft("--handle", "list", "table", "inet", "tmr")
        time.sleep(0.5)
        return before == self.nft("--handle", "list", "table", "inet", "tmr") != ""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    place = Namespace(f"watch-{os.getpid()}")
    rules, script = tmp_path / "tmr.nft", tmp_path / "watch.sh"
    rules.write_text(RULES.replace("PORT", "22351"))
    text = SCRIPT.read_text()
    assert INSTALLED in text
    script.write_text(text.replace(INSTALLED, str(rules)))
    command = ["ip", "netns", "exec", place.name, "bash", str(script)]
    errors = tmp_path / "errors"
    with (
        errors.open("wb") as err,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, start_new_session=True) as process,
    ):
        try:
            found = Watched(place, rules, errors)
            until(lambda: "22351" in found.shown(), "the rules are loaded", PATIENCE_S)
            until(found.left_alone, "the watch knows its rules", PATIENCE_S)
            yield found
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # bash, and the nft that it listens to
            ip("netns", "delete", place.name)


@pytest.mark.parametrize(
    "change",
    [
        "flush ruleset",
        "delete table inet tmr",
        "flush chain inet tmr input",
        "insert rule inet tmr input accept",
    ],
)
def test_rules_come_back_when_another_program_changes_them(watched: Watched, change: str) -> None:
    before = watched.shown()
    for _ in range(3):
        watched.nft(change)
        until(lambda: watched.shown() == before, f"the rules are back after `{change}`", PATIENCE_S)


def test_they_come_back_while_other_rules_change_all_the_time(watched: Watched) -> None:
    before = watched.shown()
    watched.nft("add table inet others; add chain inet others busy")
    watched.nft("delete table inet tmr")

    def back() -> bool:
        watched.nft("add rule inet others busy counter")
        return watched.shown() == before

    until(back, "the rules are back", PATIENCE_S)
    assert "busy" in watched.nft("list table inet others"), "tables of others are left alone"


def test_a_new_file_is_taken_and_a_broken_one_is_not(watched: Watched) -> None:
    watched.rules.write_text(RULES.replace("PORT", "22352"))
    until(lambda: "22352" in watched.shown(), "the new rules are loaded", PATIENCE_S)
    before = watched.shown()
    watched.rules.write_text("table inet tmr {")
    watched.nft("add table inet others")
    assert watched.shown() == before
    watched.rules.write_text(RULES.replace("PORT", "22353"))
    until(lambda: "22353" in watched.shown(), "the repaired rules are loaded", PATIENCE_S)


def test_a_file_that_was_broken_for_a_while_is_loaded_once(watched: Watched) -> None:
    good = watched.rules.read_text()
    watched.rules.write_text("table inet tmr {")
    watched.nft("add table inet others")
    until(lambda: "rror" in watched.errors.read_text(), "the watch has seen the broken file", PATIENCE_S)
    watched.rules.write_text(good)
    watched.nft("delete table inet tmr")
    until(lambda: "22351" in watched.shown(), "the rules are back", PATIENCE_S)
    until(watched.left_alone, "the rules are not loaded again and again", PATIENCE_S)
