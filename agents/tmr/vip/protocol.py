# SPDX-License-Identifier: Apache-2.0
"""Messages on the Unix socket between tmr-server and tmr-vip: one JSON object a line, at most 64 KiB.

Both ends import this module: tmr-vip itself imports nothing of tmr outside its package.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

VERSION = 1
LINE_LIMIT = 64 * 1024

Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Founding = Annotated[str, msgspec.Meta(max_length=64)]
Reason = Literal["asked", "deadline", "carrier", "error"]


class Hold(msgspec.Struct, frozen=True, tag_field="op", tag="hold"):
    """Hold the VIP until `deadline_ns` (CLOCK_BOOTTIME); `will` is POSTed if the sender dies."""

    epoch: Epoch
    deadline_ns: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    release: bytes = b""
    founding: Founding = ""
    """Founding of the system: epochs of different foundings cannot be compared. Empty: not said."""


class Drop(msgspec.Struct, frozen=True, tag_field="op", tag="drop"):
    """Remove the VIP now; `epoch` and everything before it never holds it again in this founding."""

    epoch: Epoch
    founding: Founding = ""


class Ping(msgspec.Struct, frozen=True, tag_field="op", tag="ping"):
    """Question for a sign of life; answered by Pong."""


class Hello(msgspec.Struct, frozen=True, tag_field="event", tag="hello"):
    """First message in a connection."""

    version: int
    carrier: bool


class Held(msgspec.Struct, frozen=True, tag_field="event", tag="held"):
    """Answer to a hold: the VIP is up and announced; `deadline_ns` is the hold's."""

    epoch: int
    deadline_ns: int


class Dropped(msgspec.Struct, frozen=True, tag_field="event", tag="dropped"):
    """The VIP is gone."""

    epoch: int
    reason: Reason
    detail: str = ""


class CarrierChanged(msgspec.Struct, frozen=True, tag_field="event", tag="carrier"):
    """The cable of the front interface was lost or came back."""

    up: bool


class Conflict(msgspec.Struct, frozen=True, tag_field="event", tag="conflict"):
    """Another machine claims the VIP while it is held here."""

    address: str
    mac: str


class CommandRefused(msgspec.Struct, frozen=True, tag_field="event", tag="refused"):
    """A command that was not followed; `epoch` is None when the command could not be read.

    `again`: the hold came too late, and one with a later deadline may succeed.
    """

    detail: str
    epoch: int | None = None
    again: bool = False


class Front(msgspec.Struct, frozen=True, tag_field="event", tag="front"):
    """View of the front network: see `tmr.vip.front`. Sent after hello, and when it changes."""

    view: int


class Pong(msgspec.Struct, frozen=True, tag_field="event", tag="pong"):
    """Answer to a ping."""


Command = Hold | Drop | Ping
Report = Hello | Held | Dropped | CarrierChanged | Conflict | CommandRefused | Pong | Front

_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_reports: msgspec.json.Decoder[Report] = msgspec.json.Decoder(Report)
_encoder = msgspec.json.Encoder()


def decode_command(line: bytes) -> Command | CommandRefused:
    """One command, or the refusal to send back."""
    try:
        return _commands.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return CommandRefused(detail=f"not a command: {error}")


def effective(commands: Sequence[Command]) -> list[Command]:
    """Commands that waited together, without each hold that a later hold or drop replaces."""
    last = max((at for at, command in enumerate(commands) if not isinstance(command, Ping)), default=-1)
    return [command for at, command in enumerate(commands) if at == last or not isinstance(command, Hold)]


def decode_report(line: bytes) -> Report:
    """One report. Raises msgspec.DecodeError for anything else."""
    return _reports.decode(line)


def encode(message: Command | Report) -> bytes:
    """One line, newline included."""
    return _encoder.encode(message) + b"\n"
