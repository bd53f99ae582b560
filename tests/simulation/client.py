"""A client: takes a seat, or waits for one, keeps it alive, takes units, gives it back; borrows one; looks.

It repeats a request until it is answered. What it borrows, it keeps on its disk, with the request for it.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    session: str = ""
    """Whose units are asked for."""


class SimClient:
    """See the module."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.boot = 0
        self.serial = 0
        self.history: list[Operation] = []
        self.current: Operation | None = None
        self.borrowed = ""
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
        self.waits_by = ""
        """The idempotency key of a request that has a place in the queue."""
        if self.current is not None and self.current.verb not in ("borrow", "return"):
            self.current = None
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

    def using(self) -> bool:
        """The application believes so, or has a seat with it."""
        return bool(self.borrowed) or self.holding()

    def _believe(self, sent: float) -> None:
        """Its clock may be fast or slow by DRIFT, so it takes off twice that."""
        self.until = max(self.until, sent + TTL * (1 - DRIFT) / (1 + DRIFT))

    def _work(self, boot: int) -> None:
        if self.boot != boot:
            return
        rnd = self.world.rnd
        if self.current is None:
            # who waits asks on, so that the end is quiet: its place would expire
            if self.world.now > self.world.end - 5 and not self.waits_by:
                return
            if self.session and not self.holding():
                self.session = ""
            self.serial += 1
            verb = rnd.choice(self._verbs())
            if verb == "hold":
                self.world.after(rnd.uniform(0.1, 1.0), lambda: self._work(boot))
                return
            key = {"release": self.session, "return": self.borrowed, "wait": self.waits_by}.get(verb)
            key = key or f"{self.name}-{self.serial:06d}"
            self.current = Operation(self.name, verb, key, self.world.now, session=self.session)
            self.history.append(self.current)
            if verb == "release":  # it stops using the licence before it says so
                self.session, self.until = "", float("-inf")
            if verb == "return":
                self.borrowed = ""
        self._send(self.current, boot)
        self.world.after(rnd.uniform(0.06, 0.3), lambda: self._work(boot))

    def _verbs(self) -> Sequence[str]:
        if self.borrowed:
            return ("read", "return", "hold")
        if self.session:
            return ("read", "release", "hold", "hold", "units")
        if self.waits_by:
            return ("wait", "hold", "hold")
        return ("checkout", "checkout", "read", "again", "wait", "checkout", "borrow")

    def _send(self, operation: Operation, boot: int) -> None:
        twin = self.world.twins[self.world.rnd.choice(tuple(self.world.twins))]
        sent = self.now()

        def respond(answer: Answer) -> None:
            self.world.send(twin.name, self.name, lambda: self._answered(boot, operation, sent, answer))

        def arrive() -> None:
            if not twin.up:
                return
            match operation.verb:
                case "checkout" | "wait":
                    twin.checkout(self.name, operation.key, TTL, operation.verb == "wait", respond)
                case "units":
                    twin.units(self.name, operation.key, operation.session, 1, respond)
                case "borrow":
                    twin.borrow(self.name, operation.key, respond)
                case "return":
                    twin.give_back(self.name, operation.key, respond)
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
        self.waits_by = operation.key if answer.what == "waiting" else ""
        if answer.what == "borrowed":
            self.borrowed = answer.session
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
