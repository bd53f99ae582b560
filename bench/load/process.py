# SPDX-License-Identifier: Apache-2.0
"""Load processes as their starter has them."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from bench.load.job import Job

T = TypeVar("T")

GRACE = 30.0
"""Seconds that a load may take to end."""


class Load:
    """`python -m bench.load JOB`: hear what it says, tell it to end. A context: then it is gone."""

    def __init__(self, job: Job) -> None:
        self.case = job.case
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load", msgspec.json.encode(job).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def hear(self, kind: type[T]) -> T:
        """Next line of its output. Raises RuntimeError where it has ended instead."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load {self.case} ended with status {self._process.wait(GRACE)}")
        return msgspec.json.decode(line, type=kind)

    def end(self, kind: type[T]) -> T:
        """Tell it to end; what it says of its run."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        found = self.hear(kind)
        self._process.wait(GRACE)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(GRACE)
