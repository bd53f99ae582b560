# SPDX-License-Identifier: Apache-2.0
"""Schedules written by hand, each for a rule that chance seldom shows to be missing."""

from collections.abc import Callable

from msgspec.structs import replace

from tests.simulation.bench import TTL, WALL_MS, Bench
from tests.simulation.invariant_checker import Violation
from tests.simulation.licences import FIRM, KEY, PRODUCT, statements
from tmr.ledger import Borrow, GiveBack, RecordDenials, StateContainers, encode
from tmr.quorum.anchor import contains
from tmr.quorum.entries import Entry
from tmr.quorum.messages import Install, Subscribe, Subscribed
from tmr.quorum.outputs import Send
from tmr.quorum.proposer import Proposer
from tmr.quorum.read_index import ReadIndex
from tmr.quorum.replication import LAGGING_PAUSE

LONGER_THAN_A_LEASE = 2.5
"""Seconds."""


def older_entry_on_two(bench: Bench) -> None:
    """Figure 8 of the Raft paper: an entry of an older epoch is on two upstreams, and is replaced all the
    same.

    Batches of one entry are presumed: the older entry is stored before the one of the own epoch that
    protects it.
    """
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1)  # its term is committed
    bench.twins[a].submit(bench.now, encode(RecordDenials(())))
    bench.exchange(a, 0)  # entry 2 is on up1 alone
    bench.start(a)
    bench.wait(LONGER_THAN_A_LEASE)
    must(bench.elect(b, 1, 2))
    bench.exchange(b, 2, times=4)  # another entry 2 is on up3 alone, of a newer epoch
    bench.start(b)
    bench.wait(LONGER_THAN_A_LEASE)
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0)
    bench.exchange(a, 1, times=2)  # the first entry 2 is on up1 and up2: committed?
    must(bench.acceptors[1].log.last == 2 and bench.acceptors[1].log.epoch_at(2) != bench.twins[a].epoch)
    bench.start(a)
    bench.wait(LONGER_THAN_A_LEASE)
    must(bench.elect(b, 1, 2))
    bench.exchange(b, 1, 2, times=4)  # the entry 2 of up3 replaces it, and is committed
    must(bench.twins[b].holds(bench.now))


def released_lease_stays_released(bench: Bench) -> None:
    """An append arrives after the lease was given back: the other twin need not wait for it."""
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1, 2))
    bench.exchange(a, 0, 1, 2)
    bench.twins[a].submit(bench.now, encode(RecordDenials(())))
    late = [bench.sent(a, slot) for slot in range(3)]
    bench.lease_release(a)
    for one in late:
        if one is not None:
            bench.hand(a, one, answer=False)
    if not bench.elect(b, 0, 1):
        raise Violation("the lease was given back, and nobody else gets it")


def release_of_an_earlier_term(bench: Bench) -> None:
    """The release of a term that was given back arrives when the same twin is active again."""
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1, times=2)
    late = bench.twins[a].lease_release()
    bench.twins[a].retire(bench.now, "switchover")
    for slot in range(3):
        bench.sent(a, slot)  # under way
    bench.wait(LONGER_THAN_A_LEASE)
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1, times=2)
    must(bench.twins[a].holds(bench.now))
    for slot in (0, 1):
        bench.hand(a, Send(slot, late, bench.now), answer=False)
    bench.elect(b, 0, 1)
    bench.exchange(b, 0, 1, times=4)


def restart_while_a_lease_lives(bench: Bench) -> None:
    """An upstream restarts, and is asked for a lease before the one that it had granted has ended."""
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1, times=2)
    must(bench.twins[a].holds(bench.now))
    bench.restart_upstream(0)
    bench.elect(b, 0, 2)
    bench.exchange(b, 0, 2, times=5)


def restart_after_a_release(bench: Bench) -> None:
    """An upstream restarts after the lease was given back to it: the other twin need not wait."""
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1, times=2)
    bench.twins[a].retire(bench.now, "switchover")
    bench.exchange(a, 0)
    bench.restart_upstream(0)
    if not bench.elect(b, 0, 2):
        raise Violation("the lease was given back before the restart, and nobody else gets it")


