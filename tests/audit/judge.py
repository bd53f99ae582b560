# SPDX-License-Identifier: Apache-2.0
"""The judgement of pip-audit's answer: weaknesses that stand, and packages that nobody looked at."""

import datetime as dt
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec


class Known(msgspec.Struct, frozen=True):
    """A weakness of a locked package. `names`: its id and aliases."""

    package: str
    version: str
    names: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        remedy = f"fixed in {', '.join(self.fixed)}" if self.fixed else "no release without it"
        return f"{self.package} {self.version}: {', '.join(self.names)}; {remedy}"


class Tolerated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weakness that stays until the end of a day, for a reason."""

    id: str
    package: str
    until: dt.date
    reason: str

    def covers(self, known: Known, today: dt.date) -> bool:
        """Whether it is this one, and still the time."""
        return self.id in known.names and self.package == known.package and today <= self.until


class Verdict(msgspec.Struct, frozen=True):
    """`standing`: weaknesses that nothing covers. `unseen`: packages that the source did not tell about."""

    packages: int
    standing: tuple[Known, ...]
    tolerated: tuple[Known, ...]
    unseen: tuple[str, ...]
    outdated: tuple[Tolerated, ...]
    """Exceptions whose day is over, or that cover nothing of what was seen."""


def read_exceptions(path: Path) -> tuple[Tolerated, ...]:
    """The exceptions in the file. Raises ValueError for what is not one, or has no reason."""
    found = msgspec.convert(tomllib.loads(path.read_text()).get("exception", []), tuple[Tolerated, ...])
    for one in found:
        if len(one.reason.strip()) < 10:
            raise ValueError(f"{path}: {one.id} has no reason; say why it may stay")
    return found


def judge(answer: dict[str, Any], exceptions: Sequence[Tolerated], today: dt.date) -> Verdict:
    """`answer`: what `pip-audit --format json` printed."""
    standing, tolerated, unseen = list[Known](), list[Known](), list[str]()
    for one in answer["dependencies"]:
        if "skip_reason" in one:
            unseen.append(one["name"])
        for weakness in one.get("vulns", ()):
            names = (weakness["id"], *weakness.get("aliases", ()))
            known = Known(one["name"], one["version"], names, tuple(weakness.get("fix_versions", ())))
            covered = any(exception.covers(known, today) for exception in exceptions)
            (tolerated if covered else standing).append(known)
    seen = [] if unseen else [e for e in exceptions if not any(e.covers(k, today) for k in tolerated)]
    outdated = tuple(e for e in exceptions if e in seen or e.until < today)
    return Verdict(
        len(answer["dependencies"]), tuple(standing), tuple(tolerated), tuple(sorted(unseen)), outdated
    )
