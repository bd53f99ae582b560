# SPDX-License-Identifier: Apache-2.0
"""`tmr status`: twins, upstreams and votes."""

import asyncio
import sys
from dataclasses import replace

import click

from tmr.cli.common import (
    READ_POLICY,
    Settings,
    common,
)
from tmr.cli.health import EXIT_CODES, system_health
from tmr.cli.render import status_tables
from tmr.client import AsyncClient, Config, NoService, Policy, TmrError


@click.command(short_help="Show twins, upstreams and votes.")
@common()
def status(settings: Settings) -> None:
    """Show the twins side by side, the upstreams, and the licences with their votes.

    Asks the virtual address and both twins, each once. A network licence server is shown by itself.

    Exits with 0 if the system is healthy; with 1 if it is degraded: it serves, but redundancy is lost or an
    alarm stands; with 3 if it is down: no active twin answers at the virtual address.
    """
    config = settings.config()
    vips, twins = asyncio.run(_ask_all(config, settings.policy(READ_POLICY)))
    health = system_health(vips, twins)
    views = {"vip": [_view(view) for view in vips], "twins": [_view(view) for view in twins]}
    settings.show(status_tables.status(health.state, vips, twins), {"health": health, **views})
    sys.exit(EXIT_CODES[health.state])


async def _ask_all(
    config: Config, policy: Policy
) -> tuple[list[status_tables.TwinView], list[status_tables.TwinView]]:
    async with AsyncClient(config, policy=replace(policy, connect=1.0)) as client:

        async def ask(address: str) -> status_tables.TwinView:
            try:
                return status_tables.TwinView(address, await client.status(address))
            except NoService as error:
                return status_tables.TwinView(address, None, error.heard or error.message)
            except TmrError as error:
                return status_tables.TwinView(address, None, error.message)

        views = await asyncio.gather(*(ask(each) for each in (*config.servers, *config.twins)))
    return views[: len(config.servers)], views[len(config.servers) :]


def _view(view: status_tables.TwinView) -> dict[str, object]:
    return {"address": view.address, "status": view.status, "error": view.error or None}