def candidate(bench: Bench, name: str, slot: int) -> None:
    """The twin becomes a candidate and gets one promise; the processes of the two others have died."""
    twin = bench.twins[name]
    twin._next_try = bench.now
    twin.tick(bench.now)
    bench.exchange(name, 0, 1)
    must(twin.role == "candidate")
    bench.exchange(name, slot)
    bench.lose(name)


def ask_on(bench: Bench, name: str, *slots: int) -> None:
    """Let the time pass after which a candidate asks again those that failed; these are up again."""
    bench.wait(1.1 * bench.timing.again)
    bench.twins[name].tick(bench.now)
    bench.exchange(name, *slots)


def promise_that_was_not_heard(bench: Bench) -> None:
    """An upstream's process dies between its promise and the answer."""
    a = "tmr1"
    candidate(bench, a, 0)
    unheard = bench.twins[a]
    ask_on(bench, a)
    sent = bench.sent(a, 1)
    must(sent is not None)
    if sent is not None:
        bench.hand(a, sent, answer=False)
        unheard.failed(1, sent.at, sent.request)
    bench.restart_upstream(1)
    ask_on(bench, a, 1)
    if unheard.role != "active":
        raise Violation("two upstreams have promised, and the twin is not elected")


def upstreams_up_in_turn(bench: Bench) -> None:
    """The second promise comes when the first upstream is gone again: both are good all the same."""
    a = "tmr1"
    candidate(bench, a, 0)
    bench.restart_upstream(0)
    ask_on(bench, a, 1)
    if bench.twins[a].role != "active":
        raise Violation("an upstream came back within the election, and was not asked")


def candidate_that_gives_up(bench: Bench) -> None:
    """A candidate has one promise and gets no other; the other twin reaches that upstream and a third."""
    a, b = "tmr1", "tmr2"
    candidate(bench, a, 0)
    twin = bench.twins[a]
    for _ in range(30):
        if twin.role != "candidate":
            break
        bench.wait(bench.timing.again)
        twin.tick(bench.now)
        bench.lose_all_but_releases(a)
    for _ in range(9):
        bench.exchange(a, 0)
    if not bench.elect(b, 0, 2):
        raise Violation("a candidate has given up, and another twin is kept from being elected")


def restart_with_a_shorter_lease(bench: Bench) -> None:
    """Two upstreams restart with a shorter setting, and are asked before what they had granted has ended."""
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1, times=2)
    for slot in (0, 1):
        bench.restart_upstream(slot, ttl=TTL / 4)
    bench.wait(TTL / 2)
    must(bench.twins[a].holds(bench.now))
    bench.elect(b, 0, 1)
    bench.exchange(b, 0, 1, times=2)


def renewal_of_a_longer_lease(bench: Bench) -> None:
    """The same, but the holder renews its lease before: what it was granted first lasts longer."""
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1, times=2)
    for slot in (0, 1):
        bench.restart_upstream(slot, ttl=TTL / 4)
    bench.twins[a].submit(bench.now, encode(RecordDenials(())))
    bench.exchange(a, 0, 1, times=2)
    bench.wait(TTL / 2)
    must(bench.twins[a].holds(bench.now))
    bench.elect(b, 0, 1)
    bench.exchange(b, 0, 1, times=2)


def snapshot_that_comes_twice(bench: Bench) -> None:
    """A second copy of a snapshot arrives after entries behind it were acknowledged and committed.

    A short journal of the active is presumed: who has missed a few entries is sent a snapshot.
    """
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1, 2))
    bench.exchange(a, 0, 1, times=3)
    for _ in range(4):
        bench.twins[a].submit(bench.now, encode(RecordDenials(())))
        bench.exchange(a, 0, 1, times=3)
    bench.exchange(a, 2)  # the first entry: the next ones are gone from the active's journal
    bench.wait(2 * LAGGING_PAUSE)
    bench.twins[a].tick(bench.now)
    snapshot = bench.sent(a, 2)
    assert snapshot is not None and isinstance(snapshot.request, Install)
    bench.hand(a, snapshot)
    bench.wait(2 * LAGGING_PAUSE)
    bench.twins[a].submit(bench.now, encode(RecordDenials(())))
    bench.exchange(a, 2, 1)  # the entry behind it is on up3 and up2, and committed
    must(bench.twins[a].commit > snapshot.request.snapshot.index)
    bench.restart_upstream(2)  # it does not know any more what it heard last
    bench.hand(a, snapshot, answer=False)
    bench.start(a)
    bench.wait(LONGER_THAN_A_LEASE)
    must(bench.elect(b, 2, 0))
    bench.exchange(b, 2, 0, times=4)
    must(bench.twins[b].holds(bench.now))


