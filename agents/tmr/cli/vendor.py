"""`tmr vendor`: the vendor's own tools, away from any machine of a TMR system.

The vendor's directory holds the firm's key (`FIRM.key`, for its owner only), the public key to hand out
(`FIRM.pem`) and the record: `issued/000001.json` and so on, every update file ever issued, byte for byte. A
number is taken by linking the finished, synced file to its name, which only one process can do, and once. So
a TMR-Id is spent before anybody can see it, through a crash too, and is never given twice.
"""

import os
import re
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import click
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.licensing import (
    ENVELOPE_MAX,
    Issued,
    Licence,
    LicensingError,
    NotIssued,
    ProductItem,
    Request,
    Update,
    fingerprint,
    issue,
    open_request,
    open_update,
    private_key_from_pem,
    private_key_to_pem,
    public_key_from_pem,
    public_key_to_pem,
    raw_public_key,
)
from tmr.licensing.dsse import read_envelope
from tmr.licensing.items import CODE_MAX, FIRM_CODE_MIN, QUANTITY_MAX
from tmr.licensing.request import REQUEST_TYPE
from tmr.licensing.strict_json import IllFormed, printable
from tmr.licensing.update import UPDATE_TYPE, read_update

RECORD_NAME: Final = re.compile(r"([0-9]{6})\.json", re.ASCII)
ATTEMPTS: Final = 100
"""Tries to take the next number of the record while other processes issue too."""

P = ParamSpec("P")
R = TypeVar("R")


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
        """Where the update of this number is kept."""
        return self.issued / f"{number:06}.json"


def explained(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose licensing and file errors end as one line for a person, with exit code 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except LicensingError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'a file'}: {error.strerror or error}.") from error

    return run


def parse_quantity(_: click.Context, __: click.Parameter, value: str) -> int | None:
    """Seats, or `None` for `unlimited`."""
    if value == "unlimited":
        return None
    if re.fullmatch(r"[0-9]{1,10}", value, re.ASCII) and 1 <= int(value) <= QUANTITY_MAX:
        return int(value)
    raise click.BadParameter(f"give a whole number from 1 to {QUANTITY_MAX}, or the word unlimited")


def parse_expires(_: click.Context, __: click.Parameter, value: datetime | None) -> int | None:
    """Unix milliseconds of the end of the day UTC, `None` for never."""
    if value is None:
        return None
    if value.year > 9998:
        raise click.BadParameter(
            "the last year is 9998; leave the option out for a licence that never expires"
        )
    end = int((value.replace(tzinfo=UTC) + timedelta(days=1)).timestamp()) * 1000
    if end <= time.time() * 1000:
        raise click.BadParameter("this day is past: the licence would be expired from the start")
    return end


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)
dir_option = click.option("--dir", "directory", required=True, type=DIRECTORY, help="The vendor's directory.")
request_option = click.option(
    "--request",
    "requests",
    required=True,
    multiple=True,
    type=FILE,
    help="Request file of one container; three times.",
)
out_option = click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the update file.",
)


@click.group()
def vendor() -> None:
    """Issue licences: for vendors of software, away from the TMR system."""


