# SPDX-License-Identifier: Apache-2.0
"""Decisions of the VIP manager: a plain function of its state, an event and the time.

`decide(state, event, now_ns)` gives the next state and the actions, to be performed in their order;
`wake_at(state)` says when to call again with `Tick`. Times are nanoseconds of CLOCK_BOOTTIME: it counts
suspend, and nobody sets it.

Three things keep the address from outliving the lease: this module removes it `REMOVE_EARLY_NS` before the
deadline; the kernel removes it by a lifetime that never reaches past the deadline, if we cannot; and every
frame is sent only after another look at the clock.
"""

import msgspec
from msgspec.structs import replace

from tmr.vip import front, protocol
from tmr.vip.actions import Action, Add, Announce, Ignore, Refresh, Remove, RemoveStrays, SendRelease, Tell
from tmr.vip.events import (
    Appeared,
    Carrier,
    Connected,
    Disconnected,
    Event,
    Failed,
    Foreign,
    FrontSeen,
    Stop,
    Tick,
    Vanished,
)
from tmr.vip.protocol import Drop, Hold, Ping

SECOND_NS = 1_000_000_000

REMOVE_EARLY_NS = 10_000_000
"""Removal starts this long before the deadline, so that it is done at the deadline (it takes about 1 ms)."""

LONGEST_LEASE_NS = 60 * SECOND_NS
"""A deadline further ahead comes from another clock (wall-clock time, microseconds) and is refused."""

BURST_NS = 5 * SECOND_NS
BURST_INTERVAL_NS = 1_100_000_000
"""Just above 1 s: neighbours ignore a second change of an entry within `locktime` (1 s on Linux)."""
INTERVAL_NS = 2 * SECOND_NS
"""A neighbour that learned a wrong place, from whatever it was, has the right one again after so long."""

TIMER_SLACK_NS = 10_000_000
"""Bound on how late a timer may fire and still renew the kernel's lifetime for its last whole second."""

CONFLICT_INTERVAL_NS = 10 * SECOND_NS
"""One report of a conflict in this time, for each address."""

DEFEND_INTERVAL_NS = SECOND_NS
"""Every foreign claim is answered (RFC 5227 §2.4 (c)), with announcements at least so far apart."""

RESTORE_INTERVAL_NS = SECOND_NS
"""An address that another program removes is put back at most this often."""


class Term(msgspec.Struct, frozen=True):
    """Term that the commander was last granted; `until_ns` is its deadline less REMOVE_EARLY_NS."""

    epoch: int
    until_ns: int
    release: bytes


class State(msgspec.Struct, frozen=True):
    """All that the manager remembers. Epochs are -1 before the first."""

    carrier: bool
    term: Term | None = None
    up: bool = False
    front: int = front.UNKNOWN
    """View of the front network that was told last."""
    seen: int = -1
    """Highest epoch accepted."""
    ended: int = -1
    """Highest epoch that was dropped, or whose holder died: its lease may already be another's."""
    founding: str = ""
    """Founding of the system that these epochs are of; empty: not said yet."""
    announced_since_ns: int = 0
    announced_ns: int = 0
    """Last announcement."""
    announce_ns: int = 0
    """Next announcement."""
    refresh_ns: int | None = None
    """Time at which the kernel lifetime can be renewed for its last whole second."""
    restored_ns: int | None = None
    reported: dict[str, int] = {}
    """Time at which a conflict was last reported, by address."""


