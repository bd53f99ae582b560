"""One seeded run: three upstreams, two twins, some clients, and everything that can go wrong between them.

Time is true time in seconds; every machine has a monotonic clock of its own rate and offset, and a wall clock
that may be wrong. A seed replays exactly.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.simulation.client import SimClient
from tests.simulation.disk import Disk
from tests.simulation.licences import statements
from tests.simulation.rules import Rules
from tests.simulation.twin import SimTwin
from tests.simulation.weather import Weather
from tests.simulation.witness import Witness
from tmr.quorum.acceptor import SnapshotWrite, VotingWrite
from tmr.quorum.certified import FRESH_MS
from tmr.quorum.lease import DRIFT, Timing
from tmr.quorum.messages import Follow, Release, Reply, Request

UPSTREAMS = ("up1", "up2", "up3")
TWINS = ("tmr1", "tmr2")
CLIENTS = ("station-a", "station-b", "station-c", "station-d", "station-e")
EPOCH_OF_WALL_CLOCKS = 1_800_000_000_000


class Clock:
    """A machine's clocks."""

    def __init__(self, rnd: random.Random) -> None:
        self.rate = 1 + rnd.choice([-1, 1, rnd.uniform(-1, 1)]) * DRIFT
        self.offset = rnd.uniform(0, 1e5)
        self.wall_skew_ms = 0.0

    def monotonic(self, true: float) -> float:
        return self.offset + true * self.rate

    def wall_ms(self, true: float) -> int:
        return round(EPOCH_OF_WALL_CLOCKS + true * self.rate * 1000 + self.wall_skew_ms)


class SimUpstream:
    """Runs the production acceptor over a simulated disk."""

    def __init__(self, world: "World", slot: int) -> None:
        self.world, self.slot, self.name = world, slot, UPSTREAMS[slot]
        self.disk = Disk(f"disk-{slot}")
        self.copy = self.disk.copy()
        self.up = True
        self.boot = 0
        self.synced_until = 0.0
        self.waiting: list[tuple[Follow, Callable[[Reply], None]]] = []
        self.unsynced: list[list[Any]] = []
        self.start()

    def start(self) -> None:
        self.up = True
        self.boot += 1
        self.waiting = []
        clock = self.world.clocks[self.name]
        self.acceptor = self.world.rules.acceptor(
            self.disk.load(),
            self.world.rules.ledger(),
            clock.monotonic(self.world.now),
            self.world.timing.ttl,
            1,
        )
        self.regenerated = self.acceptor.regenerated
        self.world.witness.acceptor_started(self.slot, self.acceptor)
        self._watch_lease()

    def crash(self) -> None:
        self.up = False
        self.boot += 1
        self.waiting = []

    def wipe(self) -> None:
        """The disk is lost; a new one takes its place."""
        self.crash()
        self.disk = Disk(self.world.new_disk())
        if self.world.rules.vote_with_an_empty_disk:
            self.disk = self.world.impostor(self.slot)

    def restore(self) -> None:
        """An old copy of the disk is put back."""
        self.crash()
        self.disk = self.copy

    def handle(self, request: Request, answer: Callable[[Reply], None]) -> None:
        world, clock = self.world, self.world.clocks[self.name]
        now, wall = clock.monotonic(world.now), clock.wall_ms(world.now)
        if isinstance(request, Follow):
            reply = self.acceptor.follow(now, wall, request)
            if reply is None:
                self.waiting.append((request, answer))
            else:
                boot = self.boot
                world.at(
                    max(world.now, self.synced_until), lambda: answer(reply) if self.boot == boot else None
                )
            return
        result = self.acceptor.handle(now, wall, request)
        world.witness.acceptor_moved(self.slot, self.acceptor)
        boot, disk = self.boot, self.disk
        if result.writes:
            result.writes, self.regenerated = [*self.regenerated, *result.writes], []
        if world.rules.answer_before_fsync:
            world.after(
                world.rnd.uniform(0.02, 0.2), lambda: disk.sync(result.writes) if self.boot == boot else None
            )
            answer(result.reply)
            return
        delay = world.rnd.choice([0.0003, 0.001, world.rnd.uniform(0.001, 0.3)]) if result.writes else 0.0
        self.synced_until = max(self.synced_until, world.now + delay)

        def synced() -> None:
            if self.boot != boot:
                return
            disk.sync(result.writes)
            answer(result.reply)
            if result.woke:
                self.wake()

        world.at(self.synced_until, synced)
        self._watch_lease()

    def wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for request, answer in waiting:
            self.handle(request, answer)

    def _watch_lease(self) -> None:
        """Followers hear of a lease that ends by itself."""
        clock = self.world.clocks[self.name]
        left = self.acceptor.holder_until - clock.monotonic(self.world.now)
        if left > 0 and self.acceptor.holder is not None:
            boot, until = self.boot, self.acceptor.holder_until

            def ended() -> None:
                if self.boot == boot and self.acceptor.holder_until == until:
                    self.wake()

            self.world.after(left / clock.rate + 0.001, ended)


