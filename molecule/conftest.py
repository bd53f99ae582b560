# SPDX-License-Identifier: Apache-2.0
"""Fixtures from the inventory: tests read what was to be deployed instead of repeating it.

A test that takes `upstream`, `twin`, `client`, `server` (an upstream or a twin) or `machine` runs for each.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from machines import SSH_CONFIG, Machine, machine_named, names

GROUPS = {
    "upstream": ("upstreams",),
    "twin": ("twins",),
    "client": ("clients",),
    "server": ("upstreams", "twins"),
    "machine": ("upstreams", "twins", "clients"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test for each machine of the kind that it asks for."""
    for fixture, groups in GROUPS.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(
                fixture, [pytest.param(machine_named(name), id=name) for name in names(*groups)]
            )


@pytest.fixture
def upstreams() -> list[Machine]:
    """All three."""
    return [machine_named(name) for name in names("upstreams")]


@pytest.fixture
def twins() -> list[Machine]:
    """Both."""
    return [machine_named(name) for name in names("twins")]


@pytest.fixture
def pki() -> Path:
    """Directory of the CA on the controller."""
    return SSH_CONFIG.parent / "pki"


@pytest.fixture
def vip() -> str:
    """The virtual address."""
    address: str = machine_named(names("twins")[0])["tmr_vip_addresses"][0]
    return address
