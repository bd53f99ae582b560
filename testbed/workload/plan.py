# SPDX-License-Identifier: Apache-2.0
"""Plans of clients and their work: from a seed, the same each time. Pure; on the client machine, too."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

FOREVER: Final = 1e9
"""Seconds: until the client is told to end."""
_MOST: Final = 3.0
"""Longest time of a pause or a use, in means."""


class Use(msgspec.Struct, frozen=True, omit_defaults=True):
    """Use of one product. Times in seconds; `hold` is a mean."""

    product: int
    kind: Literal["use", "borrow", "read"] = "use"
    hold: float = 3.0
    mode: str = "user-limit"
    wait: float = 0.0
    """Time in the queue after which the place is taken back; 0: the client does not wait."""
    leaves: float = 0.0
    """Part of the uses in which it waits for as long as it would hold the seat, at most."""
    forgets: float = 0.0
    """Part of the uses that end without giving the seat back."""
    units: int = 0
    """Units taken with the seat."""
    more_units: tuple[int, int] = (0, 0)
    """Units taken `every` so many seconds: at least and at most."""
    every: float = 0.0


class Client(msgspec.Struct, frozen=True, omit_defaults=True):
    """One client, which does the same over and over. Times in seconds; `pause` is a mean."""

    name: str
    uses: tuple[tuple[Use, int], ...]
    """Uses, and how often each comes, in parts."""
    user: str = ""
    station: str = ""
    address: str = ""
    """Address to ask from; empty: any."""
    pause: float = 1.0
    beat: float = 0.0
    """Time between two heartbeats; 0: a third of the time to live."""
    patience: float = 30.0
    """Time until it stops asking while nobody answers."""
    beat_patience: float = 5.0


class Plan(msgspec.Struct, frozen=True):
    """All clients. `began`: CLOCK_BOOTTIME at the zero of the records' times."""

    firm: int
    clients: tuple[Client, ...]
    ttl: int
    """Time to live of a session, seconds."""
    seed: int = 0
    began: float = 0.0
    seconds: float = FOREVER
    """Time after which the clients end by themselves."""
    together: int = 4
    """Clients that share the connections of one process."""

    def groups(self) -> Iterator[tuple[Client, ...]]:
        """Clients that share connections: they ask from the same address."""
        for address in dict.fromkeys(client.address for client in self.clients):
            here = [client for client in self.clients if client.address == address]
            for first in range(0, len(here), self.together):
                yield tuple(here[first : first + self.together])

    def jobs(self, client: Client) -> Iterator[Job]:
        """The client's jobs, without end."""
        source = random.Random(f"{self.seed} {client.name}")  # noqa: S311 - a workload, no secret
        uses, parts = [use for use, _ in client.uses], [part for _, part in client.uses]
        pause = source.uniform(0.0, 2 * client.pause)  # many clients do not begin together
        while True:
            (use,) = source.choices(uses, parts)
            hold = _about(source, use.hold)
            yield Job(
                use,
                pause=pause,
                hold=hold,
                wait=min(hold, use.wait) if source.random() < use.leaves else use.wait,
                units=source.randint(*use.more_units),
                forgets=source.random() < use.forgets,
            )
            pause = _about(source, client.pause)


class Job(msgspec.Struct, frozen=True):
    """One use, after a pause: seconds, and units of each taking."""

    use: Use
    pause: float
    hold: float
    wait: float
    units: int
    forgets: bool


def _about(source: random.Random, mean: float) -> float:
    if not 0 < mean < FOREVER:
        return mean
    return min(_MOST * mean, source.expovariate(1 / mean))
