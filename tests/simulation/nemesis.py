# SPDX-License-Identifier: Apache-2.0
"""Makes the faults happen, at their time, at the named point of a machine's work, or to a single message."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from tests.simulation.disk import Disk
from tests.simulation.faults import Fault
from tests.simulation.names import TWINS, UPSTREAMS
from tests.simulation.plan import LEASES, plan
from tests.simulation.versions import ledger_of
from tmr.quorum.anchor import Anchor, contains
from tmr.quorum.durable import SnapshotWrite, VotingWrite
from tmr.quorum.entries import Snapshot
from tmr.quorum.lease import DRIFT
from tmr.quorum.log import Log

if TYPE_CHECKING:
    from tests.simulation.upstream import SimUpstream
    from tests.simulation.world import World

LONGEST_LEASE = max(LEASES)
START = 0.05
"""Seconds in which an upstream starts whose store was exchanged."""
MESSAGE_KINDS = ("lost", "twice", "late")
REISSUED = 0.6
"""Part of the new containers that the vendor issues the licence to during the storm."""
FLAP = 0.7
"""Seconds between two deaths of upstreams that flap."""
METHOD = str.maketrans({" ": "_", "-": "_", ",": None})
"""The name of a kind of fault as that of the method which makes it."""


class Machine(Protocol):
    """What the nemesis strikes."""

    name: str
    up: bool
    boot: int


class _Link:
    """Messages from one machine to another: how many there were, and which has the next fault."""

    __slots__ = ("count", "next", "script")

    def __init__(self, script: list[Fault]) -> None:
        self.count = 0
        self.next = 0
        self.script = script


class Nemesis:
    """`script`: the faults to make; None: those that the seed and its weather give. `made` lists what was
    made.
    """

    def __init__(self, world: World, script: Sequence[Fault] | None) -> None:
        self.world = world
        self._rnd = world.stream("nemesis")
        self._drawn = script is None
        self._links: dict[tuple[str, str], _Link] = {}
        self._armed: dict[str, Fault] = {}
        profile = world.profile
        self._message_rates = (profile.drop, profile.duplicate, profile.slow)
        self._message_rate = sum(self._message_rates)
        self._scripted: dict[tuple[str, str], list[Fault]] = {}
        self._flapping_until = 0.0
        self._replacing = False
        """An old machine may still come back."""
        self.taken_out = set[str]()
        """Disks of machines that were replaced."""
        self.exchanged = set[str]()
        """New disks that were put in place of all three: they are to stay new."""
        self.foreign = set[str]()
        """Disks of another founding."""
        self._differs: int | None = None
        """Slot of the upstream whose ledger differs, until it is known to be replaced."""
        self._wrong_state = b""
        """Snapshot of another ledger that is on its disk, if it is."""
        self._wrong_since = 0
        """Its process of this number was the last one before that."""
        self.made: list[Fault] = []
        for fault in plan(profile, self._rnd, world.storm) if script is None else script:
            if fault.kind in MESSAGE_KINDS:
                self._scripted.setdefault((fault.who[0], fault.who[1]), []).append(fault)
            else:
                world.at(fault.at, lambda fault=fault: self._begin(fault))  # type: ignore[misc]

    # -- single messages -----------------------------------------------------------------------------------

    def message(self, source: str, target: str) -> Fault | None:
        """What happens to the message that `source` sends to `target` now, if anything does."""
        link = self._links.get((source, target))
        if link is None:
            faults = sorted(self._scripted.get((source, target), []), key=lambda fault: -fault.number)
            link = self._links[source, target] = _Link(faults)
            self._aim(link)
        link.count += 1
        if link.count != link.next or not self.world.stormy():
            return None
        fault = self._draw(source, target, link.count) if self._drawn else link.script.pop()
        self._aim(link)
        self.made.append(fault)
        self.world.stats[f"messages {fault.kind}"] += 1
        self.world.tell(f"{source} to {target}: the next message is {fault.kind}")
        return fault

    def _aim(self, link: _Link) -> None:
        if not self._drawn:
            link.next = link.script[-1].number if link.script else 0
        elif self._message_rate:
            skipped = math.log(1 - self._rnd.random()) / math.log(1 - self._message_rate)
            link.next = link.count + 1 + int(skipped)

    def _draw(self, source: str, target: str, number: int) -> Fault:
        (kind,) = self._rnd.choices(MESSAGE_KINDS, self._message_rates)
        seconds = self._rnd.uniform(0.1, 5.0) if kind == "late" else 0.0
        if kind == "twice" and self._rnd.random() < 0.3:
            seconds = self._rnd.uniform(0.5, 9.0)  # the copy comes when other is active have begun and ended
        return Fault(kind, who=(source, target), seconds=seconds, number=number)

    # -- at a named point ----------------------------------------------------------------------------------

    def reach(self, machine: Machine, point: str, go: Callable[[], None]) -> None:
        """The machine's work came to `point` and wants to `go` on: it may crash here, or stand still."""
        fault = self._armed.get(machine.name)
        if fault is None or fault.point != point:
            go()
            return
        del self._armed[machine.name]
        self.world.stats[f"{fault.kind} when {point}"] += 1
        self._strike(fault)
        if fault.kind in ("pause", "paused by the host"):
            self.world.run_on(machine, 0, go)

    def calm(self) -> None:
        """Nobody is struck any more; and two constituents are left, or are issued anew."""
        self._armed.clear()
        self._issue_what_is_needed()

    def _issue_what_is_needed(self) -> None:
        lost = [one for one in self.world.upstreams if not one.disk.container.licensed]
        for upstream in lost[1:]:
            upstream.disk.container.issue()

    # -- at a time -----------------------------------------------------------------------------------------

    def _begin(self, fault: Fault) -> None:
        if not self.world.stormy():
            return
        self.made.append(fault)
        if fault.point:
            self._armed[fault.who[0]] = fault
        else:
            self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        world = self.world
        made = getattr(self, "_" + fault.kind.translate(METHOD))(fault)
        if made is not False:
            world.stats[fault.kind] += 1
            if world.story is not None:
                world.tell(f"FAULT {fault}")

    def _crash(self, fault: Fault) -> bool:
        return self._down(fault.who[0], fault.seconds, fault.value)

    def _down(self, name: str, seconds: float, value: float, *, release: bool = True) -> bool:
        machine = self.world.machine(name)
        if not machine.up:
            return False
        if name in UPSTREAMS:
            machine.crash(value)
        elif name in TWINS:
            machine.crash(release=release and value < 0.5)
        else:
            machine.crash()
        self._up_again(machine, seconds)
        return True

    def _up_again(self, machine: Any, seconds: float) -> None:
        boot = machine.boot
        self.world.after(
            self._until_calm(seconds),
            lambda: machine.start() if machine.boot == boot and not machine.up else None,
        )

    def _until_calm(self, seconds: float) -> float:
        """No fault outlasts the storm by much."""
        return min(seconds, max(0.05, self.world.storm + 0.3 - self.world.now))

    def _flapping_upstreams(self, fault: Fault) -> bool:
        """Two processes die in turn, every FLAP seconds, and are started again each time."""
        if self.world.now < self._flapping_until:
            return False  # of three that flap no two may ever be up together
        self._flapping_until = until = self.world.now + fault.seconds

        def die(number: int) -> None:
            if self.world.now >= until or not self.world.stormy():
                return
            upstream = self.world.machine(fault.who[number % 2])
            if upstream.up:
                upstream.die((fault.value * (7 + number)) % 1)
                self._up_again(upstream, fault.value * FLAP)
                self.world.stats["deaths while flapping"] += 1
            self.world.after(FLAP, lambda: die(number + 1))

        die(0)
        return True

    def _version(self, fault: Fault) -> bool:
        """Another version is installed; the machine starts again with it."""
        name, version = fault.who[0], int(fault.value)
        if not self.world.profile.upgrade or self.world.versions[name] == version:
            return False
        self.world.versions[name] = version
        if name in self.world.twins and self.world.twins[name].up:
            self.world.twins[name].keep_anchor()  # an upgrade stops it in good order
        if not self._down(name, fault.seconds, 0.0):
            self._up_again(self.world.machine(name), fault.seconds)
        return True

    def _newer_command(self, fault: Fault) -> bool:
        """A twin of the later version writes a command of its own, whatever format is in force."""
        twin = self.world.twins[fault.who[0]]
        return twin.write_newer_command()

    def _power_cut(self, fault: Fault) -> None:
        for number, name in enumerate(fault.who):
            share = (fault.value * (7 + number)) % 1
            self._down(name, fault.seconds * (0.2 + share), share, release=False)

    def _both_twins_restart(self, fault: Fault) -> None:
        for number, name in enumerate(fault.who):
            self._down(name, fault.seconds * (1 + number), 1.0)

    def _orderly_stop(self, fault: Fault) -> bool:
        twin = self.world.twins[fault.who[0]]
        if not twin.up or self.world.paused(twin.name):
            return False
        twin.stop()
        self._up_again(twin, fault.seconds)
        return True

    def _switchover(self, fault: Fault) -> bool:
        twin = self.world.twins[fault.who[0]]
        if not twin.holds() or self.world.paused(twin.name):
            return False
        twin.hand_over()
        return True

    def _cut(self, fault: Fault) -> None:
        until = self.world.now + self._until_calm(fault.seconds)
        for link in fault.who:
            source, target = link.split(">")
            self.world.cut[source, target] = max(until, self.world.cut.get((source, target), 0.0))

    def _slow_links(self, fault: Fault) -> None:
        """Each message on these links takes `value` seconds longer."""
        until = self.world.now + self._until_calm(fault.seconds)
        for link in fault.who:
            source, target = link.split(">")
            self.world.slow[source, target] = until, fault.value

    _one_way_cut = _cut
    _client_cut_off = _cut

    def _pause(self, fault: Fault) -> bool:
        machine = self.world.machine(fault.who[0])
        if not machine.up:
            return False
        seconds = self._until_calm(fault.seconds)
        self.world.pause(machine.name, seconds)
        self.world.stats["pauses longer than a lease"] += seconds > self.world.timings[TWINS[0]].ttl
        return True

    def _paused_by_the_host(self, fault: Fault) -> bool:
        machine = self.world.machine(fault.who[0])
        stands = self.world.paused(machine.name) or self.world.checker.is_stopped(machine.name)
        if not machine.up or stands:
            return False
        self.world.stop_clocks(machine.name, self._until_calm(fault.seconds))
        return True

    def _lease_setting(self, fault: Fault) -> bool:
        """The machine has another length of the lease from its next start on, which is now."""
        name = fault.who[0]
        self.world.timings[name] = replace(self.world.timings[name], ttl=fault.value)
        return self._down(name, fault.seconds, 1.0)

    # -- disks ---------------------------------------------------------------------------------------------

    def whole(self) -> bool:
        """Every upstream votes, and every one knows the disks of all three for members.

        One lost disk at a time is what 2 of 3 survives: the next may go when this is so again.
        """
        upstreams = self.world.upstreams
        disks = tuple(one.disk.name for one in upstreams)
        return (
            not self._replacing
            and self._alike()
            and self._one_writer()
            and all(
                one.up
                and one.acceptor.voting
                and one.disk.voting
                and one.acceptor.log.membership is not None
                and one.acceptor.log.membership.replica_ids == disks
                and not any(other.disk.knows_more_of(one.disk) for other in upstreams)
                for one in upstreams
            )
        )

    def _one_writer(self) -> bool:
        """No run of a twin that ran twice may still write, and no journals have forked.

        Of two journals that differ the third upstream tells which one counts: its disk is not to be lost.
        """
        upstreams = self.world.upstreams
        if any(one.acceptor.owner in self.world.twice for one in upstreams):
            return False
        logs = [one.acceptor.log for one in upstreams]
        return not any(_forked(a, b) for a, b in itertools.combinations(logs, 2))

    def _bit_flipped(self, fault: Fault) -> bool:
        """The power of all five fails, a bit of a journal changes meanwhile, and that machine is up first."""
        if not self.whole():
            return False
        damaged = self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        if not damaged.disk.flip(fault.value):
            return False
        for number, name in enumerate(fault.who):
            self._down(name, 0.05 + fault.seconds * number, 0.0, release=False)
        return True

    def _disk_lost(self, fault: Fault) -> bool:
        if not self.whole():
            return False
        upstream = self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        lost = upstream.put(self.world.new_disk())
        self._reissue(upstream.disk)
        if self.world.rules.vote_with_an_empty_disk:
            upstream.disk = self._impostor(lost.name)
        self._up_again(upstream, fault.seconds)
        return True

    def _reissue(self, disk: Disk) -> None:
        """The vendor issues the licence to the new container; a twin then has it trusted."""
        if self._rnd.random() < REISSUED:
            self.world.after(self._until_calm(self._rnd.uniform(0.5, 5.0)), disk.container.issue)

    def _store_and_power(self, fault: Fault) -> bool:
        """An upstream loses its store, and once it votes again, another one its power.

        One genuine constituent is left with a majority of upstreams.
        """
        world = self.world
        lost, dark = (world.upstreams[UPSTREAMS.index(name)] for name in fault.who)
        if not self.whole():
            return False
        lost.put(world.new_disk())
        new = lost.disk
        self._up_again(lost, fault.value)

        def second() -> None:
            if lost.disk is not new or not world.stormy():
                return
            if not (lost.up and lost.acceptor.voting and lost.disk.voting):
                world.after(0.05, second)
                return
            world.stats["one genuine constituent"] += 1
            self._down(dark.name, fault.seconds, 1.0)

        world.after(0.05, second)
        return True

    def _impostor(self, name: str) -> Disk:
        """An empty disk that claims to be the lost one: what readmission is there to prevent."""
        disk = Disk(name, self.world.new_disk().container)
        first = self.world.checker.foundation
        if first is not None:
            disk.write([SnapshotWrite(first, keep_tail=False), VotingWrite(voting=True)])
            disk.sync()
        return disk

    def _replaced(self, fault: Fault) -> bool:
        """A new machine has the address; after `value` seconds the old one has it again, for a while."""
        # While the system is being founded either of the two may become the member, and the other is retired.
        if not self.whole() or not self.world.checker.journal:
            return False
        world, upstream = self.world, self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        old = upstream.put(world.new_disk())
        new = upstream.disk
        self._reissue(new)
        self._replacing = True
        self.taken_out.add(old.name)
        self._up_again(upstream, fault.seconds)

        def old_returns() -> None:
            if upstream.disk is not new or not world.stormy():
                self._replacing = False
                return
            world.stats["old machine returned"] += 1
            world.tell(f"the old machine of {upstream.name} ({old.name}) returns")
            upstream.put(old)
            self.taken_out.add(new.name)
            self._up_again(upstream, 0.05)
            world.after(self._until_calm(2.5), new_returns)

        def new_returns() -> None:
            self._replacing = False
            if upstream.disk is old:
                world.tell(f"the new machine of {upstream.name} ({new.name}) has the address again")
                upstream.put(new)
                self._up_again(upstream, 0.05)
                if not world.stormy():
                    self._issue_what_is_needed()

        world.after(fault.seconds + fault.value, old_returns)
        return True

    def _stores_exchanged(self, fault: Fault) -> bool:
        """New stores are on all three upstreams; then the former ones. Both twins know the system."""
        world = self.world
        known = [twin.anchor is not None and twin.anchor.founding for twin in world.twins.values()]
        if not (self.whole() and all(known)):
            return False
        former = [upstream.put(world.new_disk()) for upstream in world.upstreams]
        self.exchanged |= {upstream.disk.name for upstream in world.upstreams}
        # Longer than a lease: else an active twin would have a new disk admitted once the others are back.
        seconds = LONGEST_LEASE * (1 + 2 * DRIFT) + fault.seconds
        world.outlasts(seconds + START)
        self._for_a_while(seconds, list(zip(world.upstreams, former, strict=True)))
        if fault.value < 0.5:
            self._both_twins_restart(Fault("both twins restart", fault.at, TWINS, fault.value))
        elif fault.value < 0.75:
            part = 4 * (fault.value - 0.5)
            self._paused_meanwhile(int(100 * part) % 3, 0.15 + 0.35 * part, seconds + START)
        return True

    def _paused_meanwhile(self, heard: int, begins: float, ends: float) -> None:
        """The host pauses the active twin until the former stores are back: its lease seems to live on.

        Of the new stores it hears one alone, on the upstream `heard`. `begins`, `ends`: seconds from now.
        """
        world = self.world
        for name in [name for name, twin in world.twins.items() if twin.holds()]:
            for upstream in world.upstreams:
                if upstream.slot != heard:
                    world.cut[upstream.name, name] = world.now + ends

            def pause(twin: str = name) -> None:
                if twin in world.twins and not world.paused(twin) and not world.checker.is_stopped(twin):
                    world.stop_clocks(twin, ends - begins)
                    world.stats["paused while stores are exchanged"] += 1

            world.after(begins, pause)

    def _foreign_store(self, fault: Fault) -> bool:
        """An upstream has a store of another founding, whose epochs and indices are those of its own."""
        # Before all have noted that the first entry is committed, nothing tells this founding.
        if not self.whole() or not all(one.disk.commit for one in self.world.upstreams):
            return False
        upstream = self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        other = upstream.disk.foreign(self.world.new_disk())
        self.foreign.add(other.name)
        self._for_a_while(self._until_calm(fault.seconds), [(upstream, upstream.put(other))])
        return True

    def _for_a_while(self, seconds: float, places: list[tuple[SimUpstream, Disk]]) -> None:
        """These upstreams start with what is in place now; then their own disks are put back."""
        self._replacing = True
        for upstream, _ in places:
            self._up_again(upstream, START)

        def back() -> None:
            self._replacing = False
            for upstream, own in places:
                self.world.tell(f"{upstream.name} has {own.name} again")
                upstream.put(own)
                self._back(upstream, START)
            if not self.world.stormy():
                self._issue_what_is_needed()

        self.world.after(seconds, back)

    def _copied(self, fault: Fault) -> None:
        """A copy of the disk is made, and put back after `value` seconds.

        By then the others have heard more of this disk (decision 12). It stays off for longer than a lease:
        what it granted and forgets has ended.
        """
        world, upstream = self.world, self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        copy = upstream.disk.copy()

        def put_back() -> None:
            others = [other for other in world.upstreams if other is not upstream]
            same = upstream.disk.name == copy.name
            if not (world.stormy() and same and self.whole()):
                return
            if all(other.disk.knows_more_of(copy) for other in others):
                world.stats["old copy put back"] += 1
                world.tell(f"{upstream.name} is put back to a copy {fault.value:.2f} s old")
                upstream.put(copy)
                boot = upstream.boot
                seconds = LONGEST_LEASE * (1 + 2 * DRIFT) + fault.seconds
                world.after(seconds, lambda: upstream.start() if upstream.boot == boot else None)

        world.after(fault.value, put_back)

    def _two_copied(self, fault: Fault, *, twins: bool = False, power: bool = False) -> None:
        """Copies of two upstreams are made at one moment, and put back after `value` seconds.

        They agree with one another. The third has everything, and is away for `seconds`. What was not in its
        journal, or in no anchor yet, nobody could miss: then they are not put back.
        """
        world = self.world
        *old, third = (world.upstreams[UPSTREAMS.index(name)] for name in fault.who)
        copies = [upstream.disk.copy() for upstream in old]

        def put_back() -> None:
            same = all(one.disk.name == copy.name for one, copy in zip(old, copies, strict=True))
            if not (world.stormy() and same and self.whole() and self._missed(copies, third, restart=twins)):
                return
            world.stats["old majority put back"] += 1
            world.tell(f"{fault.who[0]} and {fault.who[1]} are put back to copies {fault.value:.2f} s old")
            for twin in world.twins.values():
                # A later fault may restart it. With an anchor on disk that the copies have, or with none, it
                # could miss nothing then: its anchor is written just before.
                if twin.up and (twin.anchor is None or any(_shows(copy, twin.anchor) for copy in copies)):
                    twin.keep_anchor()
            lease = LONGEST_LEASE * (1 + 2 * DRIFT)
            # What the two lack, only the third has: without that nobody may serve.
            world.outlasts(max(lease + 0.1, lease * power + fault.seconds))
            for upstream, copy in zip(old, copies, strict=True):
                upstream.put(copy)
                self._back(upstream, lease + 0.1)
            if power or fault.seconds:
                self._down(third.name, 0, 0.0)
                self._back(third, lease * power + fault.seconds)
            for name in TWINS if twins else ():
                if world.machine(name).up:
                    world.machine(name).crash()
                self._back(world.machine(name), lease)

        world.after(fault.value, put_back)

    def _two_copied_twins_restart(self, fault: Fault) -> None:
        self._two_copied(fault, twins=True)

    def _two_copied_power_cut(self, fault: Fault) -> None:
        self._two_copied(fault, twins=True, power=True)

    def _missed(self, copies: list[Disk], third: SimUpstream, *, restart: bool) -> bool:
        """The third has on disk all that was ever committed; each twin knows of more than the copies have."""
        journal = self.world.checker.journal
        whole = Log.after(third.disk.load().snapshot, third.disk.load().entries)
        last = max(journal, default=0)
        if not last or whole.last < last or whole.last_epoch < journal[last].epoch:
            return False
        if not all(copy.voting for copy in copies):
            return False  # from before the founding: no copy of a member, but a disk that is lost
        for twin in self.world.twins.values():
            known = twin.anchor if restart or not twin.up else twin.twin.confirmed_anchor
            if known is None or any(_shows(copy, known) for copy in copies):
                return False
        return all(third.disk.knows_more_of(copy) for copy in copies)

    def _back(self, machine: Any, seconds: float) -> None:
        """It starts after so many seconds, also when the storm is over: no lease may be forgotten."""
        boot = machine.boot
        self.world.after(
            seconds, lambda: machine.start() if machine.boot == boot and not machine.up else None
        )

    def _disk_hangs(self, fault: Fault) -> None:
        upstream = self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        upstream.hangs_until = self.world.now + self._until_calm(fault.seconds)

    def _twin_cloned(self, fault: Fault) -> bool:
        """A copy of a twin's machine is started beside it: the same name, certificate and anchor."""
        return self.world.clone(fault.who[0], self._until_calm(fault.seconds))

    def _memory_copied(self, fault: Fault) -> bool:
        """A copy of a running twin goes on beside it: the same run, twice."""
        if not self.whole():
            return False
        return self.world.clone(fault.who[0], self._until_calm(fault.seconds), memory=True)

    def _memory_put_back(self, fault: Fault) -> bool:
        """A running twin is put back to what was in its memory so many seconds before, as its clock is."""
        world, twin = self.world, self.world.twins[fault.who[0]]
        if not twin.up or world.paused(twin.name):
            return False
        memory, boot = twin.memory(), twin.boot

        def put_back() -> None:
            stands = world.paused(twin.name) or world.checker.is_stopped(twin.name)
            if not world.stormy() or stands or twin.boot != boot or not self.whole():
                return
            world.twice.add(twin.twin.owner)
            world.stats["memory was put back"] += 1
            world.tell(f"{twin.name} goes on from its memory of {fault.seconds:.2f} s before")
            world.clocks[twin.name].put_back(world.now, memory.reading)
            world.checker.stopped(twin.name)  # from its first step on it believes what may long be over
            twin.remember(memory)
            world.checker.went_on(twin.name, 0.0)

        world.after(fault.seconds, put_back)
        return True

    def _disk_full(self, fault: Fault) -> None:
        upstream = self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        upstream.full_until = self.world.now + self._until_calm(fault.seconds)

    def _ledger_differs(self, fault: Fault) -> bool:
        upstream = self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        if not self.whole():
            return False
        upstream.diverge()
        self._differs, self._wrong_state, self._wrong_since = upstream.slot, b"", -1
        return True

    def _stored_ledger_differs(self, fault: Fault) -> bool:
        """What an upstream has stored is another ledger, all of a piece, and it starts with that."""
        upstream = self.world.upstreams[UPSTREAMS.index(fault.who[0])]
        if not self.whole() or not self._all_have(upstream.disk.load().snapshot):
            return False
        version = self.world.versions[upstream.name]
        self._differs, self._wrong_since = upstream.slot, upstream.boot
        for number, name in enumerate(fault.who):
            self._down(name, 0.05 + fault.seconds * number, 0.0, release=False)
        self._wrong_state = upstream.disk.differ(ledger_of(self.world, version))
        return True

    def _all_have(self, snapshot: Snapshot) -> bool:
        """The journals of all three go on from there: else nobody could miss what came before."""
        logs = [Log.after(one.disk.load().snapshot, one.disk.load().entries) for one in self.world.upstreams]
        return snapshot.index > 0 and all(
            log.base <= snapshot.index <= log.last and log.epoch_at(snapshot.index) == snapshot.epoch
            for log in logs
        )

    def _twin_ledger_differs(self, fault: Fault) -> bool:
        twin = self.world.twins[fault.who[0]]
        if not self.whole() or not twin.up:
            return False
        twin.diverge()
        self.world.stats["active twin's ledger differs"] += twin.twin.role == "active"
        return True

    def _alike(self) -> bool:
        """No ledger differs: of two that do, nobody could say which is right."""
        if any(twin.odd == twin.twin.dropped for twin in self.world.twins.values()):
            return False
        if self._differs is not None:
            once = self.world.upstreams[self._differs]
            if not once.up or once.boot == self._wrong_since:
                return False
            if self._wrong_state and once.disk.load().snapshot.state == self._wrong_state:
                return False
            same = [one for one in self.world.upstreams if one.acceptor.applied == once.acceptor.applied]
            if any(one is not once and one.ledger.digest() == once.ledger.digest() for one in same):
                self._differs = None
        return self._differs is None

    # -- clocks --------------------------------------------------------------------------------------------

    def _wall_clock_jumps(self, fault: Fault) -> None:
        clock = self.world.clocks[fault.who[0]]
        clock.wall_skew_ms, clock.synchronised = fault.value, False

    def _two_wall_clocks_wrong(self, fault: Fault) -> bool:
        """Before the first time is committed, nothing could tell that two clocks of two are wrong."""
        world = self.world
        if world.disagree_until > world.now or not world.checker.journal:
            return False
        seconds = self._until_calm(fault.seconds)
        world.disagree_until = world.now + seconds
        clocks = [world.clocks[name] for name in fault.who]
        for clock, part in zip(clocks, (1.0, 1.07), strict=True):
            clock.wall_skew_ms, clock.synchronised = part * fault.value, False

        def set_right() -> None:
            for clock in clocks:
                clock.wall_skew_ms = 0.0

        world.after(seconds, set_right)
        return True

    def _clocks_set(self, fault: Fault) -> None:
        """All three had been behind alike, and are right now: certified time leaps with the next term."""
        self.world.set_ms += fault.value
        self.world.right_ms += fault.value
        self._set_clocks()

    def _set_clocks(self, wrong_ms: float = 0.0, *, kept: Sequence[str] = ()) -> None:
        """Set all to what is right, or wrong alike. Of `kept` their machines say that a time source keeps
        them; what is set by hand, none does.
        """
        for name in UPSTREAMS:
            self.world.clocks[name].set_ms = self.world.right_ms + wrong_ms
            self.world.clocks[name].synchronised = name in kept

    def _known_time(self) -> bool:
        """A journal says what time it was; and no ledger differs, which a power cut alone may strike."""
        return bool(self.world.checker.journal) and self._alike()

    def _wrong_clocks_at_boot(self, fault: Fault) -> bool:
        """The power of all fails, and all three wall clocks are wrong alike afterwards, until they are set
        right. One of the upstreams may believe that a time source keeps its clock.
        """
        if not self._known_time():
            return False
        self._power_cut(replace(fault, value=fault.value % 1))
        self._set_clocks(fault.value, kept=UPSTREAMS[int(fault.value) % 4 :][:1])
        self.world.after(self._until_calm(2.0 + fault.seconds), self._set_clocks)
        return True

    def _days_without_power(self, fault: Fault) -> bool:
        """The clocks are right afterwards: the journal does not know that. An operator does."""
        if not self._known_time():
            return False
        self._power_cut(replace(fault, value=fault.value % 1))
        self.world.right_ms += fault.value
        self._set_clocks()
        return True

    def _days_without_power_time_source(self, fault: Fault) -> bool:
        """The same, and time sources answer some time after the start."""
        if not self._days_without_power(fault):
            return False

        def synchronised() -> None:
            self.world.set_ms = self.world.right_ms
            self._set_clocks(kept=UPSTREAMS)

        self.world.after(self._until_calm(fault.seconds * 3), synchronised)
        return True

    def _clock_races(self, fault: Fault) -> None:
        """A twin's monotonic clock goes at `value` seconds a second for a while."""
        clock, world = self.world.clocks[fault.who[0]], self.world
        clock.drift(world.now, fault.value)
        world.after(self._until_calm(fault.seconds), lambda: clock.drift(world.now, 1.0))

    def _clock_creeps(self, fault: Fault) -> bool:
        """The same, too slow: as if its host paused it again and again."""
        name = fault.who[0]
        if self.world.checker.is_stopped(name):
            return False
        self._clock_races(fault)
        self.world.checker.stopped(name)
        self.world.after(self._until_calm(fault.seconds), lambda: self.world.checker.went_on(name, 0.0))
        return True

    def _clock_drifts(self, fault: Fault) -> None:
        self.world.clocks[fault.who[0]].drift(self.world.now, fault.value)


def _shows(copy: Disk, anchor: Anchor) -> bool:
    """The journal on the disk has the anchor's entry."""
    stored = copy.load()
    return contains(Log.after(stored.snapshot, stored.entries), anchor)


def _forked(one: Log, other: Log) -> bool:
    """Both have an entry of one index and epoch, and not the same."""
    common = range(max(one.base, other.base) + 1, min(one.last, other.last) + 1)
    return any(one[at] != other[at] and one[at].epoch == other[at].epoch for at in common)