def kernel_lifetime(until_ns: int, now_ns: int) -> int:
    """Whole seconds for `valid_lft`: the floor of what remains, 0 when nothing may be set."""
    return max(0, (until_ns - now_ns) // SECOND_NS)


def next_announcement(since_ns: int, now_ns: int) -> int:
    """Every 1.1 s in the first 5 s after the address came up or was claimed, then every 2 s."""
    soon = now_ns + BURST_INTERVAL_NS
    return soon if soon <= since_ns + BURST_NS else now_ns + INTERVAL_NS


def wake_at(state: State) -> int | None:
    """Time at which `decide` wants a Tick; None if only an event can change anything."""
    if state.term is None:
        return None
    times = [state.term.until_ns]
    if state.up:
        times.append(state.announce_ns)
        if state.refresh_ns is not None:
            times.append(state.refresh_ns)
    return min(times)


def decide(state: State, event: Event, now_ns: int) -> tuple[State, list[Action]]:
    """The next state, and what to do in this order.

    If an action fails, skip those after it and come back with Failed.
    """
    state, actions = _expire(state, now_ns)
    if isinstance(event, Hold | Drop):
        state, left = _enter(state, event.founding)
        actions += left
    match event:
        case Hold():
            state, more = _hold(state, event, now_ns)
        case Drop():
            state, more = _drop(state, event)
        case Ping():
            more = [Tell(protocol.Pong())]
        case Appeared():
            more = [RemoveStrays(keep_own=state.up)]
        case Connected():
            more = [Tell(protocol.Hello(version=protocol.VERSION, carrier=state.carrier))]
            if state.front != front.UNKNOWN:
                more.append(Tell(protocol.Front(view=state.front)))
        case Disconnected():
            state, more = _disconnected(state)
        case Carrier():
            state, more = _carrier(state, event)
        case Foreign():
            state, more = _foreign(state, event, now_ns)
        case Vanished():
            state, more = _vanished(state, event, now_ns)
        case Failed():
            state, more = _down(state, "error", event.detail)
        case FrontSeen(view):
            more = [Tell(protocol.Front(view=view))] if view != state.front else []
            state = replace(state, front=view)
        case Tick():
            state, more = _due(state, now_ns)
        case Stop():
            state, more = _down(state, "error", "the VIP manager is stopping")
            state = replace(state, term=None)
            more = more or [Remove()]
    return state, actions + more


def _expire(state: State, now_ns: int) -> tuple[State, list[Action]]:
    if state.term is None or now_ns < state.term.until_ns:
        return state, []
    state, actions = _down(state, "deadline", "the lease was not renewed in time")
    return replace(state, term=None), actions


def _down(state: State, reason: protocol.Reason, detail: str) -> tuple[State, list[Action]]:
    if not state.up or state.term is None:
        return state, []
    told = protocol.Dropped(epoch=state.term.epoch, reason=reason, detail=detail)
    return replace(state, up=False, refresh_ns=None), [Remove(), Tell(told)]


def _enter(state: State, founding: str) -> tuple[State, list[Action]]:
    """In a system that was founded anew epochs begin anew: the former ones say nothing about them."""
    if not founding or founding == state.founding:
        return state, []
    if not state.founding:
        return replace(state, founding=founding), []
    left: list[Action] = [Remove()] if state.up else []
    fresh = replace(state, founding=founding, seen=-1, ended=-1, up=False, term=None, refresh_ns=None)
    return fresh, left


def _refuse(epoch: int, detail: str, *, again: bool = False) -> Action:
    return Tell(protocol.CommandRefused(detail=detail, epoch=epoch, again=again))


def _hold(state: State, hold: Hold, now_ns: int) -> tuple[State, list[Action]]:
    until_ns = hold.deadline_ns - REMOVE_EARLY_NS
    if hold.epoch < state.seen:
        return state, [_refuse(hold.epoch, f"older epoch: epoch {state.seen} has held the address")]
    if hold.epoch <= state.ended:
        return state, [_refuse(hold.epoch, f"epoch {state.ended} was given up; a new term needs a new epoch")]
    if until_ns <= now_ns:
        late = (now_ns - hold.deadline_ns) / 1e6
        return state, [_refuse(hold.epoch, f"the deadline passed {late:.1f} ms ago", again=True)]
    if until_ns - now_ns > LONGEST_LEASE_NS:
        ahead = (until_ns - now_ns) / SECOND_NS
        detail = (
            f"the deadline is {ahead:.0f} s ahead, more than any lease: is it CLOCK_BOOTTIME nanoseconds?"
        )
        return state, [_refuse(hold.epoch, detail)]

    actions: list[Action] = []
    told = Tell(protocol.Held(epoch=hold.epoch, deadline_ns=hold.deadline_ns))
    previous = state.term
    if previous is not None and until_ns < previous.until_ns:
        if hold.epoch == previous.epoch:
            # Nothing to do: the one already granted reaches further.
            return state, [told if state.up else _refuse(hold.epoch, "a shorter renewal", again=True)]
        # The kernel's lifetime may reach past the new deadline: start afresh.
        if state.up:
            actions.append(Remove())
            state = replace(state, up=False, refresh_ns=None)
    state = replace(state, seen=hold.epoch, term=Term(hold.epoch, until_ns, hold.release))

    if not state.carrier:
        return state, [*actions, _refuse(hold.epoch, "the interface has no carrier")]
    lifetime = kernel_lifetime(until_ns, now_ns)
    if state.up:
        if lifetime:
            actions.append(Refresh(until_ns))
            state = _refreshed(state, until_ns, now_ns)
        else:
            actions.append(Ignore("less than 1 s remains: the kernel keeps the lifetime it has"))
        if previous is None or previous.epoch != hold.epoch:
            actions.append(Announce(until_ns))
            state = _announced(state, now_ns, since_ns=now_ns)
        return state, [*actions, told]
    if not lifetime:
        detail = "less than 1 s of lease remains, and a kernel lifetime has whole seconds: renew first"
        return state, [*actions, _refuse(hold.epoch, detail, again=True)]
    actions += [Add(until_ns), Announce(until_ns), told]
    return _raised(state, until_ns, now_ns), actions


def _raised(state: State, until_ns: int, now_ns: int) -> State:
    state = replace(_announced(state, now_ns, since_ns=now_ns), up=True, reported={})
    return _refreshed(state, until_ns, now_ns)


def _announced(state: State, now_ns: int, since_ns: int) -> State:
    return replace(
        state,
        announced_since_ns=since_ns,
        announced_ns=now_ns,
        announce_ns=next_announcement(since_ns, now_ns),
    )


def _refreshed(state: State, until_ns: int, now_ns: int) -> State:
    """Plan the last renewal: one second before the end the lifetime can be set to end there."""
    last = until_ns - SECOND_NS - TIMER_SLACK_NS
    return replace(state, refresh_ns=last if last > now_ns else None)


def _drop(state: State, drop: Drop) -> tuple[State, list[Action]]:
    if drop.epoch < state.seen:
        return state, [_refuse(drop.epoch, f"older epoch: epoch {state.seen} has held the address")]
    told = protocol.Dropped(epoch=drop.epoch, reason="asked", detail="" if state.up else "it was not up")
    state = replace(
        state, up=False, term=None, refresh_ns=None, seen=drop.epoch, ended=max(state.ended, drop.epoch)
    )
    return state, [Remove(), Tell(told)]


def _disconnected(state: State) -> tuple[State, list[Action]]:
    term = state.term
    if term is None:
        return state, [Ignore("the commander left, and no lease was alive")]
    actions: list[Action] = [Remove()]
    if term.release:
        actions.append(SendRelease(term.epoch, term.release, term.until_ns))
    else:
        actions.append(Ignore("the commander left no release: the lease ends by itself"))
    state = replace(state, up=False, term=None, refresh_ns=None, ended=max(state.ended, term.epoch))
    return state, actions


def _carrier(state: State, carrier: Carrier) -> tuple[State, list[Action]]:
    if carrier.up == state.carrier:
        return state, [Ignore("the carrier is as it was")]
    told = Tell(protocol.CarrierChanged(up=carrier.up))
    state = replace(state, carrier=carrier.up)
    if carrier.up:
        return state, [told]
    state, actions = _down(state, "carrier", "the interface lost its carrier")
    return state, [*actions, told]


def _foreign(state: State, foreign: Foreign, now_ns: int) -> tuple[State, list[Action]]:
    if not state.up or state.term is None:
        return state, [Ignore(f"{foreign.mac} claims {foreign.address}, which is not held here")]
    actions: list[Action] = []
    announce = Announce(state.term.until_ns)
    last = state.reported.get(foreign.address)
    if last is None or now_ns - last >= CONFLICT_INTERVAL_NS:
        state = replace(state, reported={**state.reported, foreign.address: now_ns})
        actions.append(Tell(protocol.Conflict(address=foreign.address, mac=foreign.mac)))
    # Again and again for a while: a neighbour that has just learned does not learn anew within `locktime`.
    if now_ns - state.announced_ns >= DEFEND_INTERVAL_NS:
        return _announced(state, now_ns, since_ns=now_ns), [*actions, announce]
    soon = min(state.announce_ns, state.announced_ns + BURST_INTERVAL_NS)
    state = replace(state, announced_since_ns=now_ns, announce_ns=soon)
    return state, actions or [
        Ignore(f"{foreign.mac} claims {foreign.address}: the next announcement is near")
    ]


def _vanished(state: State, vanished: Vanished, now_ns: int) -> tuple[State, list[Action]]:
    if not state.up or state.term is None:
        return state, [Ignore(f"{vanished.address} is gone, and was not held")]
    until_ns = state.term.until_ns
    if not kernel_lifetime(until_ns, now_ns):
        # Most likely its lifetime: the kernel counts in coarse steps. The term may go on, if it is renewed.
        return _down(state, "deadline", f"{vanished.address} vanished with less than 1 s of lease left")
    if state.restored_ns is not None and now_ns - state.restored_ns < RESTORE_INTERVAL_NS:
        return _down(state, "error", f"somebody else keeps removing {vanished.address}")
    state = replace(_raised(state, until_ns, now_ns), restored_ns=now_ns)
    return state, [Add(until_ns), Announce(until_ns)]


def _due(state: State, now_ns: int) -> tuple[State, list[Action]]:
    actions: list[Action] = []
    if not state.up or state.term is None:
        return state, actions
    until_ns = state.term.until_ns
    if state.refresh_ns is not None and now_ns >= state.refresh_ns:
        actions.append(Refresh(until_ns))
        state = replace(state, refresh_ns=None)
    if now_ns >= state.announce_ns:
        actions.append(Announce(until_ns))
        state = _announced(state, now_ns, since_ns=state.announced_since_ns)
    return state, actions
