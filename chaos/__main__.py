# SPDX-License-Identifier: Apache-2.0
"""`python -m chaos`: a campaign of real faults on the lab; a look at what it wrote down."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos import campaign
from lab import host, lifecycle
from lab.errors import LabError
from lab.names import ROOT, LabNames, state_root
from testbed import deployment, program
from testbed.program import say
from testbed.site import Site

Run = Callable[[argparse.Namespace], int]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="play a campaign, check it, and write its report")
    run.add_argument("--minutes", type=float, default=10.0, help="how long faults strike (default: 10)")
    run.add_argument("--seed", type=int, help="of faults and clients; otherwise a new one, which is printed")
    run.add_argument("--lab", default="chaos", help="name of the lab; made and deployed if it is not there")
    run.add_argument("--keep", action="store_true", help="leave the lab, its faults mended")
    run.add_argument("--directory", type=Path, help="where the records go (default: build/chaos/SEED)")
    run.set_defaults(run=_run)

    for name, does, what in (
        ("check", "prove from a campaign's records that the promises held", _check),
        ("report", "the same, and write report.md and report.html", _report),
    ):
        sub = commands.add_parser(name, help=does)
        sub.add_argument("directory", type=Path, help="where the records of a campaign are")
        sub.set_defaults(run=what)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    host.require_root("make chaos")
    host.require_tools()
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1_000_000)
    directory: Path = arguments.directory or ROOT / "build" / "chaos" / str(seed)
    site = Site(LabNames(arguments.lab, state_root()))
    fresh = not site.names.directory.exists()
    try:
        deployment.ensure(site, say)
        campaign.run(site.names, seed, 60.0 * arguments.minutes, directory, say)
    finally:
        if fresh and not arguments.keep:
            lifecycle.down(site.names)
    return _judge(directory)


def _check(arguments: argparse.Namespace) -> int:
    return _judge(arguments.directory, report=False)


def _report(arguments: argparse.Namespace) -> int:
    return _judge(arguments.directory)


def _judge(directory: Path, *, report: bool = True) -> int:
    """Say what the records prove; 0 when every promise held."""
    from chaos.check import check  # noqa: PLC0415 - what plays a campaign needs no plotting
    from chaos.history import BadRecords  # noqa: PLC0415

    try:
        verdict = check(directory)
    except BadRecords as error:
        raise LabError(str(error)) from None
    if report:
        from chaos.report import write  # noqa: PLC0415

        write(directory, verdict)
        say(f"report: {directory / 'report.md'} and {directory / 'report.html'}")
    for violation in verdict.violations:
        say(f"VIOLATED: {violation}")
    say("every promise held" if verdict.holds else f"{len(verdict.violations)} promises were broken")
    return 0 if verdict.holds else 1


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 0 every promise held; 1 one did not; 2 it could not be played; 130 interrupted."""
    arguments = _parser().parse_args(words)
    run: Run = arguments.run
    return program.run("chaos", lambda: run(arguments), "; the faults are mended")


if __name__ == "__main__":
    sys.exit(main())
