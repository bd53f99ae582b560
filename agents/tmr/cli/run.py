# SPDX-License-Identifier: Apache-2.0
"""`tmr run`: a licence held while a command runs."""

import datetime as dt
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tmr.api.fields import TTL_DEFAULT, TTL_MAX, TTL_MIN, UNITS_MAX
from tmr.api.sessions import EndedBy, QueuePlace
from tmr.cli import hold
from tmr.cli.common import (
    Settings,
    common,
    licence_options,
    mode_option,
    say,
    tell_on_stderr,
    version_options,
)
from tmr.cli.render import layout
from tmr.client import Client, ClientSession, Policy, TmrError

if TYPE_CHECKING:
    from tmr.client.borrowed import BorrowedLicence


@click.command(
    context_settings={"allow_interspersed_args": False},
    options_metavar="--firm CODE --product CODE [OPTIONS] --",
)
@licence_options
@mode_option
@click.option(
    "--ttl",
    type=click.IntRange(TTL_MIN, TTL_MAX),
    metavar="SECONDS",
    default=TTL_DEFAULT,
    show_default=True,
    help="Seconds without a sign of life after which the server takes the licence back.",
)
@version_options
@click.option(
    "--units", type=click.IntRange(0, UNITS_MAX), default=0, metavar="N", help="Units to take at the start."
)
@click.option(
    "--instance",
    default="",
    metavar="NAME",
    help="Names this run place: started again after a crash, COMMAND gets its old seat at once.",
)
@click.option("--wait", is_flag=True, help="Queue for a seat where none is free.")
@click.option(
    "--wait-at-most", type=click.FloatRange(min=0.0), metavar="SECONDS", help="The same, but no longer."
)
@click.option("--borrowed", is_flag=True, help="Use a licence borrowed on this machine, without the network.")
@click.option(
    "--take-again",
    is_flag=True,
    help="Ask anew for a licence that was lost for want of heartbeats, as after suspend.",
)
@click.option(
    "--main-only", is_flag=True, help="Give the licence back when COMMAND ends, whatever it leaves running."
)
@click.option("--verbose", "-v", is_flag=True, help="Tell what was granted.")
@click.argument("command", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
@common(json_too=False)
def run(
    settings: Settings,
    firm: int,
    product: int,
    tmr_id: int | None,
    mode: str,
    ttl: int,
    features: int,
    released: dt.datetime | None,
    units: int,
    instance: str,
    wait: bool,
    wait_at_most: float | None,
    borrowed: bool,
    take_again: bool,
    main_only: bool,
    verbose: bool,
    command: Sequence[str],
) -> None:
    """Hold a licence while COMMAND runs.

    \b
        tmr run --firm 6000010 --product 201 -- simulate --steps 1000

    Ends with the exit code of COMMAND (126, 127: it could not be started; 128 + n: ended by signal n).
    Signals are passed on to it. The licence is held until COMMAND and all processes that it left behind have
    ended. COMMAND goes on during a failover; should the licence be lost, this is told on stderr.
    """
    tell_on_stderr()
    hold.end_on_signals()
    if borrowed:
        from tmr.cli.borrowing import usable  # noqa: PLC0415

        find = partial(usable, settings.config(), firm, product, tmr_id, features, released)
        sys.exit(_run_borrowed(find, partial(_run, command, main_only), verbose))
    with (
        Client(settings.config(), policy=settings.policy(Policy())) as client,
        client.session(
            firm,
            product,
            tmr_id=tmr_id,
            access_mode=mode,
            ttl=ttl,
            features=features,
            released=released,
            units=units,
            instance=instance,
            wait=True if wait and wait_at_most is None else wait_at_most or 0.0,
            on_wait=_Waiting(),
            on_lost=_take_again if take_again else None,
            process=f"{Path(command[0]).name}[{os.getpid()}]",
        ) as session,
    ):
        for warning in session.licence.warnings:
            say(warning)
        if verbose:
            granted = session.licence
            seats = "unlimited" if granted.quantity is None else granted.quantity
            say(
                f"licence {granted.label} of container {granted.container}: session {granted.id}, "
                f"{granted.access_mode}, {granted.in_use} of {seats} in use"
            )
        code = _run(command, main_only)
    sys.exit(code)


def _take_again(session: ClientSession) -> None:
    """Take a session again that ended because this machine was not heard, as after suspend."""
    if session.ended is not None and session.ended.by is not EndedBy.EXPIRY:
        return
    try:
        session.take_again()
    except TmrError as error:
        say(f"the licence could not be taken again: {error}")
    else:
        say(f"the licence was taken again: session {session.id} on {session.licence.label}")


def _run(command: Sequence[str], main_only: bool) -> int:
    try:
        return hold.run(command, say, main_only=main_only)
    except hold.NotStarted as error:
        say(str(error))
        return error.code


def _run_borrowed(find: "Callable[[], BorrowedLicence]", run: Callable[[], int], verbose: bool) -> int:
    from tmr.cli.borrowing import Watch  # noqa: PLC0415

    licence = find()
    if verbose:
        say(f"licence {licence.label}: borrowing {licence.borrow}, until {layout.moment(licence.until)}")
    with Watch(find, say):
        return run()


class _Waiting:
    """Tells the position in the queue when it changes."""

    def __init__(self) -> None:
        self._told = 0

    def __call__(self, place: QueuePlace) -> None:
        if place.position != self._told:
            self._told = place.position
            until = (
                ""
                if place.next_end is None
                else f"; a seat is back at the latest {layout.moment(place.next_end)}"
            )
            say(f"no seat is free; place {place.position} of {place.waiting} in the queue{until}")
