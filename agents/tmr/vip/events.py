# SPDX-License-Identifier: Apache-2.0
"""Events that the VIP manager decides about: besides these, the commands of `tmr.vip.protocol`."""

from typing import TypeAlias

import msgspec

from tmr.vip.protocol import Drop, Hold, Ping


class Connected(msgspec.Struct, frozen=True):
    """A commander has connected."""


class Disconnected(msgspec.Struct, frozen=True):
    """The commander is gone."""


class Carrier(msgspec.Struct, frozen=True):
    """The interface has a carrier, or has none."""

    up: bool


class Foreign(msgspec.Struct, frozen=True):
    """A frame of another machine claims `address`, one of ours."""

    address: str
    mac: str


class Vanished(msgspec.Struct, frozen=True):
    """The kernel no longer has `address`, and it was not removed by us."""

    address: str


class Appeared(msgspec.Struct, frozen=True):
    """The kernel has got `address`, one of ours, on some interface."""

    address: str


class Failed(msgspec.Struct, frozen=True):
    """An action could not be performed."""

    detail: str


class FrontSeen(msgspec.Struct, frozen=True):
    """So much is seen of the front network: see `tmr.vip.front`."""

    view: int


class Tick(msgspec.Struct, frozen=True):
    """Time has passed."""


class Stop(msgspec.Struct, frozen=True):
    """The manager is asked to end."""


Event: TypeAlias = (
    Hold
    | Drop
    | Ping
    | Connected
    | Disconnected
    | Carrier
    | Foreign
    | Vanished
    | Appeared
    | Failed
    | FrontSeen
    | Tick
    | Stop
)
