# SPDX-License-Identifier: Apache-2.0
"""A known weakness fails the audit unless a reason stands for it in time; not having looked is no success."""

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from tests.audit.__main__ import EXCEPTIONS, locked
from tests.audit.judge import Tolerated, judge, read_exceptions

TODAY = dt.date(2026, 11, 25)
WEAK = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1", "GHSA-aaaa"], "fix_versions": ["2.0"]}


def answer(*, skipped: bool = False) -> dict[str, Any]:
    """As pip-audit 2.10 writes it."""
    found: list[dict[str, Any]] = [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "weak", "version": "1.9", "vulns": [WEAK]},
    ]
    if skipped:
        found.append({"name": "new", "skip_reason": "Dependency not found on PyPI and could not be audited"})
    return {"dependencies": found, "fixes": []}


def tolerated(**values: Any) -> Tolerated:
    fields = {"id": "CVE-2026-1", "package": "weak", "until": TODAY, "reason": "the weak part is not used"}
    return Tolerated(**{**fields, **values})


def test_a_known_weakness_stands() -> None:
    verdict = judge(answer(), (), TODAY)
    (standing,) = verdict.standing
    assert str(standing) == "weak 1.9: PYSEC-2026-1, CVE-2026-1, GHSA-aaaa; fixed in 2.0"


def test_it_is_tolerated_by_any_of_its_names_until_its_day() -> None:
    for name in ("PYSEC-2026-1", "CVE-2026-1", "GHSA-aaaa"):
        verdict = judge(answer(), (tolerated(id=name),), TODAY)
        assert (len(verdict.standing), len(verdict.tolerated), verdict.outdated) == (0, 1, ())


@pytest.mark.parametrize(
    "other", [{"until": TODAY - dt.timedelta(days=1)}, {"package": "good"}, {"id": "CVE-2026-2"}]
)
def test_an_exception_for_something_else_or_too_late_covers_nothing(other: dict[str, Any]) -> None:
    verdict = judge(answer(), (tolerated(**other),), TODAY)
    assert len(verdict.standing) == 1
    assert len(verdict.outdated) == 1


def test_what_was_not_looked_up_is_told_and_ends_no_exception() -> None:
    verdict = judge(answer(skipped=True), (tolerated(id="CVE-2026-9"),), TODAY)
    assert verdict.unseen == ("new",)
    assert verdict.outdated == ()


def test_the_exceptions_of_this_project_have_reasons() -> None:
    read_exceptions(EXCEPTIONS)


def test_an_exception_without_a_reason_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "exceptions.toml"
    file.write_text('[[exception]]\nid = "X"\npackage = "y"\nuntil = 2027-01-01\nreason = ""\n')
    with pytest.raises(ValueError, match="has no reason"):
        read_exceptions(file)


def test_all_that_is_locked_is_looked_up() -> None:
    names = {line.split("==")[0] for line in locked().splitlines() if "==" in line}
    assert {"fastapi", "cryptography", "pytest", "ansible-core", "mkdocs-material"} <= names
    assert "tmr" not in names
