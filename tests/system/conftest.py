# SPDX-License-Identifier: Apache-2.0
"""One system of processes for all tests of this directory: each begins by making it whole again."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.loopback import Machines
from tests.system.told import told


@pytest.fixture(scope="session")
def _machines() -> Iterator[Machines]:
    directory = Path(tempfile.mkdtemp(prefix="tmr-"))  # short: Unix sockets have at most 107 characters
    machines = Machines(directory)
    try:
        machines.start()
        yield machines
    finally:
        machines.stop()
        shutil.rmtree(directory)


@pytest.fixture
def machines(_machines: Machines, request: pytest.FixtureRequest) -> Iterator[Machines]:
    """The system."""
    with told(_machines, request.session):
        yield _machines
