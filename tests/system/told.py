# SPDX-License-Identifier: Apache-2.0
"""The last words of the daemons, for the report of a failed test."""

import contextlib
import logging
from collections.abc import Iterator

import pytest

from testbed.loopback import Machines, logs

log = logging.getLogger(__name__)


@contextlib.contextmanager
def told(machines: Machines, session: pytest.Session) -> Iterator[None]:
    """If a test fails within, its report shows what the processes said last."""
    failed = session.testsfailed
    yield
    if session.testsfailed > failed:
        log.error("what the processes said last:\n%s", "\n".join(logs(machines)))
