# SPDX-License-Identifier: Apache-2.0
"""`tmr-upstream --config FILE`: run the upstream; with a command, talk to the one that runs."""

import argparse
import importlib
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from tmr.api.deployment import DeploymentName
from tmr.runtime import running
from tmr.runtime.config import ConfigError
from tmr.runtime.logs import complain
from tmr.upstream import admin, config

ROOTS: Final[dict[DeploymentName, str]] = {
    "tmr": "tmr.daemons.upstream_replica",
    "network": "tmr.daemons.network_server",
}
"""Composition root of each deployment: a module with `run(settings)`."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 refused or failed, 2 it cannot start now, 3 not with this store."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options.config) if options.command is None else _command(options)
    except ConfigError as error:
        return _complain(str(error), 2)
    except admin.CommandFailed as error:
        return _complain(str(error), 1)


def _complain(text: str, code: int) -> int:
    complain("tmr-upstream", text)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tmr-upstream", description="One upstream of a TMR system. Without a command: run it."
    )
    parser.add_argument("--version", action="version", version=f"tmr-upstream {version('tmr')}")
    parser.add_argument("--config", type=Path, default=config.DEFAULT, help="TOML file (%(default)s)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    request = commands.add_parser("request", help="print the container's request file for one firm")
    request.add_argument("--firm", type=int, required=True, metavar="FIRMCODE", help="the vendor's Firm Code")
    activate = commands.add_parser("activate", help="activate a vendor's update file")
    activate.add_argument("file", type=Path, metavar="FILE")
    show = commands.add_parser("status", help="show how the upstream is")
    show.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("renew", help="give up the journal, keep the container; tmr-upstream must be stopped")
    return parser


def _command(options: argparse.Namespace) -> int:
    if options.command == "renew":
        return _renew(options.config)
    socket = Path(config.parse(options.config).admin_socket)
    match options.command:
        case "request":
            text = admin.request(socket, options.firm).decode()
        case "activate":
            text = admin.describe_activation(admin.activate(socket, options.file))
        case _:
            found = admin.status(socket)
            text = msgspec.json.encode(found).decode() if options.json else admin.describe_status(found)
    sys.stdout.write(f"{text}\n")
    return 0


def _renew(path: Path) -> int:
    from tmr.upstream.fingerprint import NoFingerprint  # noqa: PLC0415
    from tmr.upstream.renewal import renew  # noqa: PLC0415
    from tmr.upstream.store_errors import StoreError  # noqa: PLC0415

    try:
        told = renew(config.parse(path))
    except (StoreError, NoFingerprint) as error:
        return _complain(str(error), 1)
    sys.stdout.write(f"{told}\n")
    return 0


def _run(path: Path) -> int:
    running.describe(path)
    settings = config.read(path)
    # Not at the top: a command needs none of the server, and would take ten times as long to start.
    from tmr.net.server import CannotListen  # noqa: PLC0415
    from tmr.upstream.fingerprint import NoFingerprint  # noqa: PLC0415
    from tmr.upstream.store_errors import StoreError  # noqa: PLC0415

    try:
        importlib.import_module(ROOTS[settings.mode]).run(settings)
    except StoreError as error:
        return _complain(str(error), 3 if error.lasting else 2)
    except (CannotListen, NoFingerprint) as error:
        return _complain(str(error), 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
