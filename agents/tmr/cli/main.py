# SPDX-License-Identifier: Apache-2.0
"""The `tmr` command.

Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no service. `tmr run` ends with the exit code
of its command once that was started; `tmr status` ends with 0 healthy, 1 degraded, 3 down.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Final

import click

from tmr.cli.common import Settings, config_option

COMMANDS: Final = {
    "accept-time": "tmr.cli.accept_time:accept_time",
    "access": "tmr.cli.access:access",
    "borrow": "tmr.cli.borrowing:borrow",
    "borrowed": "tmr.cli.borrowing:borrowed",
    "consume": "tmr.cli.consume:consume",
    "end": "tmr.cli.sessions:end",
    "explain": "tmr.cli.explain:explain",
    "list": "tmr.cli.licences:list_licences",
    "return": "tmr.cli.borrowing:give_back",
    "run": "tmr.cli.run:run",
    "sessions": "tmr.cli.sessions:sessions",
    "status": "tmr.cli.status:status",
    "switchover": "tmr.cli.switchover:switchover",
    "tracking": "tmr.cli.tracking:tracking",
    "trust": "tmr.cli.trust:trust",
    "vendor": "tmr.cli.vendor.commands:vendor",
}
"""Modules of the commands and groups: each is imported when it is called."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no service.",
)
@click.version_option(package_name="tmr", prog_name="tmr")
@config_option
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Licences of a TMR system: see them, hold them, and look after the servers."""
    ctx.ensure_object(Settings).path = config


def main() -> None:
    """Entry point of the `tmr` command."""
    try:
        cli.main(prog_name="tmr")
    except OSError as error:
        if error.filename is not None:
            raise
        # What is left in the buffer cannot be written at the end of the process either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr.write(f"tmr: the output cannot be written: {error.strerror}\n")
        sys.exit(1)
