# SPDX-License-Identifier: Apache-2.0
"""DSSE envelopes and strict JSON: what all licence files are made of."""

import json

from tests.unit.licensing.system import VENDOR
from tmr.licensing.dsse import read_envelope, seal, write_envelope
from tmr.licensing.strict_json import IllFormed, read_json

SEEDS = [seal("text/plain", b"payload", VENDOR), b'{"a":[1,-2,{"b":null}],"c":"\\u00e4"}', b"[[[]]]"]


def check(data: bytes) -> None:
    """What is read is what another reader reads, too."""
    try:
        tree = read_json(data, object, 100_000)
    except IllFormed as error:
        assert str(error).isprintable()
    else:
        assert tree == json.loads(data)
    try:
        envelope = read_envelope(data)
    except IllFormed as error:
        assert str(error).isprintable()
    else:
        assert read_envelope(write_envelope(envelope)) == envelope
