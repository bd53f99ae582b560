# SPDX-License-Identifier: Apache-2.0
"""Lives of certificates: different for machines of one system, and the same for one machine each time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .plugin import load

life = load("tmr_pki/filter_plugins/tmr_pki_life.py").life

SERVERS = ["plant-up1", "plant-up2", "plant-up3", "plant-tmr1", "plant-tmr2"]
names = st.text("abcdefghij-0123456789", min_size=1, max_size=12)


def test_no_two_servers_end_together() -> None:
    lives = [life(name, SERVERS, 397, 28, 60) for name in SERVERS]
    assert sorted(lives) == [369, 376, 383, 390, 397]


@given(st.lists(names, unique=True, min_size=2, max_size=8), st.integers(7, 60))
def test_lives_of_servers_differ_and_do_not_depend_on_the_inventorys_order(
    servers: list[str], spread: int
) -> None:
    lives = {name: life(name, servers, 397, spread, 60) for name in servers}
    assert len(set(lives.values())) == len(servers)
    assert all(397 - spread <= days <= 397 for days in lives.values())
    assert {name: life(name, servers[::-1], 397, spread, 60) for name in servers} == lives


@given(names, st.integers(0, 200))
def test_other_machines_have_a_life_by_their_name(name: str, spread: int) -> None:
    days = life(name, [], 397, spread, 60)
    assert 397 - spread <= days <= 397
    assert life(name, SERVERS, "397", str(spread), "60") == days


def test_clients_are_spread() -> None:
    assert len({life(f"cad-{number}", SERVERS, 397, 28, 60) for number in range(50)}) > 15


@pytest.mark.parametrize(
    ("days", "spread", "renew", "said"),
    [
        (60, 0, 60, "must be more than"),
        (88, 28, 60, "must be more than"),
        (397, 28, 0, "at least 1"),
        ("lots", 28, 60, "tmr_pki_days: 'lots' is no number of days"),
        (397, -1, 60, "tmr_pki_spread_days: -1 is no number"),
        (397, 28, True, "tmr_pki_renew_days: True is no number"),
    ],
)
def test_mistakes_are_named(days: object, spread: object, renew: object, said: str) -> None:
    with pytest.raises(Exception, match=said):
        life("up1", SERVERS, days, spread, renew)
