# SPDX-License-Identifier: Apache-2.0
"""The lines on the Unix socket."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.vip import protocol as p


def test_commands() -> None:
    line = b'{"op":"hold","epoch":7,"deadline_ns":12,"release":"%s"}\n' % base64.b64encode(b"\x00will")
    assert p.decode_command(line) == p.Hold(epoch=7, deadline_ns=12, release=b"\x00will")
    assert p.decode_command(b'{"op":"hold","epoch":7,"deadline_ns":12}') == p.Hold(epoch=7, deadline_ns=12)
    assert p.decode_command(b'{"op":"ping"}') == p.Ping()
    assert p.decode_command(b'{"op":"drop","epoch":7,"added-later":1}') == p.Drop(epoch=7)


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (p.Hello(version=1, carrier=True), {"event": "hello", "version": 1, "carrier": True}),
        (p.Held(epoch=7, deadline_ns=12), {"event": "held", "epoch": 7, "deadline_ns": 12}),
        (p.Front(view=4), {"event": "front", "view": 4}),
        (p.Pong(), {"event": "pong"}),
        (
            p.Dropped(epoch=7, reason="asked"),
            {"event": "dropped", "epoch": 7, "reason": "asked", "detail": ""},
        ),
        (p.CarrierChanged(up=False), {"event": "carrier", "up": False}),
        (
            p.Conflict(address="10.20.0.100", mac="02:…"),
            {"event": "conflict", "address": "10.20.0.100", "mac": "02:…"},
        ),
        (
            p.CommandRefused(detail="why"),
            {"event": "refused", "epoch": None, "detail": "why", "again": False},
        ),
    ],
)
def test_reports(report: p.Report, line: dict[str, object]) -> None:
    encoded = p.encode(report)
    assert encoded.endswith(b"\n")
    assert encoded.count(b"\n") == 1
    assert json.loads(encoded) == line


HOLD, LATER, NEXT = p.Hold(7, 1), p.Hold(7, 2), p.Hold(8, 2)
DROP, PING = p.Drop(7), p.Ping()


@pytest.mark.parametrize(
    ("waiting", "effective"),
    [
        ([], []),
        ([HOLD], [HOLD]),
        ([HOLD, LATER], [LATER]),
        ([HOLD, DROP], [DROP]),
        ([DROP, NEXT], [DROP, NEXT]),
        ([HOLD, DROP, NEXT], [DROP, NEXT]),
        ([HOLD, LATER, PING], [LATER, PING]),
        ([HOLD, PING, DROP, PING], [PING, DROP, PING]),
        ([DROP, p.Drop(8)], [DROP, p.Drop(8)]),
    ],
)
def test_holds_that_something_later_replaces_are_left_out(
    waiting: list[p.Command], effective: list[p.Command]
) -> None:
    assert p.effective(waiting) == effective


@given(st.binary(max_size=200))
def test_anything_else_is_refused(line: bytes) -> None:
    found = p.decode_command(line)
    assert isinstance(found, p.CommandRefused)
    assert found.detail