LAST_MOMENT = 1.0
"""Seconds in which everybody must have what was begun last."""


class World:
    """See the module."""

    def __init__(
        self, seed: int, rules: Rules | None = None, storm: float = 20.0, calm: float = 12.0
    ) -> None:
        self.rules = rules or Rules()
        self.rnd = random.Random(seed)
        self.now = 0.0
        self.storm, self.end = storm, storm + calm
        self.timing = Timing(ttl=2.0, guard=self.rules.guard)
        self.weather = self.rules.weather or Weather.of(self.rnd)
        self.stats: Counter[str] = Counter()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._disks = 3
        self._clock_jump = float("-inf")
        self.cut: Counter[tuple[str, str]] = Counter()
        self.paused: dict[str, float] = {}
        names = (*UPSTREAMS, *TWINS, *CLIENTS)
        self.clocks = {name: Clock(self.rnd) for name in names}
        self.witness = Witness(self)
        self.statements = statements()
        self.upstreams = [SimUpstream(self, slot) for slot in range(3)]
        self.twins = {name: SimTwin(self, name, rank) for rank, name in enumerate(TWINS)}
        self.clients = {name: SimClient(self, name) for name in CLIENTS}
        self.every(lambda: self.rnd.uniform(0.05, 0.15), self._fault)

    # -- the scheduler -------------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (when, self._sequence, what))

    def after(self, delay: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay, what)

    def every(self, period: Callable[[], float], what: Callable[[], None]) -> None:
        def again() -> None:
            what()
            self.after(period(), again)

        self.after(period(), again)

    def run(self) -> None:
        """Run the whole seed. Raises Violation."""
        while self._queue and self._queue[0][0] <= self.end:
            self._step()
        # What a client or an expiry began in the last moment is still under way.
        while self._queue and self._queue[0][0] <= self.end + LAST_MOMENT and not self.witness.settled():
            self._step()
        self.witness.final()

    def _step(self) -> None:
        self.now, _, what = heapq.heappop(self._queue)
        what()
        self.witness.check()

    # -- the network ---------------------------------------------------------------------------------------

    def stormy(self) -> bool:
        return self.now < self.storm

    def send(self, source: str, target: str, deliver: Callable[[], None]) -> None:
        """Carry a message, or lose it, or bring it late or twice. A paused machine gets it afterwards."""
        for _ in range(2 if self.stormy() and self.rnd.random() < self.weather.duplicate else 1):
            if self.stormy() and self.rnd.random() < self.weather.drop:
                continue
            delay = self.rnd.expovariate(1 / 0.004) + 0.0003
            if self.stormy() and self.rnd.random() < self.weather.slow:
                delay += self.rnd.uniform(0.1, 5.0)
            self.after(delay, lambda: self._arrive(source, target, deliver))

    def _arrive(self, source: str, target: str, deliver: Callable[[], None]) -> None:
        if self.cut[source, target]:
            return
        until = self.paused.get(target, 0.0)
        if until > self.now:
            self.at(until + self.rnd.uniform(0, 0.005), lambda: self._arrive(source, target, deliver))
            return
        deliver()

    def ask(self, twin: SimTwin, slot: int, request: Request, sent_at: float) -> None:
        """One request of a twin to an upstream, with its answer or its time-out."""
        upstream = self.upstreams[slot]
        boot = twin.boot
        answered = [False]

        def answer(reply: Reply) -> None:
            self.send(upstream.name, twin.name, lambda: back(reply))

        def back(reply: Reply) -> None:
            # An answer may even reach the twin's next life: the nonce must save it.
            if twin.up:
                answered[0] = True
                twin.answered(slot, sent_at, request, reply)

        def arrive() -> None:
            if upstream.up:
                upstream.handle(request, answer)

        def timeout() -> None:
            if not answered[0] and twin.up and twin.boot == boot:
                twin.unanswered(slot, sent_at, request)

        self.send(twin.name, upstream.name, arrive)
        if not isinstance(request, Release):
            limit = 5.0 if isinstance(request, Follow) else self.timing.request_timeout
            self.after(limit, lambda: self._arrive("", twin.name, timeout))

    # -- faults --------------------------------------------------------------------------------------------

    def new_disk(self) -> str:
        self._disks += 1
        return f"disk-{self._disks}"

    def impostor(self, slot: int) -> Disk:
        """An empty disk that claims to be the lost one: what readmission is there to prevent."""
        disk = Disk(self.upstreams[slot].acceptor.disk)
        first = self.witness.foundation
        if first is not None:
            disk.sync([SnapshotWrite(first, keep_tail=False), VotingWrite(voting=True)])
        return disk

    def _fault(self) -> None:
        if not self.stormy():
            self._calm()
            return
        rnd, weather = self.rnd, self.weather

        def strikes(rate: float) -> bool:
            return rnd.random() < rate * 0.1

        if strikes(weather.crash):
            self._crash(
                rnd.choice((*UPSTREAMS, *TWINS, *TWINS, *CLIENTS)), rnd.choice([0.05, 0.5, 3.0, 12.0])
            )
        if strikes(weather.blackout):
            for name in (*UPSTREAMS, *TWINS):
                if rnd.random() < 0.8:
                    self._crash(name, rnd.uniform(0.05, 3.0))
        if strikes(weather.partition):
            self._partition()
        if strikes(weather.lonely):
            client = rnd.choice(CLIENTS)
            alone = {pair for twin in TWINS for pair in ((client, twin), (twin, client))}
            self.cut.update(alone)
            self.after(rnd.uniform(2.0, 4.5), lambda: self.cut.subtract(alone))
        if strikes(weather.pause):
            name = rnd.choice((*UPSTREAMS, *TWINS, *TWINS))
            self.stats["pauses"] += 1
            self.paused[name] = max(self.paused.get(name, 0.0), self.now + rnd.uniform(0.05, 5.0))
        # One lost disk at a time is what 2 of 3 survives; the next may go when this one is whole again.
        if strikes(weather.wipe) and self._whole():
            slot = rnd.randrange(3)
            self.stats["wipes"] += 1
            self.upstreams[slot].wipe()
            self.after(rnd.uniform(0.05, 1.0), self.upstreams[slot].start)
        if strikes(2.0):
            slot = rnd.randrange(3)
            self.upstreams[slot].copy = self.upstreams[slot].disk.copy()
        if strikes(weather.restore):
            self._restore(rnd.randrange(3))
        if strikes(weather.clock) and self.now > self._clock_jump + 2 * FRESH_MS / 1000:
            # One wrong clock at a time is what the median survives.
            self._clock_jump = self.now
            self.stats["clock jumps"] += 1
            name = rnd.choice(UPSTREAMS)
            for other in UPSTREAMS:
                self.clocks[other].wall_skew_ms = 0.0
            self.clocks[name].wall_skew_ms = rnd.choice([-1, 1]) * rnd.uniform(1e3, 1e9)

    def _restore(self, slot: int) -> None:
        """Put an old copy back. The others have heard more of this disk since it was made (decision 12)."""
        one = self.upstreams[slot]
        others = [other for other in self.upstreams if other is not one]
        if self._whole() and all(other.disk.knows_more_of(one.copy) for other in others):
            self.stats["old copies"] += 1
            one.restore()
            # Longer than a lease: what it granted and forgets has ended.
            self.after(self.timing.ttl + self.rnd.uniform(0.05, 1.0), one.start)

    def _whole(self) -> bool:
        """Every upstream votes, and every one knows the disks of all three for members."""
        disks = tuple(one.acceptor.disk for one in self.upstreams)
        return all(
            one.up
            and one.acceptor.voting
            and one.acceptor.log.membership is not None
            and one.acceptor.log.membership.disks == disks
            and not any(other.disk.knows_more_of(one.disk) for other in self.upstreams)
            for one in self.upstreams
        )

    def _partition(self) -> None:
        rnd = self.rnd
        twin = rnd.choice(TWINS)
        victims = rnd.sample(UPSTREAMS, rnd.choice([1, 2, 3]))
        there = {(twin, upstream) for upstream in victims}
        back = {(upstream, twin) for upstream in victims}
        pairs = rnd.choice([there | back, there | back, there, back])
        self.stats["partitions"] += 1
        self.cut.update(pairs)
        self.after(rnd.uniform(0.1, 6.0), lambda: self.cut.subtract(pairs))

    def _crash(self, name: str, downtime: float) -> None:
        node = self.node(name)
        if not node.up:
            return
        self.stats["crashes"] += 1
        node.crash()
        boot = node.boot
        self.after(downtime, lambda: node.start() if node.boot == boot and not node.up else None)

    def node(self, name: str) -> Any:
        if name in UPSTREAMS:
            return self.upstreams[UPSTREAMS.index(name)]
        return self.twins[name] if name in TWINS else self.clients[name]

    def _calm(self) -> None:
        self.cut.clear()
        self.paused.clear()
        for name in (*UPSTREAMS, *TWINS, *CLIENTS):
            if not self.node(name).up:
                self.node(name).start()
