# SPDX-License-Identifier: Apache-2.0
"""Each documented tag of site.yml runs alone, as a dry run."""

import re
from pathlib import Path

import pytest

from tests.unit.inventory.local import ANSIBLE, dry_run, inventory, roles_run
from tests.unit.roles.plugin import ROLES, ROOT

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed beside this Python")

ROLE_TAGS = {path.name.removeprefix("tmr_") for path in ROLES.glob("tmr_*") if (path / "tasks").is_dir()}
# Machines, and the tags of one run on them. No role comes after one that it could borrow something from: each
# runs as if it was alone. A run for each tag would take three times as long.
RUNS = {
    "up1,tmr1,cad": ("time", "client", "packages"),
    "up1,tmr1": ("upstream", "vip"),
    "tmr2": ("server",),
    "up3": ("firewall", "release", "pki", "accounts"),
}


@pytest.mark.parametrize("machines", RUNS)
def test_tags_run_alone(tmp_path: Path, machines: str) -> None:
    done = dry_run(inventory(tmp_path), "site.yml", "--tags", ",".join(RUNS[machines]), "--limit", machines)
    assert done.returncode == 0, done.stdout[-3000:]
    always = {"inventory", "packages", "release", "pki"} | ({"vip"} if "tmr" in machines else set())
    ran = roles_run(done) - {"tmr_operate"}  # of the roles that have a daemon
    assert ran == {f"tmr_{name}" for name in always.union(RUNS[machines])}


def test_each_tag_of_the_page_is_run() -> None:
    page = (ROOT / "docs/reference/roles.md").read_text()
    assert {name.removeprefix("tmr_") for name in re.findall(r"^## (tmr_\w+)$", page, re.M)} == ROLE_TAGS
    # These two have none: they are a part of the playbooks.
    assert {tag for tags in RUNS.values() for tag in tags} == ROLE_TAGS - {"inventory", "operate"}


def test_no_role_uses_what_another_one_found_out() -> None:
    """It would be undefined where the other's tag is not given."""
    files = [path for path in ROLES.glob("tmr_*/**/*") if path.suffix in (".yml", ".j2")]
    used = [
        (path.relative_to(ROLES).parts[0], name)
        for path in files
        for name in re.findall(r"__(tmr_[a-z]+)_\w", path.read_text())
    ]
    assert len(used) > 100
    assert [(role, name) for role, name in used if role != name] == []
