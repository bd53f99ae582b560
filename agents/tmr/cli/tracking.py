# SPDX-License-Identifier: Apache-2.0
"""`tmr tracking`: export the licence tracking record, look at it, and verify an export offline."""

import datetime as dt
import itertools
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import click
import msgspec
from rich.console import RenderableType

from tmr.api.deployment import NETWORK, TMR, Deployment
from tmr.cli import common
from tmr.cli.render import layout
from tmr.cli.render.record_lines import description, too_few, written
from tmr.cli.usage import Product, Usage
from tmr.client import Client, TmrError
from tmr.client.tracking import download
from tmr.client.tracking import tracking as request_for
from tmr.ledger import Line
from tmr.ledger.export import END_MAX, BadExport, Reader
from tmr.licensing import (
    BadKey,
    BadRequest,
    container_serial,
    open_request,
    public_key_from_pem,
)
from tmr.licensing.spelling import instant

SHOWN: Final = 40
"""Lines that `show` prints unless told otherwise."""
KEY_MAX: Final = 65_536

_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY


class InvalidExport(TmrError):
    """A record that is not as a TMR system exported it."""


@click.group()
def tracking() -> None:
    """The licence tracking record of a firm: what was granted, released, denied, borrowed, consumed."""


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> dt.datetime | None:
    if value is None:
        return None
    try:
        return dt.datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is no time; give one such as 2026-03-01 or 2026-03-01T06:00:00+01:00"
        ) from None


_FIRM: Final = common.FIRM_CODE
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_from = click.option(
    "--from", "begin", callback=_moment, metavar="TIME", help="Only what happened then or later (RFC 3339)."
)
_to = click.option("--to", "end", callback=_moment, metavar="TIME", help="Only what happened before.")


@tracking.command(short_help="Write the record to a file.")
@click.option("--firm", type=_FIRM, metavar="CODE", required=True, help="Firm Code.")
@_from
@_to
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="csv is for spreadsheets, and cannot be verified.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Otherwise stdout.",
)
@common.common()
def export(
    settings: common.Settings,
    firm: int,
    begin: dt.datetime | None,
    end: dt.datetime | None,
    form: Literal["jsonl", "csv"],
    output: Path | None,
) -> None:
    """Write the record of one firm to a file, for the vendor.

    Two containers vouch for it by their signatures, or that of a network licence server; the vendor verifies
    it by `tmr tracking verify`. Needs a certificate of the role `operator`. A time without offset is local.
    With --json it says what was written; the record itself goes to the file then.
    """
    if settings.json and output is None:
        raise click.UsageError("With --json the record goes to a file: give --output FILE.")
    document: dict[str, object] = {"file": str(output), "format": form}
    if output is not None and output.exists():
        raise click.ClickException(f"{output} exists. Choose another name.")
    with _fetched(settings, firm, begin, end, form) as (file, path):
        if form == "jsonl":
            reader = Reader(_lines(file))
            count = sum(1 for _ in _sound(reader, "the answer"))
            span = reader.span
            if not span.whole:
                common.say("older lines of this span were no longer kept: the record is not whole")
            if span.to_ms is None:
                common.say(f"{count} lines; the next export goes on with --from {written(_last(reader))}")
            document |= {
                "lines": count,
                "span": msgspec.to_builtins(span),
                "next_from": written(_last(reader)) if span.to_ms is None else None,
            }
        file.seek(0)
        if output is None:
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        else:
            _publish(path, output)
    if settings.json:
        common.echo_json(document)


