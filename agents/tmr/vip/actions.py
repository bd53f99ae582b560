# SPDX-License-Identifier: Apache-2.0
"""Actions that the VIP manager decides on, to be performed in their order."""

from typing import TypeAlias

import msgspec

from tmr.vip import protocol


class Add(msgspec.Struct, frozen=True):
    """Put every VIP up, with the kernel lifetime that `kernel_lifetime` gives at that moment."""

    until_ns: int


class Refresh(msgspec.Struct, frozen=True):
    """Renew the kernel lifetime; leave it alone if less than a second remains."""

    until_ns: int


class Remove(msgspec.Struct, frozen=True):
    """Take every VIP away; it is no error if it is not there. What follows must wait until it is done."""


class RemoveStrays(msgspec.Struct, frozen=True):
    """Take away every VIP on this machine that this daemon did not put up; `keep_own`: it has put it up."""

    keep_own: bool


class Announce(msgspec.Struct, frozen=True):
    """Send the announcement frames, each only while the clock is before `until_ns`."""

    until_ns: int


class SendRelease(msgspec.Struct, frozen=True):
    """POST `body` to every target, in the background; of no use after `until_ns`."""

    epoch: int
    body: bytes
    until_ns: int


class Tell(msgspec.Struct, frozen=True):
    """Send a report to the commander, if there is one."""

    report: protocol.Report


class Ignore(msgspec.Struct, frozen=True):
    """Nothing is done, and why."""

    reason: str


Action: TypeAlias = Add | Refresh | Remove | RemoveStrays | Announce | SendRelease | Tell | Ignore
