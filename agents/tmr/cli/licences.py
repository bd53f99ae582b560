# SPDX-License-Identifier: Apache-2.0
"""`tmr list`: the containers and their licences."""

import click

from tmr.api.licences import ItemList
from tmr.cli.common import (
    READ_POLICY,
    Settings,
    common,
)
from tmr.cli.render import licence_tables
from tmr.client import Client


@click.command("list")
@click.option("--verbose", "-v", is_flag=True, help="Show all options of each licence.")
@common()
def list_licences(settings: Settings, verbose: bool) -> None:
    """Show the virtual container, or that of a network licence server, and its licences.

    Licences of which too few constituents are available are shown below, with what is missing where.
    """
    with Client(settings.config(), policy=settings.policy(READ_POLICY)) as client:
        found = client.containers()
        items = [client.items(container.serial) for container in found]
    merged = ItemList(
        items=tuple(item for each in items for item in each.items),
        unavailable=tuple(item for each in items for item in each.unavailable),
    )
    document = {"containers": found, "items": merged.items, "unavailable": merged.unavailable}
    more = licence_tables.details(merged.items) if verbose else []
    settings.show([*licence_tables.containers(found, merged), *more], document)
