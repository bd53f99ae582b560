# SPDX-License-Identifier: Apache-2.0
"""Update files: as they are, and payloads that the vendor signed."""

import msgspec

from tests.unit.licensing.system import FIRM, TRUSTED, VENDOR, activated, containers, issue_to
from tests.unit.licensing.test_hostile import EVERY_OPTION
from tmr.licensing import UpdateRefused, activate, open_update
from tmr.licensing.dsse import read_envelope, seal
from tmr.licensing.update import UPDATE_TYPE

NEW = containers()
_HISTORY: list = []  # type: ignore[type-arg]
FIRST = issue_to(NEW, _HISTORY, EVERY_OPTION).file
LATER = activated(NEW, FIRST)
SECOND = issue_to(LATER, _HISTORY, None).file
SEEDS = [
    *(b"\0" + file for file in (FIRST, SECOND)),
    *(b"\1" + read_envelope(file).payload for file in (FIRST, SECOND)),
]


def check(data: bytes) -> None:
    """The first byte says whether the rest is a file, or a payload."""
    file = data[1:] if data[:1] != b"\1" else seal(UPDATE_TYPE, data[1:], VENDOR)
    try:
        open_update(file, TRUSTED[FIRM])
    except UpdateRefused as error:
        assert str(error).isprintable()
    for container in (NEW[0], LATER[0]):
        before = msgspec.msgpack.encode(container)
        try:
            after = activate(container, file, TRUSTED)
        except UpdateRefused:
            after = None
        assert msgspec.msgpack.encode(container) == before
        if after is not None:
            assert after.generation == container.generation + 1
            body = msgspec.json.encode(after)
            assert msgspec.json.decode(body, type=type(after)) == after, "the store gives it back"
