# SPDX-License-Identifier: Apache-2.0
"""`tmr sessions`, `tmr end`: who holds which licence, and who waits."""

import click

from tmr.api.problems import problem
from tmr.cli.common import (
    READ_POLICY,
    Settings,
    common,
)
from tmr.cli.ids import find
from tmr.cli.render import session_tables
from tmr.client import Client, Policy, SessionLost


@click.command(short_help="Show who holds which licence, and who waits.")
@common()
def sessions(settings: Settings) -> None:
    """Show sessions and waiting requests: of this certificate; with an operator's, everybody's."""
    with Client(settings.config(), policy=settings.policy(READ_POLICY)) as client:
        found = client.session_list()
    settings.show(
        session_tables.sessions(found.sessions, found.queue),
        {"sessions": found.sessions, "queue": found.queue},
    )


@click.command(short_help="End a session, or a place in a queue.")
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
