# SPDX-License-Identifier: Apache-2.0
"""Tables of sessions, and of requests that wait for a seat. No I/O."""

from collections.abc import Sequence
from functools import partial

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tmr.api.sessions import HeldSession, QueuedRequest
from tmr.cli.ids import spelled
from tmr.cli.render.layout import FirstFitting, chosen, moment, person


def sessions(held: Sequence[HeldSession], queue: Sequence[QueuedRequest] = ()) -> list[RenderableType]:
    """Table of holders, and of those that wait."""
    out: list[RenderableType] = ["No sessions."]
    if held:
        table = partial(_held, held)
        short = partial(_held, held, short=True)
        out = [
            FirstFitting(
                [table()],
                [table("Since")],
                [short("Since")],
                [short("Since", "Process")],
                [short("Since", "Process", "Mode", "Client")],
            )
        ]
    if queue:
        rows = partial(_queue, queue)
        few = [rows("Since", short=True)], [rows("Since", "Mode", short=True)]
        out += ["", Text("Waiting for a seat", "bold"), FirstFitting([rows()], [rows(short=True)], *few)]
    return out


def _held(held: Sequence[HeldSession], *without: str, short: bool = False) -> Table:
    return chosen(
        ("Licence", "Mode", "Client", "Held by", "Since", ">Ends in", "Process", "Session"),
        [
            (
                each.label,
                each.access_mode,
                each.client,
                person(each.user, each.station),
                moment(each.granted_at, "%m-%d %H:%M"),
                "-" if each.remaining_ms is None else f"{each.remaining_ms / 1000:.0f} s",
                each.process,
                spelled(each.id, short),
            )
            for each in held
        ],
        without,
    )


def _queue(queue: Sequence[QueuedRequest], *without: str, short: bool = False) -> Table:
    return chosen(
        ("Product", ">Place", "Mode", "Client", "Asked by", "Since", "Id"),
        [
            (
                f"{each.firm_code}:{each.product_code}",
                str(each.position),
                each.access_mode,
                each.client,
                person(each.user, each.station),
                moment(each.since, "%m-%d %H:%M"),
                spelled(each.id, short),
            )
            for each in queue
        ],
        without,
    )
