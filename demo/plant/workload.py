# SPDX-License-Identifier: Apache-2.0
"""The plant's stations as clients of a plan, from the file stations.toml. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.workload.plan import Client, Plan, Use


@dataclass(frozen=True)
class Plant:
    """The plant. `sites`: the address that each site's stations ask from."""

    plan: Plan
    sites: Mapping[str, str]

    @property
    def stations(self) -> frozenset[str]:
        """All stations: each is several clients, one for each program that it runs at once."""
        return frozenset(client.station for client in self.plan.clients)


def read(text: str) -> Plant:
    """The plant in a file like stations.toml."""
    tree: dict[str, Any] = tomllib.loads(text)
    uses = {int(code): Use(int(code), **_units(fields)) for code, fields in tree["products"].items()}
    clients = tuple(
        client
        for department in tree["departments"]
        for site, address in tree["sites"].items()
        for client in _clients(tree, department, site, address, uses)
    )
    plan = Plan(
        tree["firm"], clients, tree["ttl"], tree["seed"], seconds=tree["seconds"], together=len(clients)
    )
    return Plant(plan, tree["sites"])


def _units(fields: dict[str, Any]) -> dict[str, Any]:
    more = fields.get("more_units", 0)
    return {**fields, "more_units": (more, more)}


def _clients(
    tree: Mapping[str, Any],
    department: Mapping[str, Any],
    site: str,
    address: str,
    uses: Mapping[int, Use],
) -> Iterator[Client]:
    wanted = tuple((uses[int(code)], part) for code, part in department["products"].items())
    interns = department.get("interns", 0)
    for number in range(1, department[site] + 1):
        station = f"{site}-{department['name']}-{number:02}"
        intern = interns and number % interns == 0
        user = f"{'intern' if intern else department['name']}-{site[0]}{number:02}"
        for program in range(tree["programs_at_once"]):
            yield Client(
                f"{station}/{program}",
                wanted,
                user=user,
                station=station,
                address=address,
                pause=tree["pause"],
                beat_patience=30.0,
            )
