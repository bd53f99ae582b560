# SPDX-License-Identifier: Apache-2.0
"""Locks on directories, released by the kernel when their holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.errors import LabError


@contextmanager
def locked(directory: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on `directory`, which must exist; LabError when it was removed while waiting."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LabError(f"{directory} is gone: was the lab taken down meanwhile?") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if not directory.exists() or os.fstat(descriptor).st_ino != directory.stat().st_ino:
            raise LabError(f"{directory} was removed meanwhile: try again")
        yield
    finally:
        os.close(descriptor)