@tracking.command(short_help="Verify an export, offline.")
@click.argument("file", type=_FILE)
@click.option(
    "--request",
    "requests",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="A container's request file: it has the container's key. Several times.",
)
@click.option(
    "--container-key",
    "given",
    multiple=True,
    metavar="KEY",
    help="A container's public key, not its fingerprint: 64 hexadecimal digits or a PEM file. Several times.",
)
@click.option(
    "--network",
    "deployment",
    is_flag=True,
    callback=lambda _context, _option, given: NETWORK if given else TMR,
    help="It is of a network licence server: one container vouches.",
)
@click.option("--chain-only", is_flag=True, help="Do not ask who vouches for it.")
@common.json_option
def verify(
    file: Path,
    requests: tuple[Path, ...],
    given: tuple[str, ...],
    deployment: Deployment,
    chain_only: bool,
    as_json: bool,
) -> None:
    """Verify that FILE is a record as a TMR system exported it.

    Checks each line's hash, and the signatures of at least two containers, whose keys you know from their
    request files; with --network, of the one container of a network licence server. Exits with 1 where
    anything does not hold, and says where.
    """
    with common.errors_as_json(as_json):
        keys = _keys(requests, given)
        if not keys and not chain_only:
            raise click.UsageError(
                "Whose signatures? Give the containers' request files with --request, or --chain-only."
            )
        reader, last_ms = _read_through(file)
        vouchers = reader.vouchers(keys)
        if not as_json:
            for line in description(reader, last_ms, vouchers):
                click.echo(line)
        sound = sum(not voucher.problem for voucher in vouchers)
        if not chain_only and sound < deployment.majority:
            raise click.ClickException(too_few(file, sound, deployment))
    if as_json:
        common.echo_json(
            {
                "span": msgspec.to_builtins(reader.span),
                "lines": reader.count,
                "vouchers": [msgspec.structs.asdict(voucher) for voucher in vouchers],
                "verified": not chain_only,
            }
        )
    elif chain_only:
        click.echo("Signatures were not asked for: this proves no origin.")
    else:
        click.echo(f"Verified: {sound} container{'s vouch' if sound > 1 else ' vouches'} for it.")


def _read_through(file: Path) -> tuple[Reader, int]:
    """The reader of a sound record, at its end, and the time of the last line."""
    with file.open("rb") as stream:
        reader = Reader(_lines(stream))
        last_ms = 0
        try:
            for line in reader:
                last_ms = line.time_ms
        except BadExport as error:
            raise click.ClickException(f"{file}, {error}. Remedy: {error.remedy}.") from error
    return reader, last_ms


@tracking.command(short_help="Show the record as tables.")
@click.argument("file", type=_FILE, required=False)
@click.option("--firm", type=_FIRM, metavar="CODE", help="Firm Code; not with FILE.")
@_from
@_to
@click.option(
    "--lines", type=click.IntRange(min=0), default=SHOWN, show_default=True, help="The last so many lines."
)
@common.common()
def show(
    settings: common.Settings,
    file: Path | None,
    firm: int | None,
    begin: dt.datetime | None,
    end: dt.datetime | None,
    lines: int,
) -> None:
    """Show the last lines of the record, and what it adds up to for each product.

    Asks the servers for --firm (role `operator`), or reads the export FILE. Peak: the most seats taken at
    once; of sessions that began before the span only those are known that ended within it.
    """
    if (file is None) == (firm is None):
        raise click.UsageError("Give either --firm or an exported FILE.")
    if file is not None:
        if begin is not None or end is not None:
            raise click.UsageError("--from and --to belong to --firm: a FILE is shown as a whole.")
        with file.open("rb") as stream:
            _show(settings, stream, str(file), lines)
    elif firm is not None:
        with _fetched(settings, firm, begin, end, "jsonl") as (stream, _):
            _show(settings, stream, "the answer", lines)


def _show(settings: common.Settings, stream: BinaryIO, name: str, count: int) -> None:
    usage, last = Usage(), deque[Line](maxlen=count)
    reader = Reader(_lines(stream))
    for line in _sound(reader, name):
        usage.add(line)
        last.append(line)
    products = list(usage.products())
    document = {
        "span": msgspec.to_builtins(reader.span),
        "products": [_document(product) for product in products],
        "lines": [msgspec.to_builtins(line) for line in last],
    }
    settings.show(_tables(last, reader.count, products), document)


def _document(product: Product) -> dict[str, Any]:
    return {**msgspec.structs.asdict(product), "reasons": dict(product.reasons)}


