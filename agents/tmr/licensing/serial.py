# SPDX-License-Identifier: Apache-2.0
"""Serials of CmContainers: `MASK-NUMBER`, where the mask byte tells the kind of container.

That of a cloud container may have a third part, `140-NUMBER-NUMBER`.
"""

import hashlib
import re
from enum import StrEnum
from typing import Final, Self

import msgspec

from tmr.licensing.errors import BadSerial

NUMBER_MAX: Final = 2**32 - 1
_SHAPE: Final = re.compile(r"(0|[1-9][0-9]{0,2})-(0|[1-9][0-9]{0,9})(?:-(0|[1-9][0-9]{0,9}))?", re.ASCII)


class Kind(StrEnum):
    """Kind of a container, by its mask."""

    CM_DONGLE = "CmDongle"
    CM_ACT_LICENSE = "CmActLicense"
    CM_ACT_LICENSE_UNIVERSAL = "CmActLicense with Universal Firm Code"
    TMR_VIRTUAL = "virtual container of a TMR system"
    CM_CLOUD_CONTAINER = "CmCloudContainer"


MASKS: Final[dict[int, Kind]] = {
    1: Kind.CM_DONGLE,
    2: Kind.CM_DONGLE,
    3: Kind.CM_DONGLE,
    127: Kind.CM_ACT_LICENSE,
    128: Kind.CM_ACT_LICENSE,
    129: Kind.CM_ACT_LICENSE,
    130: Kind.CM_ACT_LICENSE_UNIVERSAL,
    131: Kind.TMR_VIRTUAL,
    140: Kind.CM_CLOUD_CONTAINER,
}
"""Mask byte to kind (DESIGN section 1; CodeMeter's documentation of serial numbers)."""


class SerialUse(StrEnum):
    """Place in which a serial can stand; each takes one kind of container."""

    LICENCE_FILE = "a request, an update or a statement"
    NETWORK_SERVER = "a network licence server"
    TMR_SERVER = "a TMR server"


FITTING: Final = {
    SerialUse.LICENCE_FILE: Kind.CM_ACT_LICENSE_UNIVERSAL,
    SerialUse.NETWORK_SERVER: Kind.CM_ACT_LICENSE_UNIVERSAL,
    SerialUse.TMR_SERVER: Kind.TMR_VIRTUAL,
}
"""Licence files are of one real container; what clients see is that container, or the TMR system's own."""

_FOREIGN: Final = {
    Kind.CM_DONGLE: "a dongle's licences are programmed with the tools of its maker",
    Kind.CM_ACT_LICENSE: "such a container has no Universal Firm Code",
    Kind.CM_CLOUD_CONTAINER: "a cloud container is kept by its maker's service",
}


class Serial(msgspec.Struct, frozen=True, order=True):
    """One serial. Numbers have 32 bits, `mask` is one of `MASKS`; else `BadSerial`.

    `second`: number of a cloud container besides the first; None: there is none.
    """

    mask: int
    number: int
    second: int | None = None

    def __post_init__(self) -> None:
        if self.mask not in MASKS:
            raise BadSerial(
                "unknown-mask",
                f"serial {self}: no kind of container has the mask {self.mask}",
                f"known masks are {', '.join(map(str, MASKS))}",
            )
        if self.second is not None and self.kind is not Kind.CM_CLOUD_CONTAINER:
            raise BadSerial(
                "ill-formed",
                f"serial {self}: a {self.kind} has one number",
                "write MASK-NUMBER; only the serial of a cloud container has a third part",
            )
        numbers = [self.number] if self.second is None else [self.number, self.second]
        if not all(type(number) is int and 0 <= number <= NUMBER_MAX for number in numbers):
            raise BadSerial(
                "out-of-range",
                f"serial {self}: a number is outside 0 to {NUMBER_MAX}",
                "copy the serial from the container itself",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The serial written as `130-1234567`, in decimal without leading zeros. Raises `BadSerial`."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise BadSerial(
                "ill-formed",
                f"{text[:40]!r} is no serial of a container",
                "write MASK-NUMBER without leading zeros, for example 130-1234567",
            )
        return cls(int(match[1]), int(match[2]), None if match[3] is None else int(match[3]))

    @property
    def kind(self) -> Kind:
        """Kind of this container."""
        return MASKS[self.mask]

    def check(self, place: SerialUse) -> Self:
        """This serial, if its kind of container belongs to `place`; else `BadSerial` `wrong-kind`."""
        if self.kind is FITTING[place]:
            return self
        if self.kind is Kind.TMR_VIRTUAL:
            why = "a virtual container holds nothing itself, its licences are in three others"
            if place is SerialUse.NETWORK_SERVER:
                why = "only a TMR server shows a virtual container"
        elif place is SerialUse.TMR_SERVER and self.kind is Kind.CM_ACT_LICENSE_UNIVERSAL:
            why = "clients see the virtual container, not the three it is made of"
        else:
            why = _FOREIGN[self.kind]
        remedy = (
            "use the serial of the virtual container, 131-…: tmr list shows it"
            if place is SerialUse.TMR_SERVER
            else "use the serial of an upstream's own container, 130-…: tmr-upstream status shows it"
        )
        raise BadSerial(
            "wrong-kind", f"serial {self}: a {self.kind} does not belong to {place.value}: {why}", remedy
        )

    def __str__(self) -> str:
        return f"{self.mask}-{self.number}" + ("" if self.second is None else f"-{self.second}")


def container_serial(public_key: bytes) -> Serial:
    """The `130-` serial of the container with this Ed25519 public key (32 bytes).

    It is derived from the key, so that a copied container cannot pass for a second one.
    """
    return Serial(130, _number(b"tmr container\0" + public_key))


def virtual_serial(act_id: str) -> Serial:
    """The `131-` serial of the virtual container of the system whose containers share this CmActId."""
    return Serial(131, _number(b"tmr virtual container\0" + act_id.encode("utf-8", "replace")))


def _number(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:4], "big")
