# SPDX-License-Identifier: Apache-2.0
"""The log of the address counts every look, and begins a line where the holders change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chaos.address_watch import AddressLog
from chaos.records import HOLDERS, Holders, read


def clock(*times: float) -> Iterator[float]:
    yield from times


def test_each_look_is_in_the_line_of_its_holders(tmp_path: Path) -> None:
    now = clock(0.0, 0.0, 0.02, 0.04, 0.06, 0.08)
    log = AddressLog(tmp_path, lambda: next(now))
    for twins in (("tmr1",), ("tmr1",), (), ("tmr1", "tmr2"), ("tmr1", "tmr2")):
        log.saw(twins)
    log.write()
    assert list(read(tmp_path / HOLDERS, Holders)) == [
        Holders(0.0, ("tmr1",), 2),
        Holders(0.04, (), 1),
        Holders(0.06, ("tmr1", "tmr2"), 2),
    ]


def test_a_line_is_written_once_a_second(tmp_path: Path) -> None:
    now = clock(0.0, *(number / 2 for number in range(7)))
    log = AddressLog(tmp_path, lambda: next(now))
    for _ in range(7):
        log.saw(("tmr1",))
    log.write()
    lines = list(read(tmp_path / HOLDERS, Holders))
    assert sum(line.looks for line in lines) == 7
    assert [line.at for line in lines] == [0.0, 1.5, 3.0]
