# SPDX-License-Identifier: Apache-2.0
"""Request files: as they are, and payloads that a container signed."""

from tests.unit.licensing.system import CONTAINER_KEYS, FIRM, containers
from tmr.licensing import BadRequest, make_request, open_request
from tmr.licensing.dsse import read_envelope, seal
from tmr.licensing.request import REQUEST_TYPE

FILE = make_request(containers()[0], FIRM, CONTAINER_KEYS[0])
SEEDS = [b"\0" + FILE, b"\1" + read_envelope(FILE).payload]


def check(data: bytes) -> None:
    """The first byte says whether the rest is a file, or a payload."""
    file = data[1:] if data[:1] != b"\1" else seal(REQUEST_TYPE, data[1:], CONTAINER_KEYS[0])
    try:
        open_request(file)
    except BadRequest as error:
        assert str(error).isprintable()
