# SPDX-License-Identifier: Apache-2.0
"""All cases of size; each is in the report as soon as it is measured, beside those of earlier runs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from bench.scale import catch_up, cost, pauses, report, sessions, takeover
from bench.scale.plan import SHORT, Plan
from testbed.machine import machine
from testbed.report import write

CASES: dict[str, Callable[[Plan, Path, Callable[[str], None]], Any]] = {
    "cost": cost.run,
    "sessions": sessions.run,
    "pauses": pauses.run,
    "takeover": takeover.run,
    "catch-up": catch_up.run,
}
_SIZES = {
    "minutes": (float, "of the case pauses (default 2)"),
    "sessions": (int, "held (default 100,000)"),
    "licences": (int, "of the large system (default 5,000)"),
    "commands": (int, "of a long journal (default 1,000,000)"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this measurement alone."""
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    for name, (kind, what) in _SIZES.items():
        parser.add_argument(f"--{name}", type=kind, help=what)


def run(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Measure the cases that are asked for: what was measured before a later one fails is not lost."""
    given = {name: value for name in _SIZES if (value := getattr(options, name)) is not None}
    if not options.short:
        given |= {"rounds": options.rounds, "seconds": options.seconds}
    plan = msgspec.structs.replace(SHORT if options.short else Plan(), **given)
    path = options.out / "scale.json"
    for case in options.cases:
        with tempfile.TemporaryDirectory(prefix="scale") as directory:
            found = CASES[case](plan, Path(directory), partial(_tell, say, case))
        results = kept(path.read_bytes() if path.exists() else b"", options.short)
        setattr(results, case.replace("-", "_"), found)
        results.runs[case] = machine()
        say(str(write(options.out, "scale", report.describe(results), results)))
    return 0


def _tell(say: Callable[[str], None], case: str, text: str) -> None:
    say(f"{case}: {text}")


def kept(data: bytes, short: bool) -> report.Results:
    """Results of earlier runs of the same kind; empty if they are of another kind or version."""
    try:
        found = msgspec.json.decode(data, type=report.Results)
    except msgspec.MsgspecError:
        found = None
    return found if found is not None and found.short == short else report.Results(short=short)
