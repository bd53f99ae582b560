# SPDX-License-Identifier: Apache-2.0
"""`tmr explain`: what would happen to a request, and why."""

import datetime as dt

import click
from rich.console import RenderableType
from rich.text import Text

from tmr.api.explain import Candidate, Explanation
from tmr.cli.common import READ_POLICY, Settings, common, licence_options, mode_option, version_options
from tmr.cli.render.layout import BAD, GOOD, WARN, moment
from tmr.cli.render.licence_tables import constituents, use
from tmr.cli.render.problem_tables import holders
from tmr.cli.spelling import PERIOD
from tmr.client import Client
from tmr.client._operations import explain_request
from tmr.client._session import own_station, own_user
from tmr.licensing.spelling import counted


@click.command(short_help="Say what would happen to a request, and why.")
@licence_options
@mode_option
@version_options
@click.option("--units", type=click.IntRange(0), default=0, metavar="N", help="Units to take.")
@click.option("--borrow", type=PERIOD, metavar="PERIOD", help="Explain a borrowing: 3d, 12h.")
@click.option("--user", metavar="NAME", help="As if this user asked.")
@click.option("--station", metavar="NAME", help="As if this machine asked.")
@click.option("--client", metavar="NAME", help="As if this certificate's holder asked. For operators.")
@click.option("--address", metavar="IP", help="As if from this IP address. For operators.")
@common()
def explain(
    settings: Settings,
    firm: int,
    product: int,
    tmr_id: int | None,
    mode: str,
    features: int,
    released: dt.datetime | None,
    units: int,
    borrow: int | None,
    user: str | None,
    station: str | None,
    client: str | None,
    address: str | None,
) -> None:
    """Say what would happen to a request now: which licences were looked at, why one is given or none.

    Shows which constituents are available where, who holds the seats, which access rule decides, and when a
    seat comes back. Nothing changes. An operator may ask on somebody else's behalf.
    """
    request = explain_request(
        firm_code=firm,
        product_code=product,
        tmr_id=tmr_id,
        access_mode=mode,
        features=features,
        released=released,
        units=units,
        borrow_seconds=borrow,
        station=station or own_station(),
        user=own_user() if user is None else user,
        client=client,
        address=address,
    )
    with Client(settings.config(), policy=settings.policy(READ_POLICY)) as connected:
        found = connected.explain(request)
    settings.show(shown(found), found)


def shown(found: Explanation) -> list[RenderableType]:
    """The explanation, for people."""
    asked = found.asked
    product = f"{asked['firm_code']}:{asked['product_code']}"
    what = "be borrowed" if asked.get("borrow_seconds") else f"be used, {asked['access_mode']}"
    who = f"{asked.get('user') or asked.get('client') or 'you'} at {asked['station']}"
    verdict = Text.assemble(
        (f"{product} can {what}", GOOD) if found.granted else (f"{product} cannot {what}", BAD),
        f", by {who}",
    )
    out: list[RenderableType] = [verdict]
    if found.detail:
        out.append(f"{found.detail[:1].upper()}{found.detail[1:]} ({found.problem}).")
    if found.waiting:
        waits = "waits" if found.waiting == 1 else "wait"
        out.append(f"{counted(found.waiting, 'request')} {waits} for a seat.")
    for each in found.licences:
        out += ["", *_candidate(each)]
    return out


def _candidate(each: Candidate) -> list[RenderableType]:
    head = Text.assemble(
        (each.label, "bold"), f" {each.name}" if each.name else "", "  ", use(each), " in use"
    )
    if each.borrowed:
        head.append(f", {each.borrowed} of them borrowed")
    if each.units_remaining is not None:
        head.append(f", {each.units_remaining} units left")
    if each.ends is not None:
        head.append(f", until {moment(each.ends)}")
    if each.emergency:
        head.append(", emergency licence", WARN)
    out: list[RenderableType] = [head]
    if each.granted:
        out.append(Text("  it would be given", GOOD))
    else:
        rule = f" (access rule {each.rule!r})" if each.rule and repr(each.rule) not in each.detail else ""
        out.append(Text(f"  not given: {each.detail or each.problem}{rule}", WARN))
    out.append(Text.assemble("  constituents: ", constituents(each.constituents)))
    if each.next_end is not None:
        out.append(f"  a seat comes back at the latest {moment(each.next_end)}")
    if each.holders:
        out.append(holders(each.holders))
    return out
