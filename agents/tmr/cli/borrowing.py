# SPDX-License-Identifier: Apache-2.0
"""`tmr borrow`, `tmr borrowed`, `tmr return`: seats that leave the network, and their files here."""

import datetime as dt
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import click

from tmr.api.borrowing import Borrowing
from tmr.api.problems import problem
from tmr.cli.common import FIRM_CODE, PRODUCT_CODE, READ_POLICY, TMR_ID, Settings, common, version_options
from tmr.cli.ids import find
from tmr.cli.render import borrow_tables
from tmr.cli.spelling import PERIOD
from tmr.client import Client, Config, ConfigError, EntryNotFound, NoService, Policy, TmrError
from tmr.client._operations import borrow_request
from tmr.client._session import own_station, own_user
from tmr.client.borrow_problems import BorrowError, BorrowStoreError
from tmr.client.borrow_store import BorrowStore, Stored
from tmr.client.borrowed import BorrowedLicence

WATCH: Final = 60.0
"""Seconds between looks at a borrowing that is in use."""


@click.command(short_help="Take a seat along, to work without the network.")
@click.option("--firm", type=FIRM_CODE, metavar="CODE", help="Firm Code.")
@click.option("--product", type=PRODUCT_CODE, metavar="CODE", help="Product Code.")
@click.option("--tmr-id", type=TMR_ID, metavar="N", help="Only this licence of the product.")
@click.option("--for", "seconds", type=PERIOD, metavar="PERIOD", help="For how long: 3d, 12h, 90min.")
@version_options
@click.option("--fetch", metavar="ID", help="Fetch the file of a borrowing once more instead.")
@common()
def borrow(
    settings: Settings,
    firm: int | None,
    product: int | None,
    tmr_id: int | None,
    seconds: int | None,
    features: int,
    released: dt.datetime | None,
    fetch: str | None,
) -> None:
    """Take a seat out of the network for a while, with a signed file that works without it.

    \b
        tmr borrow --firm 6000010 --product 201 --for 3d
        tmr run --borrowed --firm 6000010 --product 201 -- simulate

    The file is bound to the certificate that it was borrowed with, and kept in the user's data directory. The
    seat comes back by itself when the time is over, and earlier with `tmr return`. The last 8 digits of an ID
    are enough.
    """
    if fetch is None and (firm is None or product is None or seconds is None):
        raise click.UsageError("--firm, --product and --for are needed, or --fetch ID.")
    if fetch is not None and any((firm, product is not None, tmr_id, seconds, features, released)):
        raise click.UsageError("--fetch takes a borrowing as it is: leave the other options out.")
    store = BorrowStore()
    with Client(settings.config(), policy=settings.policy(Policy())) as client:
        if fetch is not None:
            borrowing = find(fetch, (each.id for each in client.borrowings())) or _absent(fetch)
        else:
            request = borrow_request(
                firm_code=firm,
                product_code=product,
                tmr_id=tmr_id,
                seconds=seconds,
                station=own_station(),
                user=own_user(),
                features=features,
                released=released,
            )
            borrowing = client.borrow(request).id
        try:
            path = store.store(client.borrow_file(borrowing))
        except TmrError as error:
            raise _Unfetched(error, borrowing) from error
    kept = next(one for one in store.list() if one.path == path)
    settings.show(borrow_tables.stored(kept), {"id": borrowing, "file": str(path)})


class _Unfetched(BorrowError):
    """The seat is out, but its file could not be fetched or kept."""

    def __init__(self, reason: TmrError, borrowing: str) -> None:
        super().__init__(
            f"The seat is borrowed, but its file could not be fetched or kept: {reason.message}",
            f"{reason.remedy} `tmr borrow --fetch {borrowing}` tries again, `tmr return {borrowing}` gives "
            "the seat back.".strip(),
        )


@click.command(short_help="Show what is borrowed.")
@common()
def borrowed(settings: Settings) -> None:
    """Show the borrow files on this machine, and what the server knows to be borrowed.

    With an operator's certificate, everybody's borrowings.
    """
    kept = BorrowStore().list()
    known: tuple[Borrowing, ...] | None = None
    try:
        with Client(settings.config(), policy=settings.policy(READ_POLICY)) as client:
            known = client.borrowings()
    except NoService:
        pass  # away from the network is what borrowing is for
    document = {
        "files": [{"id": one.borrow, "file": str(one.path)} for one in kept],
        "borrowings": known,
    }
    settings.show(borrow_tables.borrowed(kept, known), document)


@click.command("return", short_help="Give a borrowed seat back early.")
@click.argument("borrowing", metavar="ID")
@common()
def give_back(settings: Settings, borrowing: str) -> None:
    """Give a borrowed seat back before its time is over, and remove its file from this machine.

    An operator may give back anybody's borrowing, such as that of a machine which was lost: the seat is free
    at once, though a file that still exists works until its time is over. The last 8 digits of an ID are
    enough.
    """
    store = BorrowStore()
    kept = {one.borrow for one in store.list()}
    with Client(settings.config(), policy=settings.policy(Policy())) as client:
        known = find(borrowing, {*kept, *(each.id for each in client.borrowings())}) or _absent(borrowing)
        client.give_back(known)
    if known in kept:
        store.remove(known)
    settings.show([f"Borrowing {known} was given back."], {"id": known, "returned": True})


def _absent(borrowing: str) -> NoReturn:
    raise EntryNotFound(
        problem("borrowing-ended", f"There is no borrowing {borrowing}: it has ended or never was.")
    )


def usable(
    config: Config, firm: int, product: int, tmr_id: int | None, features: int, released: dt.datetime | None
) -> BorrowedLicence:
    """A borrowed licence on this machine that a program may use now. Raises TmrError: why there is none."""
    key = config.vendor_keys.get(firm)
    if key is None:
        raise ConfigError(
            f"client.toml names no public key of the vendor {firm}",
            f'Add `{firm} = "FILE"` to its table [vendor_keys]; the vendor gives the key out.',
        )
    store = BorrowStore()
    found = [one for one in store.list() if _fits(one, firm, product, tmr_id)]
    if not found:
        raise BorrowStoreError(
            f"No licence {firm}:{product} is borrowed on this machine",
            "Borrow one with `tmr borrow` while the network is there.",
        )
    reason: BorrowError | None = None
    for one in sorted(found, key=_until, reverse=True):
        try:
            licence = store.use(
                one.borrow,
                vendor_key=_read(key),
                certificate=_read(config.tls.certificate),
                key=_read(config.tls.key),
                features=features,
                released=released,
            )
        except BorrowError as error:
            reason = reason or error
        else:
            return licence
    assert reason is not None  # noqa: S101
    raise reason


class Watch:
    """Looks at the borrowing every minute while a program runs; `tell` is called once if it has ended."""

    def __init__(self, find: Callable[[], BorrowedLicence], tell: Callable[[str], None]) -> None:
        self._find = find
        self._tell = tell
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tmr-borrowed", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(WATCH):
            try:
                self._find()
            except TmrError as error:
                self._tell(str(error))
                return


def _fits(one: Stored, firm: int, product: int, tmr_id: int | None) -> bool:
    licence = one.licence
    return (
        licence is not None
        and (licence.firm_code, licence.product_code) == (firm, product)
        and tmr_id in (None, licence.tmr_id)
    )


def _until(one: Stored) -> float:
    return 0.0 if one.licence is None else one.licence.until.timestamp()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror})", "Check that it is there, its owner and mode."
        ) from None
