"""The `tmr` command.

Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no service. `tmr run` ends with the exit code
of its command once that was started; `tmr status` ends with 0 healthy, 1 degraded, 3 down.
"""

import asyncio
import contextlib
import datetime as dt
import importlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import click

from tmr.api.fields import TTL_DEFAULT, TTL_MAX, TTL_MIN, UNITS_MAX
from tmr.api.licences import ItemList
from tmr.api.problems import problem
from tmr.api.sessions import QueuePlace
from tmr.api.status import Role
from tmr.cli import hold, tables
from tmr.cli.common import (
    LOOK,
    Settings,
    common,
    config_option,
    licence_options,
    mode_option,
    say,
    tell_on_stderr,
    version_options,
)
from tmr.cli.health import EXIT_CODES, system_health
from tmr.cli.ids import find
from tmr.cli.spelling import KEY
from tmr.client import AccessMode, AsyncClient, Client, Config, NoService, Policy, SessionLost, TmrError
from tmr.client.session import default_request

SWITCHOVER_TIME: Final = 15.0
"""Seconds for the other twin to become active."""


_ELSEWHERE: Final = {
    "access": ("tmr.cli.access", "access"),
    "borrow": ("tmr.cli.borrowing", "borrow"),
    "borrowed": ("tmr.cli.borrowing", "borrowed"),
    "explain": ("tmr.cli.explain", "explain"),
    "return": ("tmr.cli.borrowing", "give_back"),
    "trust": ("tmr.cli.trust", "trust"),
    "accept-time": ("tmr.cli.accept_time", "accept_time"),
    "tracking": ("tmr.cli.tracking", "tracking"),
    "vendor": ("tmr.cli.vendor", "vendor"),
}
"""Commands that live in modules of their own, which are imported when they are called."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, name = _ELSEWHERE[cmd_name]
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage or configuration, 3 no service.",
)
@click.version_option(package_name="tmr", prog_name="tmr")
@config_option
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Licences of a TMR system: see them, hold them, and look after the servers."""
    ctx.ensure_object(Settings).path = config


@cli.command("list")
@click.option("--verbose", "-v", is_flag=True, help="Show all options of each licence.")
@common()
def list_licences(settings: Settings, verbose: bool) -> None:
    """Show the virtual container, or that of a network licence server, and its licences.

    Licences of which too few constituents are available are shown below, with what is missing where.
    """
    with Client(settings.config(), policy=settings.policy(LOOK)) as client:
        found = client.containers()
        items = [client.items(container.serial) for container in found]
    merged = ItemList(
        items=tuple(item for each in items for item in each.items),
        unavailable=tuple(item for each in items for item in each.unavailable),
    )
    document = {"containers": found, "items": merged.items, "unavailable": merged.unavailable}
    more = tables.details(merged.items) if verbose else []
    settings.show([*tables.containers(found, merged), *more], document)


@cli.command(short_help="Show who holds which licence, and who waits.")
@common()
def sessions(settings: Settings) -> None:
    """Show sessions and waiting requests: of this certificate; with an operator's, everybody's."""
    with Client(settings.config(), policy=settings.policy(LOOK)) as client:
        found = client.session_list()
    settings.show(
        tables.sessions(found.sessions, found.queue), {"sessions": found.sessions, "queue": found.queue}
    )


@cli.command(short_help="End a session, or a place in a queue.")
@click.argument("session", metavar="ID")
@common()
def end(settings: Settings, session: str) -> None:
    """End a session, or give up a place in a queue; `tmr sessions` shows their ids.

    The last 8 digits of an ID are enough. With an operator's certificate, anybody's: its program is told that
    an operator ended it.
    """
    with Client(settings.config(), policy=settings.policy(Policy(patience=15.0))) as client:
        listed = client.session_list()
        ids = {each.id for each in listed.sessions} | {each.id for each in listed.queue}
        known = find(session, ids)
        if known is None:
            raise SessionLost(
                problem("session-lost", f"There is no session {session}.", "Look at `tmr sessions`.")
            )
        client.release(known)
    settings.show([f"Session {known} has ended."], {"session": known, "ended": True})


@cli.command(short_help="Take units from a Unit Counter.")
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


