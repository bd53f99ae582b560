"""A client: takes a seat, keeps it alive, gives it back, looks; repeats a request until it is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tmr.quorum.lease import DRIFT

from .twin import Answer

if TYPE_CHECKING:
    from .world import World

TTL = 4
"""Seconds that a session lives without a heartbeat."""


class Operation(msgspec.Struct):
    """One request as its client saw it; times are true times."""

    client: str
    verb: str
    key: str
    invoked: float
    answered: float | None = None
    answer: Answer | None = None


class SimClient:
    """See the module."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.boot = 0
        self.serial = 0
        self.history: list[Operation] = []
        self.up = False
        self.start()

    def now(self) -> float:
        """This machine's monotonic clock."""
        return self.world.clocks[self.name].monotonic(self.world.now)

    def start(self) -> None:
        """Start the application: it remembers no session."""
        self.boot += 1
        self.up = True
        self.session = ""
        self.until = float("-inf")
        self.current: Operation | None = None
        self._work(self.boot)
        self._beat(self.boot)

    def crash(self) -> None:
        """End the application; its seat stays until it expires."""
        self.up = False
        self.boot += 1
        self.session = ""

    def holding(self) -> bool:
        """The application believes that it may use the licence."""
        return bool(self.session) and self.now() < self.until

    def _believe(self, sent: float) -> None:
        """Its clock may be fast or slow by DRIFT, so it takes off twice that."""
        self.until = max(self.until, sent + TTL * (1 - DRIFT) / (1 + DRIFT))

    def _work(self, boot: int) -> None:
        if self.boot != boot:
            return
        rnd = self.world.rnd
        if self.current is None:
            if self.world.now > self.world.end - 5:
                return
            if self.session and not self.holding():
                self.session = ""
            self.serial += 1
            idle, busy = ["checkout", "checkout", "read", "again"], ["read", "release", "hold", "hold"]
            verb = rnd.choice(busy if self.session else idle)
            if verb == "hold":
                self.world.after(rnd.uniform(0.1, 1.0), lambda: self._work(boot))
                return
            key = self.session if verb == "release" else f"{self.name}-{self.serial:06d}"
            self.current = Operation(self.name, verb, key, self.world.now)
            self.history.append(self.current)
            if verb == "release":  # it stops using the licence before it says so
                self.session, self.until = "", float("-inf")
        self._send(self.current, boot)
        self.world.after(rnd.uniform(0.06, 0.3), lambda: self._work(boot))

    def _send(self, operation: Operation, boot: int) -> None:
        twin = self.world.twins[self.world.rnd.choice(tuple(self.world.twins))]
        sent = self.now()

        def respond(answer: Answer) -> None:
            self.world.send(twin.name, self.name, lambda: self._answered(boot, operation, sent, answer))

        def arrive() -> None:
            if not twin.up:
                return
            match operation.verb:
                case "checkout":
                    twin.checkout(self.name, operation.key, TTL, respond)
                case "release" | "again":  # again: a session that ended long ago
                    twin.release(self.name, operation.key, respond)
                case "read":
                    twin.read(respond)

        self.world.send(self.name, twin.name, arrive)

    def _answered(self, boot: int, operation: Operation, sent: float, answer: Answer) -> None:
        if self.boot != boot or self.current is not operation:
            return
        operation.answered, operation.answer = self.world.now, answer
        self.current = None
        self.world.stats["operations"] += 1
        if answer.what == "granted":
            self.session = answer.session
            self.until = float("-inf")
            self._believe(sent)

    def _beat(self, boot: int) -> None:
        if self.boot != boot:
            return
        if self.holding():
            session, sent = self.session, self.now()
            for twin in self.world.twins.values():
                self._beat_at(twin.name, boot, session, sent)
        self.world.after(self.world.rnd.uniform(0.4, 1.0), lambda: self._beat(boot))

    def _beat_at(self, name: str, boot: int, session: str, sent: float) -> None:
        twin = self.world.twins[name]

        def respond(answer: Answer) -> None:
            self.world.send(name, self.name, lambda: self._heard(boot, session, sent, answer))

        def arrive() -> None:
            if twin.up:
                twin.heartbeat(session, respond)

        self.world.send(self.name, name, arrive)

    def _heard(self, boot: int, session: str, sent: float, answer: Answer) -> None:
        if self.boot != boot or self.session != session:
            return
        if answer.what == "alive":
            self._believe(sent)
        elif self.holding():
            self.world.witness.fail(f"{self.name} lost session {session} although it was heard in time")
        else:
            self.session = ""
