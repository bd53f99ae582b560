# SPDX-License-Identifier: Apache-2.0
"""Containers' statements: MessagePack that the container signed."""

import msgspec

from tests.unit.licensing.system import CONTAINER_KEYS, activated, containers, issue_to
from tests.unit.licensing.test_hostile import EVERY_OPTION
from tmr.licensing import BadStatement, SignedStatement, merge, open_statement, raw_public_key
from tmr.licensing.items import packed
from tmr.licensing.signing import sign_bytes
from tmr.licensing.statement import STATEMENT_TYPE

_SYSTEM = containers()
_LATER = activated(_SYSTEM, issue_to(_SYSTEM, [], EVERY_OPTION).file)
KEY = raw_public_key(CONTAINER_KEYS[0])
SEEDS = [packed(one.statement("up1")) for one in (_SYSTEM[0], _LATER[0])]


def check(data: bytes) -> None:
    """The bytes are the payload."""
    signed = SignedStatement(data, sign_bytes(STATEMENT_TYPE, data, CONTAINER_KEYS[0]), KEY)
    try:
        statement = open_statement(signed, KEY)
    except BadStatement:
        return
    merged = merge([statement, _LATER[1].statement("up2"), _LATER[2].statement("up3")])
    assert merged == merge([_LATER[2].statement("up3"), _LATER[1].statement("up2"), statement])
    msgspec.msgpack.encode(merged)
