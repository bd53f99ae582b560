# SPDX-License-Identifier: Apache-2.0
"""The directory of a client's borrow files, with the latest time that was seen for each.

    store = BorrowStore()                              # ~/.local/share/tmr/borrowed, or below XDG_DATA_HOME
    store.store(data)
    licence = store.use("bor-…", vendor_key=PEM, certificate=PEM, key=PEM)

For each borrowing one file `ID.borrow`, as the server sent it, and one `ID.clock` with the latest time seen
while it was used. Both are written whole or not at all, for their owner only. `ID.clock` catches a clock
that was set back. It does not stop a user who deletes it, or who takes the program apart.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tmr.client.borrow_problems import BadBorrowFile, BorrowStoreError, ClockSetBack, Tampered
from tmr.client.borrowed import CLOCK_TOLERANCE, FILE_MAX, BorrowedLicence, describe, verify
from tmr.files import sync_directory
from tmr.licensing.spelling import TIME_MS_MAX, instant, milliseconds, written_time

SUFFIX: Final = ".borrow"
CLOCK_SUFFIX: Final = ".clock"
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}", re.ASCII)


class Stored(NamedTuple):
    """A borrow file that is kept here. `licence`: what it says, signatures not verified; None: unreadable."""

    borrow: str
    path: Path
    licence: BorrowedLicence | None


class _Clock(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    latest_ms: int = Field(ge=0, le=TIME_MS_MAX)


def default_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """`tmr/borrowed` in the user's data directory (XDG Base Directory Specification)."""
    data = environment.get("XDG_DATA_HOME", "")
    # The specification: a relative path is invalid and has to be ignored.
    base = Path(data) if Path(data).is_absolute() else Path.home() / ".local" / "share"
    return base / "tmr" / "borrowed"


class BorrowStore:
    """The borrow files below `directory`. Several processes may use it at once."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = default_directory() if directory is None else directory

    def store(self, data: bytes) -> Path:
        """Keep a borrow file, and return where. Its signatures are verified when it is used.

        What was seen of the clock for the same borrowing stays. Raises BadBorrowFile, Tampered,
        BorrowStoreError.
        """
        path = self.path(describe(data).borrow)
        self._write(path, data)
        return path

    def list(self) -> tuple[Stored, ...]:
        """Lists what is kept here, sorted by id. Raises BorrowStoreError."""
        try:
            paths = sorted(self.directory.glob(f"*{SUFFIX}"))
        except OSError as error:
            raise self._unusable(self.directory, error) from None
        found = []
        for path in paths:
            borrow = path.name.removesuffix(SUFFIX)
            if _ID.fullmatch(borrow) is None:
                continue
            licence = None
            with contextlib.suppress(BadBorrowFile, Tampered, BorrowStoreError):
                licence = describe(self._read(path))
            found.append(Stored(borrow, path, licence))
        return tuple(found)

    def remove(self, borrow: str) -> None:
        """Forget a borrowing. The seat comes back when it is given back, or by itself when its time is over.

        Raises BorrowStoreError if there is none.
        """
        path = self.path(borrow)
        try:
            path.unlink()
            path.with_name(borrow + CLOCK_SUFFIX).unlink(missing_ok=True)
        except FileNotFoundError:
            raise self._absent(borrow) from None
        except OSError as error:
            raise self._unusable(path, error) from None

    def read(self, borrow: str) -> bytes:
        """The borrow file of this borrowing, as it was stored. Raises BorrowStoreError."""
        return self._read(self.path(borrow))

    def use(
        self,
        borrow: str,
        *,
        vendor_key: bytes | str,
        certificate: bytes,
        key: bytes,
        now: datetime | None = None,
        features: int = 0,
        released: datetime | None = None,
    ) -> BorrowedLicence:
        """The licence of this borrowing, if the program may use it now; call it again while it runs.

        `now`: the wall clock, unless given. See `borrowed.verify` and `BorrowedLicence.check` for the rest.
        Raises `ClockSetBack` if the clock shows an earlier time than when this was called before, and the
        other errors of `borrow_problems`.
        """
        time = datetime.now(UTC) if now is None else now
        licence = verify(
            self.read(borrow),
            vendor_key=vendor_key,
            certificate=certificate,
            key=key,
            now=time,
            seen=lambda licence: self._see(licence, time),
        )
        licence.check(features=features, released=released)
        return licence

    def path(self, borrow: str) -> Path:
        """Path of the file of this borrowing. Raises BorrowStoreError if that is no id."""
        if _ID.fullmatch(borrow) is None:
            raise BorrowStoreError(
                f"{borrow[:40]!a} is no id of a borrowing", "Give an id that `tmr borrowed` lists."
            )
        return self.directory / (borrow + SUFFIX)

    def _see(self, licence: BorrowedLicence, now: datetime) -> None:
        """Refuse a clock that went back, and remember the time. Two at once may lose some milliseconds."""
        path = self.directory / (licence.borrow + CLOCK_SUFFIX)
        latest = self._latest(path)
        if latest is not None and now < latest - CLOCK_TOLERANCE:
            raise ClockSetBack(
                f"This machine's clock shows {written_time(now)}, but the borrowing "
                f"of {licence.label} was used at {written_time(latest)}",
                "Set the clock of this machine. If it was wrong then, borrow the licence anew.",
            )
        if latest is None or now > latest:
            clock = _Clock(latest_ms=milliseconds(now) or 0)
            self._write(path, clock.model_dump_json().encode())

    def _latest(self, path: Path) -> datetime | None:
        try:
            data = self._bytes(path)
            if data is None:
                return None
            clock = _Clock.model_validate_json(data)
            return instant(clock.latest_ms)
        except ValidationError:
            raise BorrowStoreError(
                f"{path}: this is not what was written there", "Borrow the licence anew."
            ) from None

    def _read(self, path: Path) -> bytes:
        data = self._bytes(path)
        if data is None:
            raise self._absent(path.name.removesuffix(SUFFIX))
        return data

    def _bytes(self, path: Path) -> bytes | None:
        try:
            with path.open("rb") as file:
                return file.read(FILE_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(path, error) from None

    def _write(self, path: Path, data: bytes) -> None:
        """Durable, whole or not at all, mode 0600."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=".new-", dir=self.directory)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
            sync_directory(self.directory)
        except OSError as error:
            raise self._unusable(path, error) from None

    def _absent(self, borrow: str) -> BorrowStoreError:
        return BorrowStoreError(
            f"There is no borrowing {borrow} in {self.directory}",
            "Give the id of one that is kept there, or fetch its file from the server.",
        )

    @staticmethod
    def _unusable(path: Path, error: OSError) -> BorrowStoreError:
        return BorrowStoreError(
            f"{path}: {error.strerror or error}", "Check owner and mode of the directory, and the disk."
        )
