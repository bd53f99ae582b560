"""One system of processes for all tests of this directory: each begins by making it whole again."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.machines import Machines, logs

log = logging.getLogger(__name__)


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
    """The system; where a test fails, its report shows what the processes said last."""
    failed = request.session.testsfailed
    yield _machines
    if request.session.testsfailed > failed:
        log.error("what the processes said last:\n%s", "\n".join(logs(_machines)))
