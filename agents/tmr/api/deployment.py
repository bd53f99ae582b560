# SPDX-License-Identifier: Apache-2.0
"""Deployments: the kinds of systems that serve licences. One value holds all in which a kind differs.

Code asks a deployment for what it needs (`majority`, `tmr_ids`), and never compares its name. A further kind
is one more value here, and a composition root of its own in `tmr.daemons`. The module lies with the wire
contract, which names deployments, so that client and command line need no server code for it.
"""

from dataclasses import dataclass
from typing import Final, Literal

DeploymentName = Literal["tmr", "network"]
"""Spelling in configurations and in the status."""


@dataclass(frozen=True)
class Deployment:
    """One kind of system. The texts are parts of sentences for people."""

    name: DeploymentName
    replicas: int
    """Servers that keep the ledger, each with a container of its own: parts of an update."""
    majority: int
    """Of these, so many must agree: constituents of a licence, signers of a borrow file, attesters."""
    tmr_ids: bool
    """Its licences have TMR-Ids: a container holds constituents, which are worth nothing by themselves."""
    port: int
    """TCP port where its store servers listen, unless the configuration says another."""
    listens: str
    """Addresses at which they listen."""
    server: str
    """Such a store server."""
    system: str
    """Such a system as a whole."""
    containers: str
    """Its containers, for a vendor."""
    licences: str
    """Licences of the kind that it takes."""
    address: str
    """Address at which clients ask it, as a heading."""
    clocks: str
    """Clocks that certified time follows."""
    unsynchronised: str
    """Reason why they are in doubt."""


TMR: Final = Deployment(
    name="tmr",
    replicas=3,
    majority=2,
    tmr_ids=True,
    port=22351,
    listens="in the back network",
    server="one of three upstreams of a TMR system",
    system="a TMR system",
    containers="the three of a TMR system",
    licences="TMR licences, for three containers",
    address="Virtual address",
    clocks="the clocks show",
    unsynchronised="a time source keeps fewer than two of them",
)
"""Three upstreams, and two twins that serve clients at one virtual address."""

NETWORK: Final = Deployment(
    name="network",
    replicas=1,
    majority=1,
    tmr_ids=False,
    port=22350,
    listens="that clients use",
    server="a network licence server",
    system="a network licence server",
    containers="one container of a network licence server",
    licences="plain licences, for a network licence server",
    address="Network licence server",
    clocks="the clock shows",
    unsynchronised="no time source keeps it",
)
"""One server with one container, which serves clients by itself."""

DEPLOYMENTS: Final[dict[DeploymentName, Deployment]] = {TMR.name: TMR, NETWORK.name: NETWORK}
"""All kinds, by name."""
