# SPDX-License-Identifier: Apache-2.0
"""Any order of events: the promises of the VIP manager hold.

The model performs the actions as the rim does, with a kernel that removes an address when its lifetime ends.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tmr.vip import actions as act
from tmr.vip import decide as d
from tmr.vip import events as ev
from tmr.vip import protocol as p
from tmr.vip.protocol import Drop, Hold

S = d.SECOND_NS
VIP = "10.20.0.100"


class VipMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000 * S
        self.state = d.State(carrier=True)
        self.granted: dict[int, int] = {}
        """Latest deadline that the commander named, by epoch."""
        self.kernel_until: int | None = None
        """When the kernel removes the address; None when it is not there."""
        self.given_up = -1
        self.newest = -1
        self.founding = "0"
        self.fails = False
        self.stray = False
        """The address is there by somebody else's hand, in a form of its own."""

    # -- the rim

    def event(self, event: ev.Event) -> list[act.Action]:
        self.state, actions = d.decide(self.state, event, self.now)
        for number, action in enumerate(actions):
            if self.fails and isinstance(action, act.Add | act.Refresh):
                self.fails = False
                self.event(ev.Failed("netlink"))
                return actions[:number]
            self.perform(action, actions[:number])
        return actions

    def perform(self, action: act.Action, before: list[act.Action]) -> None:
        match action:
            case act.Add(until) | act.Refresh(until):
                assert until <= max(self.granted.values()), "no lease reaches so far"
                lifetime = d.kernel_lifetime(until, self.now)
                assert lifetime or isinstance(action, act.Refresh), "an address without lifetime"
                if lifetime:
                    self.kernel_until = self.now + lifetime * S
            case act.Remove():
                self.kernel_until = None
            case act.Announce(until):
                assert self.kernel_until is not None, "announced without the address"
                assert self.now < until <= max(self.granted.values()), "announced without a lease"
            case act.SendRelease(epoch, _, until):
                assert act.Remove() in before, "the will before the removal"
                assert self.kernel_until is None
                assert epoch == self.newest
                assert epoch > self.given_up, "a will for a term that was given up"
                assert self.now < until <= self.granted[epoch]
            case act.RemoveStrays(keep_own):
                assert keep_own == self.state.up
                self.stray = False
                if not keep_own:
                    self.kernel_until = None
            case act.Tell(p.Held(epoch)):
                assert self.kernel_until is not None, "told as held, and it is not there"
                assert epoch > self.given_up
                assert epoch == self.newest
            case act.Tell(p.Dropped()):
                assert self.kernel_until is None, "told as gone, and it is there"
            case act.Tell(p.CommandRefused(detail)):
                assert detail
            case act.Ignore(reason):
                assert reason

    def kernel_expires(self) -> None:
        if self.kernel_until is not None and self.now >= self.kernel_until:
            self.kernel_until = None
            self.event(ev.Vanished(VIP))

    # -- what may happen

    @rule(epoch=st.integers(0, 6), milliseconds=st.integers(-500, 4000), release=st.sampled_from([b"", b"w"]))
    def hold(self, epoch: int, milliseconds: int, release: bytes) -> None:
        deadline = self.now + milliseconds * 1_000_000
        known = epoch >= self.newest and epoch > self.given_up
        known = known and deadline - d.REMOVE_EARLY_NS > self.now
        if known:
            if epoch > self.newest:
                self.granted = {}  # the lease of a newer term is the only one that counts
            self.granted[epoch] = max(self.granted.get(epoch, 0), deadline)
            self.newest = epoch
        actions = self.event(Hold(epoch=epoch, deadline_ns=deadline, release=release, founding=self.founding))
        if not known:
            assert not any(isinstance(action, act.Add | act.Refresh) for action in actions)

    @rule(epoch=st.integers(0, 6))
    def drop(self, epoch: int) -> None:
        if epoch >= self.newest:
            self.given_up = max(self.given_up, epoch)
            self.newest = epoch
        self.event(Drop(epoch=epoch, founding=self.founding))
        if epoch >= self.newest:
            assert self.kernel_until is None

    @rule()
    def commander_dies(self) -> None:
        alive = self.state.term
        self.event(ev.Disconnected())
        if alive is not None and self.now < alive.until_ns:
            self.given_up = max(self.given_up, alive.epoch)
        assert self.kernel_until is None, "held without a commander"

    @rule()
    def founded_anew(self) -> None:
        """The next tmr-server serves a system on new stores: its epochs begin anew."""
        self.commander_dies()
        self.founding = str(int(self.founding) + 1)
        self.given_up, self.newest = -1, -1

    @rule(up=st.booleans())
    def carrier(self, up: bool) -> None:
        self.event(ev.Carrier(up))
        assert up or self.kernel_until is None

    @rule()
    def foreign(self) -> None:
        self.event(ev.Foreign(VIP, "02:00:00:00:00:66"))

    @rule()
    def removed_by_hand(self) -> None:
        if self.kernel_until is not None:
            self.kernel_until = None
            self.event(ev.Vanished(VIP))

    @rule()
    def added_by_hand(self) -> None:
        self.stray = True
        self.event(ev.Appeared(VIP))
        assert not self.stray

    @rule()
    def next_change_fails(self) -> None:
        self.fails = True

    @rule()
    def stop(self) -> None:
        self.event(ev.Stop())
        assert self.kernel_until is None

    @rule(milliseconds=st.integers(1, 3000))
    def time_passes(self, milliseconds: int) -> None:
        """The manager wakes when it asked to; the kernel acts at its own time."""
        end = self.now + milliseconds * 1_000_000
        while True:
            times = [t for t in (d.wake_at(self.state), self.kernel_until) if t is not None and t <= end]
            if not times:
                break
            self.now = max(self.now, min(times))
            self.kernel_expires()
            wake = d.wake_at(self.state)
            if wake is not None and wake <= self.now:
                self.event(ev.Tick())
                again = d.wake_at(self.state)
                assert again is None or again > self.now, "a timer that does not move on"
        self.now = end

    @rule(milliseconds=st.integers(1, 3000))
    def manager_frozen(self, milliseconds: int) -> None:
        """Only the kernel acts; what the manager hears comes afterwards."""
        self.now += milliseconds * 1_000_000
        vanished = self.kernel_until is not None and self.now >= self.kernel_until
        if vanished:
            self.kernel_until = None
        self.check_kernel()
        self.event(ev.Vanished(VIP) if vanished else ev.Tick())

    # -- what must hold

    @invariant()
    def check_kernel(self) -> None:
        if self.kernel_until is not None:
            assert self.granted, "an address without a lease"
            assert self.kernel_until <= max(self.granted.values()), "the kernel would keep it past the lease"
            assert self.now <= max(self.granted.values()), "held past the deadline"

    @invariant()
    def up_means_a_living_lease(self) -> None:
        if self.state.up:
            assert self.state.term is not None
            assert self.kernel_until is not None
        else:
            assert self.kernel_until is None


TestVipMachine = VipMachine.TestCase
TestVipMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
