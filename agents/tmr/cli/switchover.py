# SPDX-License-Identifier: Apache-2.0
"""`tmr switchover`: the other twin becomes active."""

import time
from typing import Final

import click

from tmr.api.status import Role
from tmr.cli.common import (
    Settings,
    common,
)
from tmr.client import Client, NoService, Policy

SWITCHOVER_TIME: Final = 15.0
"""Seconds for the other twin to become active."""


@click.command(short_help="Make the other twin active.")
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
