# SPDX-License-Identifier: Apache-2.0
"""The workload of 200 stations, from a plan and a seed: the same each time. Pure.

This module and `records` go to the client machine with `stations`, without the rest of `lab`.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Program:
    """Use of one product. Times in seconds."""

    product: int
    hold: float
    mode: str = "user-limit"
    wait: float = 0.0
    units: int = 0
    more_units: int = 0
    every: float = 0.0


@dataclass(frozen=True)
class Station:
    """One station, who works at it, and how often with which program."""

    name: str
    site: str
    user: str
    programs: tuple[tuple[Program, int], ...]


@dataclass(frozen=True)
class Job:
    """One use of a program: so long after the last one, for so long."""

    pause: float
    program: Program
    hold: float


@dataclass(frozen=True)
class Plan:
    """The plant. `sites`: the address that each site's stations ask from."""

    firm: int
    seed: int
    seconds: float
    programs_at_once: int
    pause: float
    ttl: int
    sites: Mapping[str, str]
    stations: tuple[Station, ...]

    def jobs(self, station: Station, lane: int) -> Iterator[Job]:
        """Jobs of one of the `programs_at_once` lanes of a station, without end."""
        source = random.Random(f"{self.seed} {station.name} {lane}")  # noqa: S311 - a workload, no secret
        programs = [program for program, _ in station.programs]
        parts = [part for _, part in station.programs]
        pause = source.uniform(0.0, 2 * self.pause)
        while True:
            (program,) = source.choices(programs, parts)
            yield Job(pause, program, min(3 * program.hold, source.expovariate(1 / program.hold)))
            pause = min(3 * self.pause, source.expovariate(1 / self.pause))


def read(text: str) -> Plan:
    """The plan in a file like stations.toml."""
    tree: dict[str, Any] = tomllib.loads(text)
    programs = {int(code): Program(int(code), **fields) for code, fields in tree.pop("products").items()}
    departments = tree.pop("departments")
    stations = tuple(
        station
        for department in departments
        for site in tree["sites"]
        for station in _stations(department, site, programs)
    )
    return Plan(**tree, stations=stations)


def _stations(department: Mapping[str, Any], site: str, programs: Mapping[int, Program]) -> Iterator[Station]:
    uses = tuple((programs[int(code)], part) for code, part in department["products"].items())
    interns = department.get("interns", 0)
    for number in range(1, department[site] + 1):
        name = f"{site}-{department['name']}-{number:02}"
        intern = interns and number % interns == 0
        user = f"{'intern' if intern else department['name']}-{site[0]}{number:02}"
        yield Station(name, site, user, uses)
