# SPDX-License-Identifier: Apache-2.0
"""Expiry of certificates, CAs and revocation lists: which alarms stand at what time. Pure."""

import datetime
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

DAY: Final = 86_400.0
STAGES: Final = (60, 30, 7)
"""Days before an end at which its alarm begins, and at which it is logged with more weight."""
FULL_LIFE: Final = 240 * DAY
"""Seconds: what lives shorter has its stages nearer to its end, in proportion. Its renewal is frequent."""
ENDED: Final = 0
"""Stage of what has ended."""

File = Literal["certificate", "ca", "crl"]
FILES: Final[tuple[File, ...]] = ("certificate", "ca", "crl")

_REMEDIES: Final[dict[File, str]] = {
    "certificate": "renew it: site.yml --tags pki",
    "ca": "replace it, and every certificate with it (how-to: Certificates)",
    "crl": "make it again: site.yml --tags pki",
}
_LOSSES: Final[dict[File, str]] = {
    "certificate": "no peer accepts it",
    "ca": "no certificate of it is accepted",
    "crl": "no peer is accepted",
}


class Validity(msgspec.Struct, frozen=True):
    """Time in which one certificate or list of a configured file is valid. Unix times.

    `name`: for people. `ends`: None: never.
    """

    file: File
    name: str
    begins: float
    ends: float | None

    def holds(self, now: float) -> bool:
        """Tells whether it is valid at `now`."""
        return self.begins <= now and (self.ends is None or now < self.ends)


class CertificateState(msgspec.Struct, frozen=True):
    """Certificate, CAs and revocation lists that a daemon uses, and why it does not use those on the disk.

    `problem`: a sentence; empty: the files on the disk are those in use.
    """

    validities: tuple[Validity, ...] = ()
    problem: str = ""

    def alarms(self, now: float) -> list[str]:
        """Alarms for an operator at Unix time `now`, each a sentence."""
        found = [self.problem] if self.problem else []
        return found + [alarm for one in self.validities if (alarm := alarm_of(one, now))]

    def ends(self, file: File) -> float | None:
        """Unix time at which the first of `file` ends; None: none does."""
        return min((v.ends for v in self.validities if v.file == file and v.ends is not None), default=None)


def lead(validity: Validity, days: int) -> float:
    """Seconds before its end at which the stage of `days` begins."""
    if validity.ends is None:
        return 0.0
    return days * DAY * max(0.0, min(1.0, (validity.ends - validity.begins) / FULL_LIFE))


def stage(validity: Validity, now: float) -> int | None:
    """The last of STAGES that has begun at `now`, ENDED after the end; None: none has begun yet."""
    if validity.ends is None:
        return None
    if now >= validity.ends:
        return ENDED
    left = validity.ends - now
    return min((days for days in STAGES if left <= lead(validity, days)), default=None)


def alarm_of(validity: Validity, now: float) -> str:
    """The alarm of one certificate or list at `now`; empty: there is none."""
    if now < validity.begins:
        return (
            f"{validity.name} begins on {written(validity.begins)} only; before, {_LOSSES[validity.file]}: "
            "set the clocks of this machine and of the controller right"
        )
    reached = stage(validity, now)
    if reached is None or validity.ends is None:
        return ""
    if reached == ENDED:
        loss = f"ended on {written(validity.ends)}, and {_LOSSES[validity.file]} any more"
    else:
        loss = f"ends on {written(validity.ends)}; then {_LOSSES[validity.file]}"
    return f"{validity.name} {loss}: {_REMEDIES[validity.file]}"


def objection(new: Sequence[Validity], used: Sequence[Validity], now: float) -> str:
    """Reason not to take `new` into use in place of `used`; empty: there is none.

    What is valid is not given up for what is not: a certificate of a controller whose clock is ahead, or a
    file from an old copy.
    """
    if not _valid(used, now):
        return ""
    for file in FILES:
        wrong = [one for one in new if one.file == file and not one.holds(now)]
        if wrong and (file != "ca" or not any(one.file == file and one.holds(now) for one in new)):
            one = wrong[0]
            if now < one.begins:
                return f"{one.name} begins on {written(one.begins)} only; set the clocks right, or wait"
            return f"{one.name} ended on {written(one.ends or now)}; renew it: site.yml --tags pki"
    return ""


def _valid(used: Sequence[Validity], now: float) -> bool:
    """Tells whether a certificate, a CA and all lists in use are valid."""
    cas = [one for one in used if one.file == "ca"]
    return any(one.holds(now) for one in cas) and all(one.holds(now) for one in used if one.file != "ca")


def written(moment: float) -> str:
    """A Unix time for people: UTC, to the minute."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