def fork_with_a_commit(bench: Bench) -> None:
    """A copy of a twin's memory writes on one upstream, the twin itself on the two others; one of these is
    gone when both twins have begun anew.
    """
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1))
    bench.exchange(a, 0, 1, times=2)
    copy = bench.copy_memory(a)
    bench.twins[a].submit(bench.now, encode(RecordDenials(())))
    bench.exchange(a, 0, 1)
    bench.wait(1.1 * bench.timing.renewal)
    bench.twins[a].tick(bench.now)
    bench.exchange(a, 0)  # entry 2 is committed, and up1 is told
    bench.twins[copy].submit(bench.now, encode(RecordDenials(())))
    for _ in (1, 2):
        bench.exchange(copy, 2)
        bench.wait(2 * LAGGING_PAUSE)
        bench.twins[copy].tick(bench.now)
    one, other = bench.acceptors[0], bench.acceptors[2]
    must(one.commit == other.log.last == 2 and one.log[2].epoch == other.log[2].epoch)
    must(one.log[2] != other.log[2])
    bench.start(a)
    bench.start(b)
    bench.wait(LONGER_THAN_A_LEASE)
    if not bench.elect(b, 0, 2):
        raise Violation("an upstream knows which entry is committed, and nobody is elected")
    bench.exchange(b, 0, 2, times=4)
    must(bench.twins[b].holds(bench.now))


def release_after_a_late_pre_vote(bench: Bench) -> None:
    """A pre-vote arrives when its twin is active already. Later the twin gives its lease back."""
    a, b = "tmr1", "tmr2"
    twin = bench.twins[a]
    bench.lose(a)
    twin._next_try = bench.now
    twin.tick(bench.now)
    late = bench.sent(a, 2)
    bench.exchange(a, 0, 1)
    bench.exchange(a, 0, 2)
    must(twin.role == "active" and late is not None)
    if late is not None:
        bench.hand(a, late, answer=False)
    bench.exchange(a, 0, 2, times=3)
    must(twin.holds(bench.now))
    twin.retire(bench.now, "switchover")
    bench.exchange(a, 0, 2)
    if not bench.elect(b, 1, 2):
        raise Violation("the lease was given back, and nobody else gets it")


def signature_after_a_return(bench: Bench) -> None:
    """A borrowing is given back, and committed; the upstreams have not heard of the commitment yet."""
    a = "tmr1"
    must(bench.elect(a, 0, 1, 2))
    bench.exchange(a, 0, 1, 2, times=2)
    twin, serial = bench.twins[a], "borrowing-1"
    for command, times in (
        (StateContainers(statements()), 3),
        (Borrow("key-1", "alice", serial, FIRM, PRODUCT, (KEY,), 3600, "00" * 32, "cad-07"), 3),
        (GiveBack(serial, "alice", "release"), 1),
    ):
        twin.submit(bench.now, encode(command))
        bench.exchange(a, 0, 1, times=times)
    must(twin.applied == twin.log.last)
    behind = [one for one in bench.acceptors[:2] if serial in bench.ledger_of(one).borrowings]
    must(len(behind) == 2)
    read = ReadIndex(twin.epoch, twin.owner, twin.applied)
    if all(bench.rules.obstacle(acceptor, bench.now, read) is None for acceptor in behind):
        raise Violation("two upstreams sign a borrowing that was given back")


