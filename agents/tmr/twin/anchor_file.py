# SPDX-License-Identifier: Apache-2.0
"""Anchor of this twin on its own disk: read at the start, replaced as a whole now and then.

Losing the file, or the last second of it, loses no licence: it only lets an older majority go unnoticed.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tmr.files import sync_directory
from tmr.quorum.anchor import Anchor
from tmr.runtime.logs import fields

log = logging.getLogger(__name__)

KEEP_EVERY: Final = 1.0
"""Seconds between two writes, at least: what was committed after the last one may go unnoticed."""
NAME: Final = "anchor"
_SUM: Final = hashlib.sha256().digest_size


class AnchorDocument(msgspec.Struct, frozen=True):
    """Contents of the file."""

    anchor: Anchor
    spent: dict[str, int] = {}
    """Licence → units taken of it up to the anchor, to tell an operator what a shorter journal has lost."""
    used_up: int = 0
    """Epoch: entries that operators gave up may be of it, or older. This twin's terms are newer. 0: none."""


_decoder: Final = msgspec.msgpack.Decoder(AnchorDocument)


class AnchorFile:
    """The file `anchor` in `directory`. `problem`: why it could not be read or written, for an alarm."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self.problem = ""

    def read(self) -> AnchorDocument | None:
        """Contents of the file; None if there is none, or none that can be read."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._failed("read", str(error))
            return None
        body = content[_SUM:]
        try:
            if hashlib.sha256(body).digest() != content[:_SUM]:
                raise ValueError("its checksum is another")
            return _decoder.decode(body)
        except (ValueError, msgspec.MsgspecError) as error:
            self._failed("read", str(error))
            return None

    def write(self, kept: AnchorDocument) -> None:
        """Replace the file, synced: after a power cut it is the old one or the new one."""
        body = msgspec.msgpack.encode(kept)
        fresh = self._path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                if os.geteuid() == 0:  # an operator's command: the daemon must be able to read it
                    owner = self._path.parent.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                file.write(hashlib.sha256(body).digest() + body)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            self._failed("written", str(error))
        else:
            self.problem = ""

    def remove(self) -> None:
        """Forget what was kept, synced."""
        try:
            self._path.unlink(missing_ok=True)
            sync_directory(self._path.parent)
        except OSError as error:
            self._failed("removed", str(error))
        else:
            self.problem = ""

    def _failed(self, what: str, why: str) -> None:
        problem = (
            f"{self._path} cannot be {what} ({why}): until it can, an old copy that was put back on two "
            "upstreams may go unnoticed. Look at the disk and the rights of that directory"
        )
        if problem != self.problem:
            log.error("anchor not kept", extra=fields(path=str(self._path), error=why))
        self.problem = problem


class AnchorWriter:
    """Writes the anchor when it has changed, in a thread: a slow disk must not delay the twin."""

    def __init__(
        self, file: AnchorFile, current: Callable[[], AnchorDocument | None], written: Anchor | None
    ) -> None:
        self._file = file
        self._current = current
        self._written = written
        self._at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def poke(self, now: float) -> None:
        """Write, if the last time was long enough ago. Call in the event loop."""
        if now - self._at < KEEP_EVERY or (self._task is not None and not self._task.done()):
            return
        self._at = now
        kept = self._current()
        if kept is not None and self._is_new(kept):
            self._written = kept.anchor
            self._task = asyncio.get_running_loop().create_task(asyncio.to_thread(self._file.write, kept))

    async def at_once(self) -> None:
        """Write now: the process ends."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        kept = self._current()
        if kept is not None and self._is_new(kept):
            self._written = kept.anchor
            await asyncio.to_thread(self._file.write, kept)

    def _is_new(self, kept: AnchorDocument) -> bool:
        """It is not on the disk: not written yet, or the last write failed."""
        return kept.anchor != self._written or bool(self._file.problem)
