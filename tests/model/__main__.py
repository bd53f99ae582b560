# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.model`: install spin, or search what takes too long for every test."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.model.search import explore, install_tools
from tests.model.searches import CLAIMS, DEEP


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--install", action="store_true", help="only install what is missing of spin and gcc")
    if parser.parse_args().install:
        if installed := install_tools():
            print(f"installed: {' '.join(installed)}")
        return 0
    broken = 0
    for search in (*CLAIMS, *DEEP):
        with tempfile.TemporaryDirectory(prefix="tmr-model-") as where:
            found = explore(search, Path(where), optimise=2)
        figures = (found.states, found.depth, round(found.memory_mib), round(found.seconds))
        print(f"| `{search}` | {' | '.join(f'{figure:,}' for figure in figures)} |", flush=True)
        if found.errors or not found.complete:
            broken += 1
            print(found.story)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
