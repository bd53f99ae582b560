# SPDX-License-Identifier: Apache-2.0
"""A client: takes a seat, or waits for one, keeps it alive, takes units, gives it back; borrows one; looks.

It repeats a request until it is answered. What it borrows, it keeps on its disk, with the request for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from .names import TWINS
from .twin import Answer, SimTwin

if TYPE_CHECKING:
    from .world import World

TTL = 4
"""Seconds that a session lives without a heartbeat."""


TRIED_ENOUGH = 8
"""Attempts after which a client asks the twins in turn: chance alone may miss the active one for long."""


class Operation(msgspec.Struct):
    """One request as its client saw it; times are true times."""

    client: str
    verb: str
    key: str
    invoked: float
    answered: float | None = None
    answer: Answer | None = None
    session: str = ""
    """Whose units are asked for."""
    sent: float = 0.0
    """When the attempt that was answered was sent."""
    tries: int = 0
    landed: list[float] = []
    """When copies of the request reached a twin that served."""


class SimClient:
    """See the module."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.clock, self.rnd = world.clocks[name], world.stream(name)
        self.boot = 0
        self.serial = 0
        self.history: list[Operation] = []
        self.heard: dict[str, float] = {}
        """Sessions → when the last heartbeat that was answered for them was sent, true time."""
        self.current: Operation | None = None
        self.borrowed = ""
        self.up = False
        self.start()

    def now(self) -> float:
        """This machine's monotonic clock."""
        return self.clock.monotonic(self.world.now)

    def start(self) -> None:
        """Start the application: it remembers no session."""
        self.boot += 1
        self.up = True
        self.session = ""
        self.until = float("-inf")
        self.waits_by = ""
        """The idempotency key of a request that has a place in the queue."""
        if self.current is not None and self.current.verb not in ("borrow", "return"):
            self.current = None
        self._work()
        self._beat()

    def crash(self) -> None:
        """End the application; its seat stays until it expires."""
        self.up = False
        self.boot += 1
        self.session = ""

    def holding(self) -> bool:
        """The application believes that it may use the licence."""
        return bool(self.session) and self.now() < self.until

    def using(self) -> bool:
        """The application believes so, or has a seat with it."""
        return bool(self.borrowed) or self.holding()

    def _believe(self, sent: float) -> None:
        """It takes nothing off for clocks that differ in rate: the end of the session allows for that."""
        self.until = max(self.until, sent + TTL)
        self.world.checker.use_moved()

    def _work(self) -> None:
        rnd, boot = self.rnd, self.boot
        if self.current is None:
            # who waits asks on, so that the end is quiet: its place would expire
            if self.world.now > self.world.end - 5 and not self.waits_by:
                return
            if self.session and not self.holding():
                self.session = ""
            self.serial += 1
            verb = rnd.choice(self._verbs())
            if verb == "hold":
                self.world.run_on(self, rnd.uniform(0.1, 0.8), self._work)
                return
            key = {"release": self.session, "return": self.borrowed, "wait": self.waits_by}.get(verb)
            key = key or f"{self.name}-{self.serial:06d}"
            self.current = Operation(self.name, verb, key, self.world.now, session=self.session)
            self.history.append(self.current)
            if verb == "release":  # it stops using the licence before it says so
                self.session, self.until = "", float("-inf")
            if verb == "return":
                self.borrowed = ""
        else:
            self.world.stats["retries"] += 1
        self._send(self.current, boot)
        self.world.run_on(self, rnd.uniform(0.1, 0.4), self._work)

    def _verbs(self) -> Sequence[str]:
        if self.borrowed:
            return ("read", "return", "hold")
        if self.session:
            return ("read", "release", "hold", "hold", "units")
        if self.waits_by:
            return ("wait", "hold", "hold")
        return ("checkout", "checkout", "read", "again", "wait", "checkout", "borrow")

    def _send(self, operation: Operation, boot: int) -> None:
        name = self.rnd.choice(list(self.world.twins))
        operation.tries += 1
        if operation.tries > TRIED_ENOUGH:
            name = TWINS[operation.tries % 2]
        twin = self.world.twins[name]
        sent, sent_true = self.now(), self.world.now

        def respond(answer: Answer) -> None:
            self.world.send(
                twin.name, self.name, lambda: self._answered(boot, operation, sent, sent_true, answer)
            )

        def arrive() -> None:
            if not twin.up:
                return
            back = twin.reader(respond)
            if twin.holds():
                operation.landed.append(self.world.now)
            match operation.verb:
                case "checkout" | "wait":
                    twin.checkout(self.name, operation.key, TTL, operation.verb == "wait", back)
                case "units":
                    twin.units(self.name, operation.key, operation.session, 1, back)
                case "borrow":
                    twin.borrow(self.name, operation.key, back)
                case "return":
                    twin.give_back(self.name, operation.key, back)
                case "release" | "again":  # again: a session that ended long ago
                    twin.release(self.name, operation.key, back)
                case "read":
                    twin.read(back)

        self.world.send(self.name, twin.name, arrive)

    def _answered(
        self, boot: int, operation: Operation, sent: float, sent_true: float, answer: Answer
    ) -> None:
        if self.boot != boot or self.current is not operation:
            return
        operation.sent, operation.answered, operation.answer = sent_true, self.world.now, answer
        if self.world.story is not None:
            self.world.tell(f"{self.name}: {operation.verb} {operation.key} is answered {answer}")
        self.current = None
        self.world.stats["operations"] += 1
        self.waits_by = operation.key if answer.what == "waiting" else ""
        if answer.what == "borrowed":
            self.borrowed = answer.session
            self.world.checker.use_moved()
        if answer.what == "granted":
            self.session = answer.session
            self.until = float("-inf")
            self._believe(sent)

    def _beat(self) -> None:
        if self.holding():
            session, sent, sent_true = self.session, self.now(), self.world.now
            for twin in list(self.world.twins.values()):
                self._beat_at(twin, session, sent, sent_true)
        self.world.run_on(self, self.rnd.uniform(0.5, 1.1), self._beat)

    def _beat_at(self, twin: SimTwin, session: str, sent: float, sent_true: float) -> None:
        boot = self.boot

        def respond(answer: Answer) -> None:
            self.world.send(twin.name, self.name, lambda: self._heard(boot, session, sent, sent_true, answer))

        def arrive() -> None:
            if twin.up:
                twin.heartbeat(session, twin.reader(respond))

        self.world.send(self.name, twin.name, arrive)

    def _heard(self, boot: int, session: str, sent: float, sent_true: float, answer: Answer) -> None:
        if self.boot != boot or self.session != session:
            return
        if answer.what == "alive":
            self.heard[session] = max(sent_true, self.heard.get(session, sent_true))
            self._believe(sent)
        elif self.holding() and not self.world.copied:  # only a copy of the twin may have heard it
            self.world.checker.fail(f"{self.name} lost session {session} although it was heard in time")
        else:
            self.session = ""
