# SPDX-License-Identifier: Apache-2.0
"""Looks the locked packages up among known weaknesses (docs/decisions/0015-dependency-audit.md).

Exit status: 0 none that is not in exceptions.toml; 1 there are some; 3 packages could not be looked up, where
`AUDIT=required` demands that they are. Without that, not being able to look is told, and no failure.
"""

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tests.audit.judge import Verdict, judge, read_exceptions

ROOT: Final = Path(__file__).parents[2]
EXCEPTIONS: Final = Path(__file__).with_name("exceptions.toml")
SOURCES: Final = ("pypi", "osv")
"""pip-audit's sources of advisories, in the order in which they are asked."""


def locked() -> str:
    """Every package of the lock file, of all groups, as requirements."""
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    command = [uv, "export", "--frozen", "--all-groups", "--no-emit-project", "--no-hashes", "--quiet"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def ask(source: str, requirements: Path) -> dict[str, Any] | None:
    """What pip-audit says; None where it could not ask the source at all."""
    command = [
        *(sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps"),
        *(
            "--disable-pip",
            "--format",
            "json",
            "--progress-spinner",
            "off",
            "--vulnerability-service",
            source,
        ),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) and answer.get("dependencies") else None


def look() -> Verdict | None:
    """The verdict by the source that tells about most packages; None: no source could be asked."""
    exceptions, today = read_exceptions(EXCEPTIONS), dt.datetime.now(dt.UTC).date()
    verdicts = []
    with tempfile.TemporaryDirectory() as directory:
        requirements = Path(directory) / "requirements.txt"
        requirements.write_text(locked())
        for source in SOURCES:
            answer = ask(source, requirements)
            if answer is not None:
                verdicts.append(judge(answer, exceptions, today))
                if not verdicts[-1].unseen:
                    break
    # A weakness that any source knows counts, however little else it tells.
    return min(verdicts, key=lambda one: (not one.standing, len(one.unseen)), default=None)


def main() -> int:
    """The command."""
    verdict = look()
    if verdict is not None:
        for known in verdict.tolerated:
            print(f"tolerated: {known}")
        for exception in verdict.outdated:
            print(f"{EXCEPTIONS.name}: {exception.id} of {exception.package} covers nothing; remove it")
        for known in verdict.standing:
            print(f"KNOWN WEAKNESS: {known}")
        print(f"{verdict.packages - len(verdict.unseen)} of {verdict.packages} locked packages looked up")
        if verdict.standing:
            print(f"Update them (uv lock --upgrade-package NAME), or say why not in {EXCEPTIONS}.")
            return 1
    if verdict is None or verdict.unseen:
        required = os.environ.get("AUDIT") == "required"
        what = "the locked packages" if verdict is None else f"{len(verdict.unseen)} locked packages"
        print(
            f"{'*' * 100}\nNOT AUDITED: {what} could not be looked up: the "
            f"sources of advisories ({', '.join(SOURCES)}) cannot be reached from here.\nThis says nothing "
            f"about weaknesses. Run `make audit` where the internet is reachable, with AUDIT=required to "
            f"insist.\n{'*' * 100}"
        )
        return 3 if required else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
