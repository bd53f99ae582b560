# SPDX-License-Identifier: Apache-2.0
"""One seeded run: three upstreams, two twins, some clients, and everything that can go wrong between them.

Time is true time in seconds; every machine has clocks of its own. Each machine draws from a stream of its
own, and so does the nemesis: taking one fault away leaves the others as they were. A seed replays exactly.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from math import log
from typing import Any

from tests.simulation.brief import brief
from tests.simulation.client import SimClient
from tests.simulation.clock import Clock
from tests.simulation.disk import Disk
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.faults import Fault
from tests.simulation.invariant_checker import InvariantChecker
from tests.simulation.licences import SimContainer
from tests.simulation.names import CLIENTS, TWINS, UPSTREAMS
from tests.simulation.nemesis import Machine, Nemesis
from tests.simulation.operator import Operator
from tests.simulation.rules import Rules
from tests.simulation.twin import SimTwin
from tests.simulation.upstream import SUBSCRIBE_WAIT, SimUpstream
from tests.simulation.versions import finish, first_version
from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import Release, Reply, Request, Subscribe

STORM, CALM = 10.0, 8.0
"""Seconds with faults, and seconds after the last one in which everything must come right."""
TTL = 2.0
"""Seconds of a lease, as all machines have it set at first."""
LOOK = 0.05
"""Seconds between two looks at who serves."""
STEPS_A_SECOND = 5_000
"""Ten times as many as the busiest second has in which messages do not cause one another for ever."""
LAST_MOMENT = 1.0
"""Seconds in which everybody must have what was begun last."""


class World:
    """`faults`: make these, instead of those that the seed gives. `clients`: so many of them."""

    def __init__(
        self,
        seed: int,
        rules: Rules | None = None,
        *,
        faults: Sequence[Fault] | None = None,
        storm: float = STORM,
        clients: Sequence[str] = CLIENTS,
        story: bool = False,
    ) -> None:
        self.seed = seed
        self.rules = rules or Rules()
        self.now = 0.0
        self.storm, self.end = storm, storm + CALM
        self.last_fault = storm
        """When the last fault is over: with the storm, or later if one takes a majority away for so long."""
        self.timings = dict.fromkeys((*UPSTREAMS, *TWINS), self.rules.timing(ttl=TTL))
        """As each machine has it set for its next start; upstreams use the time to live alone."""
        self.profile = self.rules.profile or FaultProfile.of(self.stream("weather"))
        self.set_ms = 0.0
        """By how much the wall clocks of all upstreams were set forward, and may be followed."""
        self.right_ms = 0.0
        """By how much they were set forward to what is right, whether anybody knows that or not."""
        self.disagree_until = 0.0
        """Until when two wall clocks are wrong in different ways; 0: they never were."""
        self.stats: Counter[str] = Counter()
        self.story: list[str] | None = [] if story else None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        self._second, self._steps = 0, 0
        """The second that is simulated, and the steps in it so far."""
        self._disks = 0
        self.copied = set[ProposerId]()
        """Runs of twins that a copy of their memory ran beside."""
        self.twice = set[ProposerId]()
        """These, and runs that went on from an older memory."""
        self.lives = 0
        """Processes of twins that were started."""
        self.cut: dict[tuple[str, str], float] = {}
        """Links that carry nothing → until when."""
        self.versions = dict.fromkeys((*UPSTREAMS, *TWINS), first_version(self))
        """Version of each machine at its next start: the newest format that it knows."""
        self.newest_run = dict(self.versions)
        """The newest version that each machine has run."""
        self.slow: dict[tuple[str, str], tuple[float, float]] = {}
        """Links that are slow → until when, and by how many seconds."""
        self._paused: dict[str, float] = {}
        self.streams = {name: self.stream(name + " sends") for name in (*UPSTREAMS, *TWINS, *CLIENTS)}
        self.clocks = {name: Clock(rnd) for name, rnd in self.streams.items()}
        self.checker = InvariantChecker(self)
        self.nemesis = Nemesis(self, faults)
        self.upstreams = [SimUpstream(self, slot) for slot in range(3)]
        self.twins = {name: SimTwin(self, name, rank) for rank, name in enumerate(TWINS)}
        self.clients = {name: SimClient(self, name) for name in clients}
        self.operator = Operator(self)
        self.at(self.storm, self._calm)
        self.after(0, self._look)

    def stream(self, name: str) -> random.Random:
        """The stream of chance of this name."""
        return random.Random(f"{self.seed} {name}")

    def new_disk(self) -> Disk:
        """An empty disk with an identity, and a container, of its own; the first three have the licence."""
        self._disks += 1
        container = SimContainer(self._disks, licensed=self._disks <= len(UPSTREAMS))
        return Disk(f"disk-{self._disks}", container, believes_torn=self.rules.believe_torn_writes)

    def started(self, name: str) -> int:
        """The machine starts with this version."""
        version = self.versions[name]
        self.newest_run[name] = max(self.newest_run[name], version)
        return version

    def machine(self, name: str) -> Any:
        """The machine of this name."""
        if name in UPSTREAMS:
            return self.upstreams[UPSTREAMS.index(name)]
        return self.twins[name] if name in self.twins else self.clients.get(name, Nobody)

    def clone(self, name: str, seconds: float, *, memory: bool = False) -> bool:
        """A copy of this twin's machine runs for so long beside it, with its memory or newly started. It has
        a clock of its own.
        """
        copy, original = f"copy of {name}", self.twins[name]
        if copy in self.twins or not original.up:
            return False
        self.streams[copy] = self.stream(f"{copy} sends")
        self.clocks[copy] = self.clocks[name].copy(self.now) if memory else Clock(self.streams[copy])
        self.timings[copy], self.versions[copy] = self.timings[name], self.versions[name]
        self.newest_run[copy] = self.versions[name]
        twin = self.twins[copy] = SimTwin(self, copy, original.rank, name, original.anchor)
        if memory:
            self.copied.add(original.twin.owner)
            self.twice.add(original.twin.owner)
            twin.remember(original.memory())

        def gone() -> None:
            twin.crash()
            del self.twins[copy], self.newest_run[copy], self.versions[copy], self.timings[copy]

        self.after(seconds, gone)
        return True

    def tell(self, what: str) -> None:
        """Add to the story of this run, if one is kept."""
        if self.story is not None:
            self.story.append(f"{self.now:8.3f}  {what}")

    # -- the scheduler -------------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do `what` at true time `when`."""
        self._sequence += 1
        heapq.heappush(self._queue, (when, self._sequence, what))

    def after(self, delay: float, what: Callable[[], None]) -> None:
        """Do `what` in `delay` seconds."""
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay, self._sequence, what))

    def run_on(self, machine: Machine, delay: float, what: Callable[[], None]) -> None:
        """The same on a machine: not if it crashed meanwhile, and later if it stands still then."""
        boot = machine.boot

        def go() -> None:
            if machine.boot != boot:
                return
            if self._paused and (until := self._paused.get(machine.name, 0.0)) > self.now:
                # What waits may come in any order when the machine goes on.
                self.at(until + self.streams[machine.name].uniform(0, 0.005), go)
                return
            what()

        self.after(delay, go)

    def run(self) -> None:
        """Run the whole seed. Raises Violation."""
        queue = self._queue
        while queue and queue[0][0] <= self.end:
            self._step()
        # What a client or an expiry began in the last moment is still under way.
        while queue and queue[0][0] <= self.end + LAST_MOMENT and not self.checker.settled():
            self._step()
        self.checker.final()

    def _step(self) -> None:
        """Do what is next. Raises Violation where so much happens that time hardly passes."""
        self.now, _, what = heapq.heappop(self._queue)
        if self.now >= self._second + 1:
            self._second, self._steps = int(self.now), 0
        self._steps += 1
        if self._steps > STEPS_A_SECOND:
            self.checker.fail(f"more than {STEPS_A_SECOND} steps within a second: something goes round")
        what()

    def _look(self) -> None:
        """Look every now and then who serves."""
        self.checker.service_seen()
        self.after(LOOK, self._look)

    def stormy(self) -> bool:
        """Faults happen now."""
        return self.now < self.storm

    def outlasts(self, seconds: float) -> None:
        """A majority is away for so long, longer than a lease, also when the storm is over meanwhile.

        Until then nobody can serve, and only then begins the time in which everything must come right: what
        the upstreams granted before counts anew from their start.
        """
        self.last_fault = max(self.last_fault, self.now + seconds)
        self.end = self.last_fault + CALM

    def _calm(self) -> None:
        """From now on nothing goes wrong, except that a majority may be away still: see `outlasts`."""
        self.tell("the storm is over")
        self.cut.clear()
        self.slow.clear()
        self.nemesis.calm()
        if self.profile.upgrade:
            finish(self)
        for upstream in self.upstreams:
            upstream.full_until = 0.0

    # -- pauses --------------------------------------------------------------------------------------------

    def pause(self, name: str, seconds: float) -> None:
        """The machine stands still; its clocks go on."""
        self._paused[name] = max(self._paused.get(name, 0.0), self.now + seconds)

    def stop_clocks(self, name: str, seconds: float) -> None:
        """The host pauses the machine: it stands still, and its clocks with it."""
        self.pause(name, seconds)
        self.clocks[name].stop(self.now)
        self.checker.stopped(name)

        def go_on() -> None:
            # Whatever else holds the machine up longer: its clocks go on.
            self.clocks[name].go_on(self.now)
            self.checker.went_on(name, seconds)

        self.after(seconds, go_on)

    def paused(self, name: str) -> bool:
        """The machine stands still."""
        return self._paused.get(name, 0.0) > self.now

    # -- the network ---------------------------------------------------------------------------------------

    def send(self, source: str, target: str, deliver: Callable[[], None]) -> None:
        """Carry a message, or lose it, or bring it late or twice. A paused machine gets it afterwards."""
        fault = self.nemesis.message(source, target)
        chance = self.streams[source].random
        delay = 0.0003 - 0.004 * log(1 - chance())
        if self.slow:
            until, longer = self.slow.get((source, target), (0.0, 0.0))
            delay += longer if self.now < until else 0.0
        if fault is not None:
            if fault.kind == "lost":
                return
            if fault.kind == "twice":
                copy = fault.seconds + 0.0003 - 0.02 * log(1 - chance())
                self.after(copy, lambda: self._arrive(source, target, deliver))
            else:
                delay += fault.seconds
        self.after(delay, lambda: self._arrive(source, target, deliver))

    def _arrive(self, source: str, target: str, deliver: Callable[[], None]) -> None:
        if self.cut and self.cut.get((source, target), 0.0) > self.now:
            self.stats["messages cut off"] += 1
            return
        if self._paused and (until := self._paused.get(target, 0.0)) > self.now:
            self.at(
                until + self.streams[target].uniform(0, 0.005), lambda: self._arrive(source, target, deliver)
            )
            return
        deliver()

    def ask(self, twin: SimTwin, slot: int, request: Request, sent_at: float) -> None:
        """One request of a twin to an upstream, with its answer or its time-out."""
        upstream = self.upstreams[slot]
        if isinstance(request, Subscribe):
            self.checker.polled(twin, slot)
        boot, remembered = twin.boot, twin.remembered
        answered = False

        def respond(reply: Reply) -> None:
            upstream.connections.pop(end, None)
            if self.story is not None:
                self.tell(f"{upstream.name} to {twin.name}: {brief(reply)}")
            self.send(upstream.name, twin.name, lambda: back(reply))

        def back(reply: Reply) -> None:
            # An answer may even reach the twin's next life: the incarnation must save it.
            nonlocal answered
            if twin.up and twin.remembered == remembered:
                answered = True
                twin.answered(slot, sent_at, request, reply)

        def arrive() -> None:
            if upstream.up:
                if not isinstance(request, Release):
                    upstream.connections[end] = None
                upstream.receive(request, respond)
            elif upstream.refuses and not isinstance(request, Release):
                end()

        def end() -> None:
            """The connection is refused, or ends before the answer."""
            self.send(upstream.name, twin.name, ended)

        def ended() -> None:
            nonlocal answered
            if not answered and twin.boot == boot:
                answered = True
                twin.unanswered(slot, sent_at, request)

        def timeout() -> None:
            if not answered and twin.boot == boot:
                twin.unanswered(slot, sent_at, request)

        if self.story is not None:
            self.tell(f"{twin.name} to {upstream.name}: {brief(request)}")
        self.send(twin.name, upstream.name, arrive)
        if not isinstance(request, Release):
            limit = (
                SUBSCRIBE_WAIT + 1.0 if isinstance(request, Subscribe) else twin.twin.timing.request_timeout
            )
            self.after(limit, lambda: self._arrive("", twin.name, timeout))


class Nobody:
    """A client that this run does without."""

    name = ""
    up = False
    boot = 0
