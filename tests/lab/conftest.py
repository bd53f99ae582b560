# SPDX-License-Identifier: Apache-2.0
"""One lab for all tests of this directory, under a name of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.command import Lab, lab

NEEDS_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="the lab makes namespaces, mounts and cgroups: run as root"
)
# building the base tree takes a minute or two on a machine that never did
SLOW = pytest.mark.timeout(900)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/lab/" in item.path.as_posix():
            item.add_marker(NEEDS_ROOT)
            item.add_marker(SLOW)


@pytest.fixture(scope="session")
def ready_host() -> None:
    """This host has what a lab needs, the base tree included."""
    lab("setup")
    lab("image")


@pytest.fixture(scope="session")
def running(ready_host: None) -> Iterator[Lab]:
    """A lab that is up. Tests leave it as they found it: all machines on, all cables in."""
    it = Lab(f"test-{os.getpid()}")
    try:
        it("up")
        yield it
    finally:
        it("down")
