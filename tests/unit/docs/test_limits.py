# SPDX-License-Identifier: Apache-2.0
"""docs/reference/limits.md says what the code says, and forgets no limit."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from tmr.api.problems import PROBLEMS
from tmr.http.load_limits import HYSTERESIS, LIMITS, Load, Priority

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/reference/limits.md").read_text()
AGENTS = ROOT / "agents"
UNITS = {
    "": 1, "characters": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "s": 1, "days": 86_400,
}  # fmt: skip
ROW = re.compile(r"^\|([^|]*)\| ([\d,.]+) ?([A-Za-z]*) \|([^|]*)\| `(tmr\.[\w.]+)` \|$", re.MULTILINE)
ROWS = [(name, number, unit, past) for _, number, unit, past, name in ROW.findall(TEXT)]
NO_LIMITS = {
    "tmr.http.load_limits.LIMITS",  # the table of loads
    "tmr.service.guard.LIMIT_RETRY_AFTER",
    # of a single number, name or file that is read, and said where it is read
    "tmr.licensing.spelling.YEAR_MAX",
    "tmr.cli.tracking.KEY_MAX",
    "tmr.api.fields.CODE_MAX",
    "tmr.ledger.access.SEATS_MAX",
    "tmr.ledger.export.ATTESTATION_MAX",
    "tmr.ledger.export.END_MAX",
    "tmr.ledger.export.LINE_MAX",
    "tmr.licensing.spelling.TIME_MS_MAX",
    "tmr.licensing.borrow_file.FILE_MAX",
    "tmr.licensing.options.CODE_MAX",
    "tmr.licensing.options.EXPIRATION_MS_MAX",
    "tmr.licensing.serial.NUMBER_MAX",
    "tmr.licensing.statement.COUNT_MAX",
    "tmr.licensing.strict_json.DIGITS_MAX",
    # of a configuration, said where it is described
    "tmr.twin.config.TTL_MAX",
    "tmr.upstream.config.DISK_RESERVE_MAX",
    "tmr.upstream.config.TTL_MAX",
    # pauses, and lines between the daemons of one machine
    "tmr.twin.container_sync.PAUSE_MAX",
    "tmr.twin.borrow_files.PAUSE_MAX",
    "tmr.vip.protocol.LINE_LIMIT",
}


def constant(name: str) -> float:
    module, _, attribute = name.rpartition(".")
    return float(getattr(importlib.import_module(module), attribute))


@pytest.mark.parametrize(("name", "number", "unit", "past"), ROWS, ids=[row[0] for row in ROWS])
def test_a_limit_is_what_the_code_has(name: str, number: str, unit: str, past: str) -> None:
    told = float(number.replace(",", ""))
    in_days = unit == "days" and not name.endswith("_DAYS_MAX")
    value = told * (UNITS[unit] if unit != "days" or in_days else 1)
    assert value * (1000 if name.endswith("_MS") else 1) == constant(name)
    for status, slug in re.findall(r"(\d{3}) `([a-z-]+)`", past):
        known = {PROBLEMS[slug].status} | ({408, 413} if slug == "bad-request" else set())
        assert int(status) in known
    for code in re.findall(r"\((\d{3})\)", past):
        assert int(code) in {problem.code for problem in PROBLEMS.values()}


def test_no_limit_is_forgotten() -> None:
    named = set(re.findall(r"`(tmr\.[\w.]+)`", TEXT))
    found = set()
    for path in AGENTS.rglob("*.py"):
        module = ".".join(path.relative_to(AGENTS).with_suffix("").parts)
        if (
            module.startswith(("tmr.net.", "tmr.runtime.", "tmr.rpc."))
            and module != "tmr.rpc.upstream_client"
        ):
            continue  # connections and heads of requests
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            target = node.target if isinstance(node, ast.AnnAssign) else next(iter(targets), None)
            if isinstance(target, ast.Name) and re.search(r"(^|[A-Z]_)(MAX|LIMITS?|BACKLOG)(_|$)", target.id):
                found.add(f"{module}.{target.id}")
    assert {name for name in found - named - NO_LIMITS if "._" not in name} == set()
    assert NO_LIMITS - found == set(), "no longer there"
    assert {row[0] for row in ROWS} == named, "each is in a table, in the form that is checked"


@pytest.mark.parametrize("priority", Priority)
def test_the_table_of_loads(priority: Priority) -> None:
    (row,) = re.findall(rf"^\| `{priority}` \|(.*)\|$", TEXT, re.MULTILINE)
    numbers = [cell.strip().removesuffix(" s").replace(",", "") for cell in row.split("|")]
    if priority not in LIMITS:
        assert numbers == [""] * 4
    else:
        in_work, waiting, oldest, lag = map(float, numbers)
        assert Load(int(in_work), int(waiting), oldest, lag) == LIMITS[priority]
    assert HYSTERESIS == 0.75, "three quarters"


def test_open_files_are_what_the_units_allow() -> None:
    units = "".join(path.read_text() for path in (ROOT / "roles").glob("*/templates/*.service.j2"))
    for number in re.findall(r"\d+", " ".join(re.findall(r"^LimitNOFILE=(.*)$", units, re.MULTILINE))):
        assert f"{int(number):,}" in TEXT
