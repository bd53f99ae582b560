# SPDX-License-Identifier: Apache-2.0
"""docs/reference/api.md names every route, metric and problem."""

import re
from pathlib import Path

from tests.support.tmr_system import System
from tmr.api.problems import PROBLEMS

TEXT = (Path(__file__).parents[2] / "docs/reference/api.md").read_text()


def test_every_route_and_metric_is_described(tmp_path: Path) -> None:
    system = System(tmp_path)
    twin = system.twins[0]
    for path, methods in twin.app.openapi()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in TEXT
    metrics = twin.agent.metrics.text(twin.agent.status()).decode()
    for name in re.findall(r"^# TYPE (\S+) (?:gauge|counter)$", metrics, re.MULTILINE):
        if not name.endswith("_created"):
            assert f"`{name}" in TEXT, name
    for one in system.twins:
        one.vip.stop()


def test_every_problem_is_described() -> None:
    for problem in PROBLEMS.values():
        code = "" if problem.code is None else str(problem.code)
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{problem.slug}`"))
        status, documented = (cell.strip() for cell in row.split("|")[2:4])
        assert status.split(",")[0] == str(problem.status)
        assert documented == code
