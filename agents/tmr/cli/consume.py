# SPDX-License-Identifier: Apache-2.0
"""`tmr consume`: units of a Unit Counter."""

import contextlib

import click

from tmr.api.fields import TTL_MIN, UNITS_MAX
from tmr.cli.common import (
    Settings,
    common,
    licence_options,
)
from tmr.cli.spelling import KEY
from tmr.client import AccessMode, Client, Policy, SessionLost, TmrError
from tmr.client._session import default_request


@click.command(short_help="Take units from a Unit Counter.")
@licence_options
@click.option("--units", type=click.IntRange(1, UNITS_MAX), metavar="N", required=True, help="How many.")
@click.option(
    "--once",
    type=KEY,
    metavar="KEY",
    help="An idempotency key, 8 to 128 of A-Z a-z 0-9 . _ ~ -: a script that repeats the command with the "
    "same key within a minute takes the units once.",
)
@common()
def consume(
    settings: Settings, firm: int, product: int, tmr_id: int | None, units: int, once: str | None
) -> None:
    """Take units, all of them or none; exactly once, whatever happens on the way.

    \b
        tmr consume --firm 6000010 --product 301 --units 12
    """
    request = default_request(
        firm_code=firm,
        product_code=product,
        tmr_id=tmr_id,
        access_mode=AccessMode.NO_USER_LIMIT,
        ttl=TTL_MIN,
        units=units,
        station=None,
        user=None,
        process=None,
    )
    with Client(settings.config(), policy=settings.policy(Policy())) as client:
        try:
            taken = client.acquire(request, key=once)
        except SessionLost:
            if once is None:
                raise
            settings.show(
                [f"The units were taken before, with the key {once}."],
                {"licence": None, "units": units, "remaining": None},
            )
            return
        with contextlib.suppress(TmrError):
            client.release(taken.id)
    left = "" if taken.units_remaining is None else f"; {taken.units_remaining} are left"
    settings.show(
        [f"{units} units of {taken.label} were taken{left}."],
        {"licence": taken.label, "units": units, "remaining": taken.units_remaining},
    )
