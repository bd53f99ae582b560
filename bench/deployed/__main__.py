"""`python -m bench.deployed`: a lab of its own, TMR and keepalived on it, figures into `build/bench`.

Needs root. The lab `bench` is removed at the end, whatever happens; one that an earlier run left goes first.
`--short` measures each of the cheapest events once: to see that it works, not to judge.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
from pathlib import Path

import msgspec

from bench.deployed import picture, report
from bench.deployed.conduct import Run
from bench.deployed.figures import Figures
from bench.deployed.stand import Stand
from lab import host
from lab.errors import LabError
from lab.names import LabNames, state_root
from testbed.steps import StepFailed
from tmr.client import TmrError


def main() -> int:
    """Exit status: 0 everything was measured; 1 something was not; 2 it ended early; 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m bench.deployed", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one round of the cheapest events")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    host.prepare_environment()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the lab goes
    options.out.mkdir(parents=True, exist_ok=True)
    figures = Figures(_machine(), 1 if options.short else options.rounds)
    try:
        host.require_root("python -m bench.deployed")
        host.require_tools()
        stand = Stand(LabNames("bench", state_root()), _say)
        try:
            Run(stand, figures, options.out, short=options.short).play()
        finally:
            stand.close()
    except (LabError, StepFailed, TmrError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; the lab is gone", file=sys.stderr)
        return 130
    finally:
        _write(figures, options.out)
    return 1 if figures.missing else 0


def _write(figures: Figures, directory: Path) -> None:
    (directory / "deployed.json").write_bytes(msgspec.json.format(msgspec.json.encode(figures)))
    (directory / "deployed.md").write_text(report.markdown(figures))
    picture.write(figures, directory / "deployed.svg")
    _say(str(directory / "deployed.md"))


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} processors, {memory:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}"
    )


if __name__ == "__main__":
    sys.exit(main())