def _tables(lines: Iterable[Line], count: int, products: Iterable[Product]) -> list[RenderableType]:
    table = layout.grid(">Line", "Time", "Event", "Licence", "User", "Station", "What")
    shown = 0
    for line in lines:
        shown += 1
        moment = layout.moment(instant(line.time_ms), "%Y-%m-%d %H:%M:%S")
        licence = f"{line.product_code}" + (f" #{line.tmr_id}" if line.tmr_id is not None else "")
        user = line.user or line.client or "-"
        table.add_row(str(line.seq), moment, line.event, licence, user, line.station or "-", _what(line))
    summary = layout.grid(
        ">Product", ">Grants", ">Emergency", ">Peak", ">Borrowed", ">Units", ">Denials", "Why denied"
    )
    for one in products:
        numbers = (one.grants, one.emergency, one.peak, one.borrowed, one.units, one.denials)
        why = ", ".join(f"{reason} {n}" for reason, n in one.reasons.most_common())
        summary.add_row(str(one.product_code), *map(str, numbers), why or "-")
    head = f"{count} lines" + (f", the last {shown} of them" if shown < count else "")
    return [head, table, "", summary] if shown else [head, summary]


def _what(line: Line) -> str:
    parts = [f"{line.units} units"] if line.units else []
    parts += [f"{line.count} times"] if line.count > 1 else []
    parts += [part for part in (line.reason, line.detail) if part]
    parts += [f"rule {line.rule}"] if line.rule else []
    if line.until_ms is not None:
        parts.append(f"until {layout.moment(instant(line.until_ms))}")
    return ", ".join(parts) or line.mode or "-"


# -- files -------------------------------------------------------------------------------------------------


@contextmanager
def _fetched(
    settings: common.Settings,
    firm: int,
    begin: dt.datetime | None,
    end: dt.datetime | None,
    form: Literal["jsonl", "csv"],
) -> Iterator[tuple[BinaryIO, Path]]:
    """The export in a temporary file, which only its owner can read."""
    with tempfile.NamedTemporaryFile(prefix="tmr-tracking-") as file:
        with Client(settings.config(), policy=settings.policy(common.READ_POLICY)) as client:
            download(client, request_for(firm, begin, end, form), file)  # type: ignore[arg-type]
        file.seek(0)
        yield file, Path(file.name)  # type: ignore[misc]


def _publish(source: Path, target: Path) -> None:
    """Copy to a new file, which is there as a whole or not at all."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        # it names people and machines: for its owner alone, and never through somebody's link
        with source.open("rb") as whole, os.fdopen(os.open(part, _NEW, 0o600), "wb") as file:
            shutil.copyfileobj(whole, file)
            file.flush()
            os.fsync(file.fileno())
        target.hardlink_to(part)
    except FileExistsError:
        raise click.ClickException(f"{target} exists. Choose another name.") from None
    except OSError as error:
        raise click.ClickException(f"{target}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines, the end line larger than the others; none is read without bound."""
    return itertools.takewhile(bool, (stream.readline(END_MAX + 2) for _ in itertools.count()))


def _sound(reader: Reader, name: str) -> Iterator[Line]:
    try:
        yield from reader
    except BadExport as error:
        raise InvalidExport(f"{name}, {error}", f"{error.remedy[:1].upper()}{error.remedy[1:]}.") from error


def _keys(requests: Iterable[Path], given: Iterable[str]) -> dict[str, bytes]:
    """Keys by container serial. Raises `click.ClickException` that names what cannot be used."""
    found: list[bytes] = []
    for path in requests:
        try:
            found.append(bytes.fromhex(open_request(path.read_bytes()).container_key))
        except BadRequest as error:
            raise click.ClickException(f"{path}: {error}") from error
    for text in given:
        if re.fullmatch("[0-9a-fA-F]{64}", text):
            found.append(bytes.fromhex(text))
            continue
        try:
            with Path(text).open("rb") as file:
                found.append(public_key_from_pem(file.read(KEY_MAX)))
        except OSError as error:
            raise click.ClickException(
                f"{text} is neither 64 hexadecimal digits nor a file that can be read: {error.strerror}."
            ) from error
        except BadKey as error:
            raise click.ClickException(f"{text}: {error}") from error
    return {str(container_serial(key)): key for key in found}


def _last(reader: Reader) -> int:
    """Certified time up to which nothing more comes, as the attestations say (not verified here)."""
    times = [voucher.time_ms for voucher in reader.vouchers({}) if voucher.time_ms]
    return min(times, default=0)
