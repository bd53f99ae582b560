"""Certified time, where two clocks are all that was heard at first, and one of them is wrong."""

import pytest

from tmr.quorum.certified import CertifiedClock

TRUE = 1_800_000_000_000


@pytest.mark.parametrize("wrong", [-1_400_000, 1_400_000])
def test_a_wrong_clock_heard_first_is_mended_by_the_third(wrong: int) -> None:
    clock = CertifiedClock()
    clock.begin_reign()
    clock.observe("up1", TRUE, 0.0)
    clock.observe("up2", TRUE + wrong, 0.0)
    assert clock.read(0.0, 0) == TRUE + min(0, wrong), (
        "of two that disagree the earlier: nothing ends too soon"
    )
    clock.observe("up3", TRUE + 100, 100.0)
    assert clock.read(100.0, 0) == TRUE + 100
