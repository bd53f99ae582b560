# SPDX-License-Identifier: Apache-2.0
"""`tmr trust`: the new container of an upstream. For operators."""

import click

from tmr.cli.common import Settings, common
from tmr.client import Client, Policy


@click.command(short_help="Believe the new container of an upstream.")
@click.argument("upstream", metavar="UPSTREAM")
@click.argument("fingerprint", metavar="FINGERPRINT", nargs=-1, required=True)
@common()
def trust(settings: Settings, upstream: str, fingerprint: tuple[str, ...]) -> None:
    """Believe the container that UPSTREAM has now, after its disk or its machine was replaced.

    \b
        tmr trust up2 93ae6cff23b65c0b…

    FINGERPRINT is that of the container's key, as `tmr-upstream status` shows it on that machine. From then
    on the licences that the vendor issued to this container count. Needs a certificate of the role
    `operator`.
    """
    with Client(settings.config(), policy=settings.policy(Policy(patience=15.0))) as client:
        found = client.trust(upstream, "".join(fingerprint))
    text = f"{found.upstream}: the container {found.container} " + (
        "is believed from now on." if found.changed else "was believed before; nothing has changed."
    )
    settings.show([text], found.model_dump(mode="json"))