def poll(bench: Bench, name: str, forged: int = 0) -> None:
    """The twin polls all three upstreams; up1 adds so many entries to its answer that nobody committed."""
    bench.wait(0.05)
    twin = bench.twins[name]
    twin.tick(bench.now)
    for one in [output for output in twin.take() if isinstance(output, Send)]:
        reply = bench.acceptors[one.replica].handle(bench.now, WALL_MS, one.request).reply
        if one.replica == 0 and isinstance(reply, Subscribed) and isinstance(one.request, Subscribe):
            known = one.request.have_index, reply.state.commit
            if forged and one.request.entries and known[0] == known[1]:
                reply = with_forged(reply, bench.acceptors[0].log.last_time, forged)
        twin.receive(bench.now, one.replica, one.at, one.request, reply)


def with_forged(reply: Subscribed, time_ms: int, count: int) -> Subscribed:
    """The answer with more entries, as if they were committed."""
    state = reply.state
    last = state.commit + count
    body = encode(RecordDenials(()))
    forged = range(state.commit + 1, last + 1)
    entries = tuple(Entry(index, state.last_epoch, time_ms, "command", body) for index in forged)
    return replace(reply, entries=entries, state=replace(state, last_index=last, commit=last))


def renew(bench: Bench, name: str) -> None:
    """All three upstreams store what the active twin has, and hear that it is committed."""
    bench.exchange(name, 0, 1, 2, times=3)
    bench.wait(1.1 * bench.timing.renewal)
    bench.twins[name].tick(bench.now)
    bench.exchange(name, 0, 1, 2, times=3)


def forged_mirror(bench: Bench) -> tuple[Proposer, Proposer]:
    """The active twin, and the passive one, which up1 has fed two entries that nobody committed."""
    a, b = "tmr1", "tmr2"
    must(bench.elect(a, 0, 1, 2))
    active, passive = bench.twins[a], bench.twins[b]
    renew(bench, a)
    passive.eligible = False
    for _ in range(4):
        poll(bench, b)
    must(passive.commit == bench.acceptors[0].commit > 0)
    for _ in range(2):
        poll(bench, b, forged=2)
    must(passive.commit == bench.acceptors[0].commit + 2)
    return active, passive


def two_upstreams_contradict(bench: Bench) -> None:
    """One upstream lies to the passive twin, and the two others go on with other entries."""
    active, passive = forged_mirror(bench)
    for _ in range(3):
        active.submit(bench.now, encode(RecordDenials(())))
        renew(bench, "tmr1")
    for _ in range(6):
        poll(bench, "tmr2")
    mirrored = list(passive.log.after_index(0))
    if mirrored != list(active.log.after_index(0, len(mirrored))):
        raise Violation("the passive twin keeps entries that two upstreams contradict")
    must(passive.commit > 3)


def one_upstream_tells(bench: Bench) -> None:
    """One upstream lies to the passive twin, whose machine is started again."""
    active, passive = forged_mirror(bench)
    anchor = passive.confirmed_anchor
    if anchor is not None and not contains(active.log, anchor):
        raise Violation("a forged entry is the anchor of the passive twin, which never serves without it")


def must(held: bool) -> None:
    """The schedule came as far as it was meant to."""
    if not held:
        raise AssertionError("the schedule does not do any more what its description says")


SCHEDULES: dict[str, Callable[[Bench], None]] = {
    "older epochs counted": older_entry_on_two,
    "lease given back and revived": released_lease_stays_released,
    "a release forgotten in a restart": restart_after_a_release,
    "a promise that was not heard is lost": promise_that_was_not_heard,
    "votes are thrown away": upstreams_up_in_turn,
    "a candidate gives nothing back": candidate_that_gives_up,
    "lease forgotten in a restart": restart_while_a_lease_lives,
    "a late release counts": release_of_an_earlier_term,
    "a restart forgets how long it granted": restart_with_a_shorter_lease,
    "a lease is shortened": renewal_of_a_longer_lease,
    "a return is signed past": signature_after_a_return,
    "a commit settles no fork": fork_with_a_commit,
    "one late message, no release": release_after_a_late_pre_vote,
    "acknowledged tail forgotten": snapshot_that_comes_twice,
    "a contradicted mirror is kept": two_upstreams_contradict,
    "an anchor on the word of one": one_upstream_tells,
}
"""Rule taken away → the schedule that shows it."""
