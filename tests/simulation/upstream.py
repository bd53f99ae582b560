# SPDX-License-Identifier: Apache-2.0
"""An upstream: the production acceptor over a simulated disk.

Batches are made as `tmr.upstream.acceptor_runner` makes them.

The acceptor decides at once, in memory. Its writes join the batch that is being filled; one batch at a time
is made durable, and an answer leaves once everything decided before it is on disk. A sync that fails ends
the process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.disk import Disk
from tests.simulation.licences import KEY
from tests.simulation.names import UPSTREAMS
from tests.simulation.versions import ledger_of
from tmr.quorum.durable import AckedPositionsWrite, CommitWrite, Hint, Write
from tmr.quorum.entries import ProposerId
from tmr.quorum.formats import NewerFormat
from tmr.quorum.messages import PreVote, Promise, Reply, Request, Subscribe
from tmr.upstream.own_container import OwnContainerValidator

if TYPE_CHECKING:
    from tests.simulation.world import World

SUBSCRIBE_WAIT = 4.0
"""Seconds after which a `Subscribe` is answered without news; 1 in production."""
Respond = Callable[[Reply], None]


class SimUpstream:
    """See the module."""

    def __init__(self, world: World, slot: int) -> None:
        self.world, self.slot, self.name = world, slot, UPSTREAMS[slot]
        self.rnd = world.stream(self.name)
        self.clock = world.clocks[self.name]
        self.disk = world.new_disk()
        self.boot = 0
        self.full_until = self.hangs_until = 0.0
        self.refuses = False
        """The machine is up, and its process is not: whoever connects is told so at once."""
        self.connections: dict[Callable[[], None], None] = {}
        """Of questions that are not answered yet: what tells the twin that the process has died."""
        self.start()

    def now(self) -> float:
        """This machine's monotonic clock."""
        return self.clock.monotonic(self.world.now)

    def wall(self) -> int:
        """This machine's wall clock, for an answer that also says whether it is synchronised."""
        self.acceptor.clock_synchronised = self.clock.synchronised
        return self.clock.wall_ms(self.world.now)

    def start(self) -> None:
        """The process starts, from what is durable."""
        self.up = True
        self.boot += 1
        self.refuses = False
        self.connections.clear()
        self.waiting: dict[ProposerId, tuple[Subscribe, Respond]] = {}
        self._filling: list[Callable[[], None]] | None = None
        self._writes: list[Write] = []
        self._running: list[Callable[[], None]] | None = None
        self._timer = False
        world = self.world
        if world.now < self.full_until and self.rnd.random() < 0.5:
            self.fatal()  # it writes when it starts; the log of the store may have room for that, or not
            return
        version = world.started(self.name)
        self.ledger = ledger_of(world, version)
        if self.disk.damage and not world.rules.believe_damaged_rows:
            self.disk = self.disk.renewed(world.new_disk())
            world.stats["damaged stores begun anew"] += 1
        container = self.disk.container
        durable = self.disk.load()
        try:
            self.acceptor = world.rules.acceptor(
                durable,
                self.ledger,
                self.now(),
                world.timings[self.name].ttl,
                container.generation,
                OwnContainerValidator(self.ledger, self.name, container.key),
                container.fingerprint,
                version,
            )
        except NewerFormat:
            world.stats["older version held back"] += 1
            self.crash()
            return
        self._hints: list[Write] = list(self.acceptor.regenerated)
        self.acceptor.check_invariants()
        world.checker.acceptor_started(self.slot, self.acceptor)

    def crash(self, share: float = 0.0) -> None:
        """The process is killed, or the power cut; `share` of what was written and not synced survives."""
        self.world.checker.genuine_until(self.slot)
        self.up = False
        self.boot += 1
        survived = self.disk.crash(share)
        stats = self.world.stats
        stats["unsynced batches kept"] += survived.kept
        stats["unsynced batches lost"] += survived.lost
        stats["torn writes"] += survived.torn

    def die(self, share: float) -> None:
        """The process is killed, and the machine stays up: it ends the connections, and refuses others."""
        self.crash(share)
        self.refuses = True
        for end in list(self.connections):
            end()

    def fatal(self) -> None:
        """Memory and disk can no longer agree: the process ends, and is started again."""
        self.world.stats["deaths of a full disk"] += 1
        self.crash(self.rnd.random())
        boot = self.boot
        self.world.after(
            self.rnd.uniform(0.2, 1.0), lambda: self.start() if self.boot == boot and not self.up else None
        )

    def put(self, disk: Disk) -> Disk:
        """This address belongs to a machine with `disk` from now on. Returns the disk of the one before."""
        if self.up:
            self.crash()
        self.world.checker.genuine_until(self.slot)
        self.disk, before = disk, self.disk
        return before

    def diverge(self) -> None:
        """The ledger in memory becomes another than the journal says."""
        self.ledger._ledger_state.usage.spend(KEY, 1)

    # -- deciding ------------------------------------------------------------------------------------------

    def receive(self, request: Request, respond: Respond) -> None:
        """A message arrived."""
        self.world.nemesis.reach(self, "received", lambda: self._handle(request, respond))

    def _handle(self, request: Request, respond: Respond) -> None:
        world = self.world
        now, wall = self.now(), self.wall()
        if isinstance(request, Subscribe):
            self._follow(now, wall, request, respond)
            return
        self.acceptor.generation = self.disk.container.generation
        result = self.acceptor.handle(now, wall, request)
        self.acceptor.check_invariants()
        world.checker.acceptor_moved(self.slot, self.acceptor)
        if isinstance(result.reply, PreVote | Promise):
            world.checker.lease_over(self.slot, request.owner)

        def leave() -> None:
            world.checker.voted(self.slot, self.acceptor, result.reply)
            respond(result.reply)
            if result.woke:
                self._wake()

        if world.rules.answer_before_fsync:
            self._settle(result.writes, lambda: None)
            leave()
        else:
            self._settle(result.writes, leave)

    # -- making durable ------------------------------------------------------------------------------------

    def _settle(self, writes: list[Write], leave: Callable[[], None]) -> None:
        """Have `leave` called when `writes`, and all that was decided before, are on disk."""
        if writes and all(isinstance(write, Hint) for write in writes):
            newer = tuple({type(write) for write in writes} & {CommitWrite, AckedPositionsWrite})
            self._hints = [*(hint for hint in self._hints if not isinstance(hint, newer)), *writes]
            writes = []
        if writes:
            if self._filling is None:
                self._filling, self._writes = [], []
            self._writes += [*self._hints, *writes]
            self._hints = []
        batch = self._running if self._filling is None else self._filling
        if batch is None:
            leave()
        else:
            batch.append(leave)
            if self._running is None:
                self._commit()

    def _commit(self) -> None:
        if self._filling is None:
            return
        self._running, self._filling = self._filling, None
        self.disk.write(self._writes)
        self._writes = []
        self.world.nemesis.reach(self, "written, not synced", self._sync)

    def _sync(self) -> None:
        rnd = self.rnd
        delay = rnd.choice((0.0003, 0.001, 0.001, rnd.uniform(0.001, 0.2)))
        delay = max(delay, self.hangs_until - self.world.now)
        self.world.run_on(self, delay, self._synced)

    def _synced(self) -> None:
        if self.world.now < self.full_until:
            if not self.world.rules.swallow_full_disk:
                self.fatal()
                return
            self.disk.forget()
        self.disk.sync()
        self.world.nemesis.reach(self, "synced, not answered", self._durable)

    def _durable(self) -> None:
        leaving, self._running = self._running or [], None
        self._commit()
        for leave in leaving:
            leave()

    # -- following -----------------------------------------------------------------------------------------

    def _follow(self, now: float, wall: int, request: Subscribe, respond: Respond) -> None:
        earlier = self.waiting.pop(request.owner, None)
        if earlier is not None:
            self._answer_follow(*earlier)
        reply = self.acceptor.subscribe(now, wall, request)
        if reply is not None:
            self._settle([], lambda: respond(reply))
            return
        waits = self.waiting[request.owner] = (request, respond)
        self._watch_lease()

        def enough() -> None:
            if self.waiting.get(request.owner) is waits:
                del self.waiting[request.owner]
                self._answer_follow(request, respond)

        self.world.run_on(self, SUBSCRIBE_WAIT, enough)

    def _answer_follow(self, request: Subscribe, respond: Respond) -> None:
        reply = self.acceptor.handle(self.now(), self.wall(), request).reply
        self._settle([], lambda: respond(reply))

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, {}
        for request, respond in waiting.values():
            self._follow(self.now(), self.wall(), request, respond)

    def _watch_lease(self) -> None:
        """Followers hear of a lease that ends by itself."""
        left = self.acceptor.holder_until - self.now()
        if self._timer or left <= 0 or self.acceptor.holder is None:
            return
        self._timer = True

        def look() -> None:
            self._timer = False
            if self.acceptor.live_holder(self.now()) is None:
                self.world.checker.lease_over(self.slot)
            if self.waiting:
                self._wake()

        self.world.run_on(self, left / self.clock.rate + 0.001, look)