@cli.command(short_help="Show twins, upstreams and votes.")
@common()
def status(settings: Settings) -> None:
    """Show the twins side by side, the upstreams, and the licences with their votes.

    Asks the virtual address and both twins, each once. A network licence server is shown by itself.

    Exits with 0 if the system is healthy; with 1 if it is degraded: it serves, but redundancy is lost or an
    alarm stands; with 3 if it is down: no active twin answers at the virtual address.
    """
    config = settings.config()
    vips, twins = asyncio.run(_ask_all(config, settings.policy(LOOK)))
    health = system_health(vips, twins)
    views = {"vip": [_view(view) for view in vips], "twins": [_view(view) for view in twins]}
    settings.show(tables.status(health.state, vips, twins), {"health": health, **views})
    sys.exit(EXIT_CODES[health.state])


async def _ask_all(config: Config, policy: Policy) -> tuple[list[tables.TwinView], list[tables.TwinView]]:
    async with AsyncClient(config, policy=replace(policy, connect=1.0)) as client:

        async def ask(address: str) -> tables.TwinView:
            try:
                return tables.TwinView(address, await client.status(address))
            except NoService as error:
                return tables.TwinView(address, None, error.heard or error.message)
            except TmrError as error:
                return tables.TwinView(address, None, error.message)

        views = await asyncio.gather(*(ask(each) for each in (*config.servers, *config.twins)))
    return views[: len(config.servers)], views[len(config.servers) :]


@cli.command(
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
    verbose: bool,
    command: Sequence[str],
) -> None:
    """Hold a licence while COMMAND runs.

    \b
        tmr run --firm 6000010 --product 201 -- simulate --steps 1000

    Ends with the exit code of COMMAND (126, 127: it could not be started; 128 + n: ended by signal n).
    Signals are passed on to it. It goes on during a failover; should the licence be lost, this is told on
    stderr.
    """
    tell_on_stderr()
    hold.end_on_signals()
    if borrowed:
        sys.exit(_run_borrowed(settings, firm, product, tmr_id, features, released, verbose, command))
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
        code = _run(command)
    sys.exit(code)


def _run(command: Sequence[str]) -> int:
    try:
        return hold.run(command)
    except hold.NotStarted as error:
        say(str(error))
        return error.code


def _run_borrowed(
    settings: Settings,
    firm: int,
    product: int,
    tmr_id: int | None,
    features: int,
    released: dt.datetime | None,
    verbose: bool,
    command: Sequence[str],
) -> int:
    from tmr.cli.borrowing import Watch, usable  # noqa: PLC0415

    find = partial(usable, settings.config(), firm, product, tmr_id, features, released)
    licence = find()
    if verbose:
        say(f"licence {licence.label}: borrowing {licence.borrow}, until {tables.moment(licence.until)}")
    with Watch(find, say):
        return _run(command)


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
                else f"; a seat is back at the latest {tables.moment(place.next_end)}"
            )
            say(f"no seat is free; place {place.position} of {place.waiting} in the queue{until}")


@cli.command(short_help="Make the other twin active.")
@common()
def switchover(settings: Settings) -> None:
    """Make the active twin step down, and wait until the other is active.

    Needs a certificate of the role `operator`. Sessions live on.
    """
    with Client(settings.config(), policy=settings.policy(Policy(patience=SWITCHOVER_TIME))) as client:
        before = client.switchover().from_
        began = time.monotonic()
        while True:
            now = client.status()
            took = time.monotonic() - began
            if now.role is Role.ACTIVE and now.name != before:
                break
            if took > SWITCHOVER_TIME:
                raise NoService(
                    f"{before} stepped down, but no other twin became active within {took:.0f} s",
                    "Look at `tmr status`: the other twin must be up and reach two upstreams.",
                )
            time.sleep(0.02)
    text = f"{before} stepped down; {now.name} is active after {took:.2f} s (epoch {now.epoch})."
    settings.show([text], {"from": before, "to": now.name, "epoch": now.epoch, "seconds": round(took, 3)})


def _view(view: tables.TwinView) -> dict[str, object]:
    return {"address": view.address, "status": view.status, "error": view.error or None}


def main() -> None:
    """Entry point of the `tmr` command."""
    cli.main(prog_name="tmr")
