# SPDX-License-Identifier: Apache-2.0
"""Job of a load process, and what the process says: JSON, one line for each."""

from __future__ import annotations

import msgspec


class Target(msgspec.Struct, tag=True):
    """The active twin, and who asks it. `products`: Product Codes from the first on that are asked for."""

    port: int
    name: str
    certificate: str
    key: str
    ca: str
    firm_code: int
    product_code: int
    products: int = 1


class Leader(msgspec.Struct, tag=True):
    """Port of etcd's leader; over mutual TLS if there are files for it."""

    port: int
    ca: str = ""
    certificate: str = ""
    key: str = ""


class Ports(msgspec.Struct, tag=True):
    """Ports of Redis servers."""

    ports: list[int]


class Job(msgspec.Struct, omit_defaults=True):
    """Work of a load process. It fails after `seconds`: its parent process may be gone."""

    case: str
    target: Target | Leader | Ports
    clients: int
    seconds: float
    rate: float = 0.0
    """Operations a second of all clients together; 0: as many as go."""
    nice: int = 0
    server: int | None = None
    """Process whose processor time is looked at around each operation."""
    sessions: int = 0
    """To be held."""
    ttl: int = 600
    churn: int = 0
    """Commands to be carried out before, half of them checkouts and half of them releases."""
    other: Target | None = None
    """The other twin."""


class Begun(msgspec.Struct):
    """The load is under way: all is prepared, and the first request is sent."""

    at: float


class Churned(msgspec.Struct):
    """All commands were carried out, and nothing is held."""

    seconds: float


class Opened(msgspec.Struct):
    """All sessions are held. `seconds`: for opening them."""

    sessions: int
    seconds: float


class Answered(msgspec.Struct):
    """The first checkout was answered. Time of CLOCK_MONOTONIC."""

    at: float
    by: str


class Timeline(msgspec.Struct):
    """Beginning of each operation (CLOCK_MONOTONIC), and its seconds."""

    began: list[float] = []
    took: list[float] = []
    turned_away: int = 0
    """Answers 503; the operation went on, and its time counts."""
    late: float = 0.0
    """Longest delay of the load itself: so much of the times may be its own."""
    work: list[float] = []
    """Processor time of the server meanwhile: other programs do not add to it."""

    def within(self, start: float, end: float) -> list[float]:
        """Seconds of the operations that were under way between the two times."""
        spans = zip(self.began, self.took, strict=True)
        return [took for began, took in spans if began <= end and began + took >= start]

    def done(self, start: float, end: float) -> list[float]:
        """Seconds of those that began and ended between the two times."""
        spans = zip(self.began, self.took, strict=True)
        return [took for began, took in spans if began >= start and began + took <= end]
