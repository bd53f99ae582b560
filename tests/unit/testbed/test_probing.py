# SPDX-License-Identifier: Apache-2.0
"""The prober connects, and what it writes is read as it comes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.names import ROOT
from testbed.pauses import Attempt
from testbed.probing import Probing
from testbed.steps import StepFailed, wait_for


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "attempts"
    path.touch()
    return path


@pytest.fixture
def probing(log: Path) -> Iterator[Probing]:
    """Of a process that writes nothing: the test does."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    it = Probing(process, log)
    yield it
    it.close()
    assert process.stdin is not None
    process.stdin.close()


def test_a_line_is_read_when_it_is_whole(log: Path, probing: Probing) -> None:
    found = []
    with log.open("a") as file:
        for text in ("1 2 ok\n3 4 ETIM", "EDOUT", "\n5 6 ok\n", "7"):
            file.write(text)
            file.flush()
            found.append(len(probing.attempts))
    assert found == [1, 1, 3, 3]
    assert probing.attempts == [Attempt(1, 2, "ok"), Attempt(3, 4, "ETIMEDOUT"), Attempt(5, 6, "ok")]


def test_a_prober_that_has_ended_answers_nobody(log: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    it = Probing(process, log)
    with pytest.raises(StepFailed, match="ended with 3"):
        it.answered_since(0)
    it.close()


def test_the_prober_tells_a_listener_from_none(log: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, log.open("wb") as written:
        port = str(listener.getsockname()[1])
        command = [sys.executable, "-m", "testbed.tcp_prober", "127.0.0.1", port]
        it = Probing(subprocess.Popen(command, cwd=ROOT, stdout=written), log)
        try:
            wait_for(lambda: "" if it.attempts else "nothing", 30, "an attempt")
            assert it.attempts[0].outcome == "ok"
            listener.close()

            def lacks() -> str:
                return "" if it.attempts[-1].outcome == "ECONNREFUSED" else it.attempts[-1].outcome

            wait_for(lacks, 30, "nobody listens")
        finally:
            it.close()
