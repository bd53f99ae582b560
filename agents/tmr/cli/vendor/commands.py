# SPDX-License-Identifier: Apache-2.0
"""Commands of `tmr vendor`."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tmr.api.deployment import NETWORK, TMR, Deployment
from tmr.cli import common
from tmr.cli.vendor.directory import open_directory, publish, read_file
from tmr.cli.vendor.issuing import record_and_write
from tmr.cli.vendor.item_file import read_items
from tmr.cli.vendor.options import CHANGEABLE, OF_AN_ITEM, gathered, with_options
from tmr.cli.vendor.show import (
    Shown,
    describe_request,
    describe_update,
    request_document,
    update_document,
)
from tmr.licensing import (
    Change,
    Licence,
    LicenceSelector,
    LicensingError,
    Refill,
    Removal,
    fingerprint,
    open_request,
    open_update,
    private_key_to_pem,
    public_key_from_pem,
    public_key_to_pem,
    raw_public_key,
)
from tmr.licensing.dsse import read_envelope
from tmr.licensing.items import FIRM_CODE_MIN
from tmr.licensing.options import CODE_MAX, Fields
from tmr.licensing.request import REQUEST_TYPE
from tmr.licensing.spelling import whole
from tmr.licensing.strict_json import IllFormed, printable
from tmr.licensing.update import UPDATE_TYPE, read_update

P = ParamSpec("P")
R = TypeVar("R")


def explained(command: Callable[..., Shown]) -> Callable[..., None]:
    """A command that prints what it returns, as JSON with --json.

    Licensing and file errors end as one line for a person, with exit code 1.
    """

    @common.json_option
    @wraps(command)
    def run(*args: Any, as_json: bool, **kwargs: Any) -> None:
        with common.errors_as_json(as_json):
            try:
                shown = command(*args, **kwargs)
            except LicensingError as error:
                raise click.ClickException(str(error)) from error
            except OSError as error:
                text = f"{error.filename or 'a file'}: {error.strerror or error}."
                raise click.ClickException(text) from error
        if as_json:
            common.echo_json(shown.document)
        else:
            for line in shown.lines:
                click.echo(line)

    return run


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
DIRECTORY = click.Path(file_okay=False, path_type=Path)
dir_option = click.option("--dir", "directory", required=True, type=DIRECTORY, help="The vendor's directory.")
request_option = click.option(
    "--request",
    "requests",
    required=True,
    multiple=True,
    type=FILE,
    help="Request file of one container; three times, with --network once.",
)
network_option = click.option(
    "--network",
    "deployment",
    is_flag=True,
    callback=lambda _context, _option, given: NETWORK if given else TMR,
    help="For a network licence server: one container, licences without TMR-Id.",
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
def init(firm_code: int, directory: Path) -> Shown:
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
    return Shown(
        [
            f"Firm {firm_code}: key fingerprint {fingerprint(public)}",
            f"Give {pem} to whoever runs a TMR system; keep everything else to yourself, and back it up.",
        ],
        {"firm_code": firm_code, "fingerprint": fingerprint(public), "public_key": str(pem)},
    )


def issuing(command: Callable[P, R]) -> Callable[P, R]:
    """Options of every command that issues an update."""
    for option in (out_option, network_option, request_option, dir_option):
        command = option(command)
    return command


def naming(command: Callable[P, R]) -> Callable[P, R]:
    """Options that name a licence that is there already."""
    tmr_id = click.option("--tmr-id", type=click.IntRange(1, CODE_MAX), help="The licence with this TMR-Id.")
    product = click.option(
        "--product", type=click.IntRange(0, CODE_MAX), help="The licence of this product (--network)."
    )
    reference = click.option(
        "--reference",
        type=click.IntRange(0, CODE_MAX),
        default=0,
        help="Its Product Item Reference, if it is not 0 (--network).",
    )
    return tmr_id(product(reference(command)))


def which(tmr_id: int | None, product: int | None, reference: int) -> LicenceSelector:
    """The licence that is named."""
    if tmr_id is None and product is None:
        raise click.UsageError("Say which licence: --tmr-id N, or with --network --product CODE.")
    return LicenceSelector(tmr_id, product, reference)


@vendor.command("issue")
@issuing
@click.option(
    "--items",
    "items_file",
    type=FILE,
    help="TOML or JSON file with several licences and their options, instead of the options below.",
)
@with_options(*OF_AN_ITEM)
@explained
def issue_licence(
    directory: Path,
    requests: tuple[Path, ...],
    deployment: Deployment,
    out: Path,
    items_file: Path | None,
    **given: Fields | None,
) -> Shown:
    """Issue licences to the containers that made the request files.

    Each gets the next TMR-Id, or with --network none.
    """
    fields = gathered(given)
    if items_file is not None:
        if fields:
            raise click.UsageError("With --items the options of the licences stand in the file.")
        licences = read_items(items_file)
    else:
        for name, field in (("product", "product_code"), ("quantity", "quantity")):
            if field not in fields:
                raise click.UsageError(f"Missing option '--{name}', or --items with a file of licences.")
        licences = [Licence(**fields)]
    return record_and_write(directory, requests, licences, out, deployment)


@vendor.command()
@issuing
@naming
@with_options(*CHANGEABLE)
@explained
def change(
    directory: Path,
    requests: tuple[Path, ...],
    deployment: Deployment,
    out: Path,
    tmr_id: int | None,
    product: int | None,
    reference: int,
    **given: Fields | None,
) -> Shown:
    """Change options of a licence. The word none, or an empty text, takes an option away."""
    fields = gathered(given)
    if not fields:
        raise click.UsageError("Nothing is changed. Give the options that shall have a new value.")
    change = Change(which(tmr_id, product, reference), fields)
    return record_and_write(directory, requests, [change], out, deployment)


@vendor.command()
@issuing
@naming
@click.option("--units", required=True, metavar="+N", help="Units to add to the Unit Counter.")
@explained
def refill(
    directory: Path,
    requests: tuple[Path, ...],
    deployment: Deployment,
    out: Path,
    tmr_id: int | None,
    product: int | None,
    reference: int,
    units: str,
) -> Shown:
    """Add units to a licence."""
    try:
        more = whole(units.removeprefix("+"), 1, CODE_MAX)
    except ValueError as error:
        raise click.BadParameter(f"{error}, such as +500", param_hint="--units") from None
    return record_and_write(
        directory, requests, [Refill(which(tmr_id, product, reference), more)], out, deployment
    )


@vendor.command()
@issuing
@naming
@explained
def remove(
    directory: Path,
    requests: tuple[Path, ...],
    deployment: Deployment,
    out: Path,
    tmr_id: int | None,
    product: int | None,
    reference: int,
) -> Shown:
    """Take a licence away."""
    return record_and_write(
        directory, requests, [Removal(which(tmr_id, product, reference))], out, deployment
    )


@vendor.command()
@issuing
@click.option(
    "--former-lost",
    is_flag=True,
    help="Two or three containers are new, because the former ones are lost. Units begin anew; a former pair "
    "that still exists goes on working.",
)
@explained
def reissue(
    directory: Path, requests: tuple[Path, ...], deployment: Deployment, out: Path, former_lost: bool
) -> Shown:
    """Issue again what a system has, for instance when a new container replaces a broken one."""
    if not deployment.tmr_ids and former_lost:
        raise click.UsageError("A network licence server's new container inherits nothing: issue anew.")
    return record_and_write(directory, requests, [], out, deployment, former_lost=former_lost)


@vendor.command()
@click.argument("file", type=FILE)
@click.option("--key", "key_file", type=FILE, help="The vendor's public key, to verify an update with.")
@explained
def show(file: Path, key_file: Path | None) -> Shown:
    """Print a request or update file for a person, and verify what can be verified.

    A request is verified with the key of its container. An update is verified with --key, else that is said.
    """
    data = read_file(file)
    try:
        envelope = read_envelope(data)
    except IllFormed as error:
        raise click.ClickException(f"{file} is no licence file: {error}.") from error
    if envelope.payload_type == REQUEST_TYPE:
        request = open_request(data)
        return Shown(describe_request(request), request_document(request))
    if envelope.payload_type != UPDATE_TYPE:
        raise click.ClickException(
            f"{file} has the type {printable(envelope.payload_type)}. Give a request or an update file."
        )
    if key_file is None:
        update = read_update(envelope.payload)
        verdict = f"NOT VERIFIED: give --key {update.firm_code}.pem"
    else:
        public = public_key_from_pem(read_file(key_file))
        update = open_update(data, public)
        verdict = f"valid, by the key {fingerprint(public)}"
    return Shown(describe_update(update, verdict), update_document(update, verified=key_file is not None))