@vendor.command()
@click.option(
    "--firm", "firm_code", required=True, type=click.IntRange(FIRM_CODE_MIN, CODE_MAX), help="Firm Code."
)
@dir_option
@explained
def init(firm_code: int, directory: Path) -> None:
    """Make the firm's signing key and an empty record."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file, pem = directory / f"{firm_code}.key", directory / f"{firm_code}.pem"
    present = next(directory.glob("*.key"), None)
    if present is None:
        (directory / "issued").mkdir(mode=0o700, exist_ok=True)
        publish(key_file, private_key_to_pem(Ed25519PrivateKey.generate()), 0o600)
    elif present != key_file or pem.exists():
        raise click.ClickException(
            f"{present} exists. A directory is for one firm and keeps its key: use another directory."
        )
    # else an earlier init was cut off between the two files
    public = raw_public_key(open_directory(directory).key)
    publish(pem, public_key_to_pem(public), 0o644)
    click.echo(f"Firm {firm_code}: key fingerprint {fingerprint(public)}")
    click.echo(f"Give {pem} to whoever runs a TMR system; keep everything else to yourself, and back it up.")


@vendor.command("issue")
@dir_option
@request_option
@click.option("--product", required=True, type=click.IntRange(0, CODE_MAX), help="Product Code.")
@click.option("--quantity", required=True, callback=parse_quantity, metavar="N|unlimited", help="Seats.")
@click.option(
    "--expires",
    type=click.DateTime(["%Y-%m-%d"]),
    callback=parse_expires,
    metavar="YYYY-MM-DD",
    help="Last day on which it is valid, UTC; never expires if left out.",
)
@click.option("--name", default="", help="Name of the licence, for people.")
@out_option
@explained
def issue_licence(
    directory: Path,
    requests: tuple[Path, ...],
    product: int,
    quantity: int | None,
    expires: int | None,
    name: str,
    out: Path,
) -> None:
    """Issue a TMR licence with the next TMR-Id to the three containers that made the request files."""
    issued = record_and_write(directory, requests, Licence(product, quantity, expires, name), out)
    if issued.item is not None:
        click.echo(f"Issued {describe_item(issued.item)}")


@vendor.command()
@dir_option
@request_option
@out_option
@explained
def reissue(directory: Path, requests: tuple[Path, ...], out: Path) -> None:
    """Issue again what a system has, for instance when a new container replaces a broken one."""
    record_and_write(directory, requests, None, out)


@vendor.command()
@click.argument("file", type=FILE)
@click.option("--key", "key_file", type=FILE, help="The vendor's public key, to verify an update with.")
@explained
def show(file: Path, key_file: Path | None) -> None:
    """Print a request or update file for a person, and verify what can be verified.

    A request is verified with the key of its container. An update is verified with --key, else that is said.
    """
    data = read_file(file)
    try:
        envelope = read_envelope(data)
    except IllFormed as error:
        raise click.ClickException(f"{file} is no licence file: {error}.") from error
    if envelope.payload_type == REQUEST_TYPE:
        lines = describe_request(open_request(data))
    elif envelope.payload_type == UPDATE_TYPE:
        if key_file is None:
            update = read_update(envelope.payload)
            verdict = f"NOT VERIFIED: give --key {update.firm_code}.pem"
        else:
            public = public_key_from_pem(read_file(key_file))
            update = open_update(data, public)
            verdict = f"valid, by the key {fingerprint(public)}"
        lines = describe_update(update, verdict)
    else:
        raise click.ClickException(
            f"{file} has the type {printable(envelope.payload_type)}. Give a request or an update file."
        )
    for line in lines:
        click.echo(line)


def record_and_write(directory: Path, requests: Iterable[Path], licence: Licence | None, out: Path) -> Issued:
    """Issue, put the update on record, then write it to `out`."""
    opened = open_directory(directory)
    if out.exists():
        raise click.ClickException(f"{out} exists. Choose another name for the update file.")
    if not out.absolute().parent.is_dir():
        raise click.ClickException(f"{out.parent} is no directory. Make it first.")
    read = [open_named_request(path) for path in requests]
    for _ in range(ATTEMPTS):
        history = opened.record()
        try:
            issued = issue(
                history,
                read,
                licence,
                firm_code=opened.firm_code,
                key=opened.key,
                issued_ms=time.time_ns() // 1_000_000,
                update_id=uuid.uuid4().hex,
            )
        except NotIssued as error:
            if error.code != "update-pending":
                raise
            raise click.ClickException(f"{error} All update files are kept in {opened.issued}.") from error
        recorded = opened.file(len(history) + 1)
        try:
            publish(recorded, issued.file, 0o600)
        except FileExistsError:
            continue  # another process took this number: its TMR-Id is spent, so look again
        break
    else:
        raise click.ClickException(
            f"{opened.issued} changes all the time. Try again when nobody else issues."
        )
    try:
        publish(out, issued.file, 0o644)
    except OSError as error:
        raise click.ClickException(
            f"The update is issued and on record, but {out} could not be written: {error.strerror}. "
            f"Copy {recorded} instead."
        ) from error
    click.echo(f"Update {issued.update.update_id} for the system {issued.update.act_id} written to {out}")
    return issued


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
    if os.name == "posix":  # elsewhere a directory cannot be synced
        directory = os.open(path.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def describe_item(item: ProductItem) -> str:
    """One line for a person."""
    quantity = "unlimited" if item.quantity is None else str(item.quantity)
    expires = "never expires" if item.expiration_ms is None else f"expires {moment(item.expiration_ms)}"
    return f"{item.key}, quantity {quantity}, {expires}" + (f", {item.name}" if item.name else "")


def describe_request(request: Request) -> list[str]:
    """Lines for a person."""
    vendor_key = fingerprint(bytes.fromhex(request.vendor_key)) if request.vendor_key else "none yet"
    return [
        f"Request of the container {request.container} of the system {request.act_id}",
        f"  to the firm      {request.firm_code}",
        f"  update counter   {request.counter}",
        f"  container key    {fingerprint(bytes.fromhex(request.container_key))}",
        f"  vendor key       {vendor_key}",
        f"  items digest     {request.items_digest}",
        "  signature        valid, by this container",
    ]


def describe_update(update: Update, verdict: str) -> list[str]:
    """Lines for a person."""
    return [
        f"Update {update.update_id} of the firm {update.firm_code} for the system {update.act_id}",
        f"  issued           {moment(update.issued_ms)}",
        f"  signature        {verdict}",
        *(f"  container        {part.container}, update counter {part.counter}" for part in update.parts),
        *(f"  item             {describe_item(item)}" for item in update.parts[0].items),
    ]


def moment(ms: int) -> str:
    """A time in milliseconds as RFC 3339, UTC."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat(timespec="seconds")
