"""A file that is as it should be is left alone, and no other."""

import hashlib
import re
from typing import Any

import pytest
import yaml

from .plugin import ROLES, ROOT, load

same = load("tmr_look/test_plugins/tmr_look.py").same
TEXT = "one = 1\n"
FILE = {
    "path": "/etc/tmr/a.toml",
    "checksum": hashlib.sha1(TEXT.encode(), usedforsecurity=False).hexdigest(),
    "mode": "0644",
    "pw_name": "root",
    "gr_name": "root",
}


def test_the_same_file_is_the_same() -> None:
    assert same({"files": [{**FILE, "path": "/etc/tmr/b.toml"}, FILE]}, "/etc/tmr/a.toml", TEXT)


@pytest.mark.parametrize(
    "other",
    [
        {"path": "/etc/tmr/b.toml"},
        {"checksum": "0"},
        {"mode": "0600"},
        {"pw_name": "tmr"},
        {"gr_name": "tmr"},
    ],
)
def test_any_difference_counts(other: dict[str, str]) -> None:
    assert not same({"files": [{**FILE, **other}]}, "/etc/tmr/a.toml", TEXT)
    assert not same({"files": [FILE]}, "/etc/tmr/a.toml", TEXT + "\n")


def test_nothing_was_seen() -> None:
    assert not same({}, "/etc/tmr/a.toml", TEXT)


def tasks() -> list[dict[str, Any]]:
    paths = sorted(ROLES.glob("*/tasks/*.yml"))
    return [task for path in paths for task in yaml.safe_load(path.read_text())]


def test_what_is_compared_is_what_is_written_and_looked_at() -> None:
    looked_at = yaml.safe_load((ROLES / "tmr_look/defaults/main.yml").read_text())["tmr_look_files"]
    compared = []
    for task in tasks():
        found = re.search(r"tmr_look_same\('([^']+)', lookup\('[a-z.]+', ([^)]+)\)\)", str(task.get("when")))
        if found is None:
            continue
        written = task.get("ansible.builtin.template") or task["ansible.builtin.copy"]
        assert written["dest"] == found[1], task["name"]
        assert (written["owner"], written["group"], written["mode"]) == ("root", "root", "0644"), task["name"]
        assert written["src"] in (found[2].strip("'"), "{{ tmr_pki_dir }}/crl.pem"), task["name"]
        compared.append(found[1])
    assert sorted(compared) == looked_at


def test_machines_are_looked_at_before_they_get_certificates() -> None:
    """The role of the certificates does not depend on the look: it also makes the CA, which needs none."""
    for path in (ROOT / "ansible/playbooks").rglob("*.yml"):
        for play in yaml.safe_load(path.read_text()):
            roles = [role["role"] if isinstance(role, dict) else role for role in play.get("roles", ())]
            if "tmr_pki" in roles:
                assert "tmr_look" in roles[: roles.index("tmr_pki")], path.name
