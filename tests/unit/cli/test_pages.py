# SPDX-License-Identifier: Apache-2.0
"""The how-to pages about access, borrowing, units and the queue show what the command prints."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import msgspec
import pytest

from tests.unit.cli.conftest import Tmr
from tests.unit.cli.test_docs import COMMANDS
from tests.unit.client.peer import Peer
from tmr.cli import main
from tmr.ledger import AccessList as Rules
from tmr.ledger import mistakes
from tmr.ledger.access import Subject, verdict
from tmr.licensing import LicenceKey

HOW_TO = Path(__file__).parents[3] / "docs/how-to"
ACCESS = (HOW_TO / "access-list.md").read_text()
PAGES = ("access-list.md", "borrow.md", "units-queue-emergency.md")
TOML = re.search(r"```toml\n(.*?)```", ACCESS, re.DOTALL)
assert TOML is not None
LIST = tomllib.loads(TOML[1])


def test_the_example_list_is_put_into_force(tmr: Tmr, peer: Peer, tmp_path: Path) -> None:
    """The commands of the page, one after the other, print what the page says."""
    assert TOML is not None
    (tmp_path / "access.toml").write_text(TOML[1])
    block = re.search(r"```console\n(\$ tmr access check.*?)```", ACCESS, re.DOTALL)
    assert block is not None
    for command, told in re.findall(r"\$ tmr (.*)\n((?:(?!\$ ).*\n)*)", block[1]):
        arguments = [str(tmp_path / each) if each == "access.toml" else each for each in shlex.split(command)]
        answer = tmr(*arguments)
        assert answer.stdout.replace(f"{tmp_path}/", "") == told
        assert answer.returncode == 0
    assert len(peer.state.access.rules) == 4


def test_the_example_list_has_no_mistake() -> None:
    assert mistakes(msgspec.convert(LIST, Rules)) == []


@pytest.mark.parametrize(
    ("user", "address", "product", "allowed", "rule"),
    [
        ("x", "10.9.3.1", 201, False, "no-contractors"),
        ("x", "10.1.4.7", 201, True, "our-works"),
        ("anna", "10.7.0.1", 201, True, "our-works"),
        ("eve", "10.7.0.1", 201, False, "our-works"),
        ("eve", "10.7.0.1", 202, True, ""),
    ],
)
def test_which_rule_decides(user: str, address: str, product: int, allowed: bool, rule: str) -> None:
    """Each row of the page's table."""
    rules = msgspec.convert(LIST, Rules)
    found = verdict(rules, LicenceKey(6000010, product, 1), Subject(user, "pc-7", "alice", address))
    assert (found.allowed, found.rule) == (allowed, rule)
    who = f"`{user}` from {address}" if user != "x" else f"from {address}"
    rows = [line for line in ACCESS.splitlines() if line.startswith(f"| {who}")]
    (row,) = [line for line in rows if (product == 202) == ("202" in line)]
    assert ("refused" not in row) == allowed
    assert not rule or f"`{rule}`" in row


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_pages_is_understood(page: str) -> None:
    """Only its arguments are parsed: names of options and how values are written."""
    text = (HOW_TO / page).read_text()
    blocks = re.findall(r"^ *```(?:console|sh)\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.findall(r"^(?:\$ )?(tmr .*)$", block, re.MULTILINE)]
    assert lines
    for line in lines:
        words = shlex.split(line.replace("$JOB_ID", "4711"))[1:]
        path = tuple(words[:2]) if tuple(words[:2]) in COMMANDS else (words[0],)
        command = COMMANDS[path]
        command.make_context(" ".join(path), words[len(path) :], parent=click.Context(main.cli))
