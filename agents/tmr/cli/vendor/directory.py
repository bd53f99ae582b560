# SPDX-License-Identifier: Apache-2.0
"""Directory of a vendor: the firm's key and the record of all updates issued.

It holds the firm's key (`FIRM.key`, for its owner only), the public key to hand out (`FIRM.pem`) and the
record: `issued/000001.json` and so on, every update file ever issued, byte for byte. A number is taken by
linking the finished, synced file to its name, which only one process can do, and once. So a TMR-Id is spent
before anybody can see it, through a crash too, and is never given twice.
"""

import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.files import sync_directory
from tmr.licensing import (
    ENVELOPE_MAX,
    LicensingError,
    Request,
    Update,
    open_request,
    open_update,
    private_key_from_pem,
    raw_public_key,
)

RECORD_NAME: Final = re.compile(r"([0-9]{6})\.json", re.ASCII)


class VendorDirectory(msgspec.Struct, frozen=True):
    """A vendor's directory, opened: one firm, its key, its record."""

    path: Path
    firm_code: int
    key: Ed25519PrivateKey

    @property
    def issued(self) -> Path:
        """The directory of the record."""
        return self.path / "issued"

    def record(self) -> list[Update]:
        """All updates issued, oldest first. Raises `click.ClickException` if one is lost or spoilt."""
        numbers = sorted(int(m[1]) for p in self.issued.iterdir() if (m := RECORD_NAME.fullmatch(p.name)))
        for expected, number in enumerate(numbers, start=1):
            if number != expected:
                raise click.ClickException(
                    f"The record {self.issued} has lost {expected:06}.json. Restore it from a backup: "
                    "without it a TMR-Id could be given twice."
                )
        return [self._recorded(number) for number in numbers]

    def _recorded(self, number: int) -> Update:
        path = self.file(number)
        try:
            update = open_update(read_file(path), raw_public_key(self.key))
        except LicensingError as error:
            raise click.ClickException(
                f"The record {path} is spoilt: {error.reason}. Restore it from a backup."
            ) from error
        if update.firm_code != self.firm_code:
            raise click.ClickException(
                f"The record {path} is of the firm {update.firm_code}, not {self.firm_code}. Remove what was "
                "copied here, and restore this firm's record from a backup."
            )
        return update

    def file(self, number: int) -> Path:
        """Path of the update of this number."""
        return self.issued / f"{number:06}.json"


def open_directory(path: Path) -> VendorDirectory:
    """The vendor's directory. Raises `click.ClickException` if it is none or others can read its key."""
    keys = sorted(path.glob("*.key"))
    if len(keys) != 1 or not re.fullmatch(r"[0-9]{7,10}", keys[0].stem, re.ASCII):
        raise click.ClickException(
            f"{path} is no vendor's directory: it should hold one FIRMCODE.key. Make one with "
            "tmr vendor init."
        )
    (file,) = keys
    if os.name == "posix" and stat.S_IMODE(file.stat().st_mode) & 0o077:
        raise click.ClickException(
            f"{file} can be read by others. Run chmod 600 {file}, and ask who could read it so far."
        )
    return VendorDirectory(path, int(file.stem), private_key_from_pem(read_file(file)))


def open_named_request(path: Path) -> Request:
    """The request in a file. Raises `click.ClickException` that names the file."""
    try:
        return open_request(read_file(path))
    except LicensingError as error:
        raise click.ClickException(f"{path}: {error}") from error


def read_file(path: Path) -> bytes:
    """The bytes of a licence file, one more than allowed at most: the reader then refuses it."""
    with path.open("rb") as file:
        return file.read(ENVELOPE_MAX + 1)


def publish(path: Path, data: bytes, mode: int) -> None:
    """Make the file `path` with these bytes: whole, synced, and only if nothing has this name yet.

    Raises `FileExistsError` if something has.
    """
    descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=".", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        path.hardlink_to(temporary)
    finally:
        temporary.unlink()
    sync_directory(path.absolute().parent)
