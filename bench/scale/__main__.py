"""`python -m bench.scale`: what depends on size, and the report into `build/bench`.

`--short` takes small sizes and one round: to see that it works, not to judge. Cases measured earlier stay in
the report.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bench.scale import catch_up, cost, pauses, report, sessions, takeover
from bench.scale.plan import SHORT, Plan
from testbed.machine import machine

CASES: dict[str, Callable[[Plan, Path, Callable[[str], None]], Any]] = {
    "cost": cost.run,
    "sessions": sessions.run,
    "pauses": pauses.run,
    "takeover": takeover.run,
    "catch-up": catch_up.run,
}


def main() -> int:
    """Exit status 0 where everything was measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--short", action="store_true", help="small sizes, one round")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--minutes", type=float, help="of the case pauses (default 2)")
    parser.add_argument("--sessions", type=int, help="held (default 100,000)")
    parser.add_argument("--licences", type=int, help="of the large system (default 5,000)")
    parser.add_argument("--commands", type=int, help="of a long journal (default 1,000,000)")
    options = parser.parse_args()
    given = {
        name: value
        for name in ("minutes", "sessions", "licences", "commands")
        if (value := getattr(options, name)) is not None
    }
    plan = msgspec.structs.replace(SHORT if options.short else Plan(), **given)
    options.out.mkdir(parents=True, exist_ok=True)
    for case in options.cases:
        with tempfile.TemporaryDirectory(prefix="scale") as directory:
            found = CASES[case](plan, Path(directory), lambda text, case=case: _tell(case, text))  # type: ignore[misc]
        _keep(options.out, options.short, case, found)
    sys.stdout.write(f"{options.out / 'scale.md'}\n")
    return 0


def _tell(case: str, text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {case}: {text}\n")
    sys.stdout.flush()


def _keep(directory: Path, short: bool, case: str, found: object) -> None:
    """Write the report anew, with this case: what was measured before a later one fails is not lost."""
    path = directory / "scale.json"
    results = kept(path.read_bytes() if path.exists() else b"", short)
    setattr(results, case.replace("-", "_"), found)
    results.runs[case] = machine()
    path.write_bytes(msgspec.json.encode(results))
    report.pictures(results, directory)
    (directory / "scale.md").write_text(report.markdown(results))


def kept(data: bytes, short: bool) -> report.Results:
    """What earlier runs of the same kind left; nothing where it is of another kind or version."""
    try:
        found = msgspec.json.decode(data, type=report.Results)
    except msgspec.MsgspecError:
        found = None
    return found if found is not None and found.short == short else report.Results(short=short)


if __name__ == "__main__":
    sys.exit(main())
