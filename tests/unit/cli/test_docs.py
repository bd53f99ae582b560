"""The pages about the command and the client name what the code does, and their examples run."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from tests.unit.cli.conftest import environment
from tests.unit.cli.test_commands import STATUS
from tests.unit.client.peer import Peer
from tmr.cli import common, main
from tmr.client import Config, Policy, SessionState, TlsFiles, TmrError, problems

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs/reference/cli.md").read_text()
HOW_TO = (ROOT / "docs/how-to/use-from-an-application.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL)
COMMANDS = sorted(main.cli.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    assert f"## `tmr {name}" in REFERENCE
    for parameter in main.cli.commands[name].params:
        if isinstance(parameter, click.Option):
            assert all(f"`{option}" in REFERENCE for option in parameter.opts)


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
        for each in vars(problems).values()
        if isinstance(each, type) and issubclass(each, TmrError) and not each.__name__.startswith("_")
    ]
    assert [name for name in known if f"`{name}`" not in HOW_TO and name != "TmrError"] == []
    assert [name for name in known if name not in str(problems.__doc__)] == []
    assert [state for state in SessionState if f"`{state}`" not in HOW_TO] == []


def test_the_patience_that_is_documented() -> None:
    policy = Policy()
    assert f"| {policy.patience:g} s |" in HOW_TO
    assert f"| {policy.refusal_patience:g} s |" in HOW_TO
    assert f"{policy.first_pause * 1000:g} to {policy.longest_pause * 1000:g} ms" in HOW_TO
    patience = f"{policy.patience:g} for `run`, {main.SWITCHOVER_TIME:g} for `switchover`, "
    assert f"{patience}else {common.LOOK.patience:g}" in REFERENCE


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(peer: Peer, config: Path, number: int) -> None:
    peer.state.status = STATUS
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EXAMPLES[number]],
        env=environment(config),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert peer.state.sessions == {}
