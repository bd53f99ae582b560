# SPDX-License-Identifier: Apache-2.0
"""A vendor, a licence, and a client that holds it through all tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from licences import FIRM, UNIT, Held, Licence, Products
from machines import SSH_CONFIG, machine_named, names, playbook

from system import heal, tmr, until, vendor


@pytest.fixture(scope="session")
def products() -> Products:
    """A firm is trusted, the containers ask, and one update with every kind of licence is activated."""
    machine_named("client").host.run(f"systemctl stop {UNIT}")  # of an earlier run on the same lab
    heal()
    home = SSH_CONFIG.parent
    firm, vendors, requests = home / "firm", home / "vendors", home / "requests"
    if not firm.exists():
        vendor("init", "--firm", str(FIRM), "--dir", str(firm))
    vendors.mkdir(exist_ok=True)
    shutil.copy(firm / f"{FIRM}.pem", vendors)
    playbook(
        "playbooks/licences/vendors.yml",
        "playbooks/licences/request.yml",
        "-e",
        f"firm_code={FIRM} directory={requests}",
    )
    found = Products(200 + 10 * len(list((firm / "issued").iterdir())))
    items, update = home / f"{found.first}.items.json", home / f"{found.first}.json"
    items.write_text(json.dumps({"item": found.items()}))
    files = [f"--request={requests / f'{name}-{FIRM}.request.json'}" for name in names("upstreams")]
    vendor("issue", f"--dir={firm}", *files, f"--items={items}", f"--out={update}")
    playbook("playbooks/licences/activate.yml", "-e", f"update_file={update}")
    until(lambda: f"{FIRM}:{found.access}" in tmr("list")[1], "the licences are in the virtual container")
    return found


@pytest.fixture(scope="session")
def licence(products: Products) -> Licence:
    """The licence of the story."""
    return Licence(products.story)


@pytest.fixture(autouse=True)
def whole_system(products: Products) -> Iterator[None]:
    """Every test leaves a system that is whole."""
    yield
    heal()


@pytest.fixture
def held(licence: Licence, whole_system: None) -> Held:
    """The session that the client holds: one and the same through all tests, unless one of them loses it."""
    return Held(machine_named("client"), licence)
