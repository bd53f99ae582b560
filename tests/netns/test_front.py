# SPDX-License-Identifier: Apache-2.0
"""A front network that is dead while the carrier is up: the twin that sees it serves."""

from tests.netns.conftest import Front
from tests.netns.pair import PATIENCE_S, paired
from tests.netns.world import HOSTS, boottime_ns, until
from tmr.twin.front_comparison import NOTHING, TARGET

GATEWAY = f"10.20.0.{HOSTS['client']}"


def test_twin_whose_front_is_filtered_hands_over_and_nobody_does_when_all_is_dark(front: Front) -> None:
    lan = front.lan
    with paired(front, watch=(GATEWAY,)) as pair:
        views = pair.lease.views
        pair.until_both_able()
        until(lambda: set(views.values()) == {TARGET}, "both see the gateway", PATIENCE_S)
        first = pair.holder()
        lan.forward(first, works=False)
        until(lambda: pair.seen.holders and first not in pair.seen.holders, "the other has it", PATIENCE_S)
        assert "LOWER_UP" in lan[first].ip("link", "show", "eth0")
        second = pair.holder()
        assert second != first
        assert lan["client"].reaches()
        # Now the other one's, too: nobody sees anything, and nothing is moved.
        lan.forward(second, works=False)
        until(lambda: set(views.values()) == {NOTHING}, "nobody sees anything", PATIENCE_S)
        end = boottime_ns() + 3_000_000_000
        until(lambda: boottime_ns() > end, "time for a hand-over")
        assert pair.holder() == second
        for host in (first, second):
            lan.forward(host, works=True)
        until(lambda: set(views.values()) == {TARGET}, "both see the gateway again", PATIENCE_S)
        assert pair.holder() == second
        assert lan["client"].reaches()


def test_silent_gateway_moves_nothing(front: Front) -> None:
    lan = front.lan
    with paired(front, watch=(GATEWAY,)) as pair:
        pair.until_both_able()
        until(lambda: set(pair.lease.views.values()) == {TARGET}, "both see the gateway", PATIENCE_S)
        first = pair.holder()
        lan.cable("client", plugged=False)
        until(lambda: TARGET not in pair.lease.views.values(), "nobody sees it", PATIENCE_S)
        end = boottime_ns() + 3_000_000_000
        until(lambda: boottime_ns() > end, "time for a hand-over")
        assert pair.holder() == first
