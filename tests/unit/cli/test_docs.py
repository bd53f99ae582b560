# SPDX-License-Identifier: Apache-2.0
"""The pages about the command and the client name what the code does, and their examples run."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.unit.cli.conftest import environment
from tests.unit.cli.test_commands import STATUS
from tests.unit.client.peer import Peer
from tmr.api import errors
from tmr.cli import common, main, switchover
from tmr.client import Config, Policy, SessionState, TlsFiles, TmrError

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs/reference/cli.md").read_text()
OPTIONS = (ROOT / "docs/reference/product-item-options.md").read_text()
HOW_TO = (ROOT / "docs/how-to/use-from-an-application.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL)
CONTEXT = click.Context(main.cli)


def section(title: str) -> str:
    """What the reference says below a heading that begins like this."""
    found = re.search(rf"^## {re.escape(title)}(?![\w-]).*?(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[0]


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command of the group, also those in modules of their own and in groups."""
    for name in group.list_commands(CONTEXT):
        command = group.get_command(CONTEXT, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


COMMANDS = dict(commands(main.cli))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_documented(path: tuple[str, ...]) -> None:
    """In the section of its own; what all commands have is explained once."""
    told = section(f"`tmr {path[0]}")
    assert all(re.search(rf"\b{name}\b", told) for name in path)
    told += section("Options of every command")
    if path[0] == "vendor":
        told += OPTIONS
    for parameter in COMMANDS[path].params:
        if isinstance(parameter, click.Option):
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), option


def test_the_groups_were_looked_into() -> None:
    known = {path for path in COMMANDS if len(path) == 2}
    assert {("access", "set"), ("vendor", "issue"), ("tracking", "export")} <= known


def test_every_command_is_introduced() -> None:
    introduction = REFERENCE.partition("## ")[0]
    assert [path[0] for path in COMMANDS if f"`{path[0]}`" not in introduction] == []


def test_exit_codes_are_documented() -> None:
    for code in (0, common.REFUSED, common.USAGE, common.NO_SERVICE):
        assert re.search(rf"^\| {code} \| ", REFERENCE, re.MULTILINE)


def test_every_configuration_key_is_documented() -> None:
    example = re.search(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)
    assert example is not None
    config = Config.model_validate(tomllib.loads(example[1]))
    assert set(Config.model_fields) == config.model_fields_set
    table = [f"tls.{key}" for key in TlsFiles.model_fields] + [k for k in Config.model_fields if k != "tls"]
    assert [key for key in table if f"`{key}`" not in REFERENCE] == []


def test_every_exception_and_state_is_documented() -> None:
    known = [
        each.__name__
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, TmrError) and not each.__name__.startswith("_")
    ]
    assert [name for name in known if f"`{name}`" not in HOW_TO and name != "TmrError"] == []
    assert [name for name in known if name not in str(errors.__doc__)] == []
    assert [state for state in SessionState if f"`{state}`" not in HOW_TO] == []


def test_the_patience_that_is_documented() -> None:
    policy = Policy()
    assert f"| {policy.patience:g} s |" in HOW_TO
    assert f"| {policy.refusal_patience:g} s |" in HOW_TO
    assert f"{policy.first_pause * 1000:g} to {policy.longest_pause * 1000:g} ms" in HOW_TO
    patience = f"{policy.patience:g} for `run`, `consume`, `borrow`, `return`; "
    patience += f"{switchover.SWITCHOVER_TIME:g} for `switchover`, `end`, `access set`; "
    patience += f"else {common.READ_POLICY.patience:g}"
    assert patience in REFERENCE


ITEM = {
    "firm_code": 6000010,
    "product_code": 201,
    "tmr_id": 1,
    "name": "Simulator",
    "quantity": 5,
    "in_use": 1,
    "exclusive": False,
    "expiration": None,
    "feature_map": 0b101,
    "customer": "Works 7",
    "user_data": "AP8=",
    "constituents": [],
}


REFUSABLE = [n for n, text in enumerate(EXAMPLES) if re.search(r"except NoMoreLicences|explain\(", text)]


@pytest.mark.parametrize(
    ("number", "full"),
    [*((number, False) for number in range(len(EXAMPLES))), *((number, True) for number in REFUSABLE)],
)
def test_the_examples_run(peer: Peer, config: Path, tmp_path: Path, number: int, full: bool) -> None:
    """With a free seat; those that say what to do without one also where all are taken."""
    peer.state.status = STATUS
    peer.state.items = {"items": [ITEM], "unavailable": []}
    peer.state.units = 100
    peer.state.others = peer.state.quantity if full else 0
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]],
        env=environment(config, XDG_DATA_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    if full:
        assert re.search(r"\bada\b.*(holds it|$)|^no: 5 of 5 seats", done.stdout, re.MULTILINE)
    assert (peer.state.sessions, peer.state.queue, peer.state.borrowings) == ({}, {}, {})
