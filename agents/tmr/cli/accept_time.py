# SPDX-License-Identifier: Apache-2.0
"""`tmr accept-time`: what the clocks show is right. For operators."""

import datetime as dt

import click

from tmr.cli.common import Settings, common
from tmr.cli.spelling import TIME
from tmr.client import Client, Policy
from tmr.licensing.spelling import written_time


@click.command("accept-time", short_help="Accept what the clocks show, after a jump.")
@click.argument("time", metavar="TIME", type=TIME)
@common()
def accept_time(settings: Settings, time: dt.datetime) -> None:
    """Accept that it is TIME (UTC), where certified time does not follow the clocks.

    \b
        tmr accept-time 2026-12-03T08:15Z

    The clocks of the licence system show more than a day later than the journal knows, and no time source
    keeps them: the alarm in `tmr status` says what they show. Compare that with a clock that you trust. TIME
    must be within ten minutes of it. It cannot be taken back: licences that ended by then have ended. Needs a
    certificate of the role `operator`.
    """
    with Client(settings.config(), policy=settings.policy(Policy(patience=15.0))) as client:
        found = client.accept_time(time)
    text = (
        f"Certified time is {written_time(found.time)}; it was {written_time(found.before)}."
        if found.changed
        else f"Certified time was {written_time(found.time)} already; nothing has changed."
    )
    settings.show([text], found.model_dump(mode="json"))
