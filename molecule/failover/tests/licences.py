# SPDX-License-Identifier: Apache-2.0
"""A licence, and a program on the client machine that holds it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from machines import Machine

from system import tmr, until

FIRM = 6000010
SEATS = 5
UNITS = 1000
TTL = 10
UNIT = "held-licence"


@dataclass(frozen=True)
class Products:
    """Product Codes of one update, from `first` on: an update never touches those of an earlier run."""

    first: int

    @property
    def story(self) -> int:
        """Held while machines die."""
        return self.first

    @property
    def units(self) -> int:
        """With a Unit Counter."""
        return self.first + 1

    @property
    def borrowable(self) -> int:
        """May leave the network."""
        return self.first + 2

    @property
    def emergency(self) -> int:
        """One ordinary seat, and one for emergencies."""
        return self.first + 3

    @property
    def access(self) -> int:
        """Three seats, for the access list and the queue."""
        return self.first + 4

    def items(self) -> list[dict[str, Any]]:
        """What the vendor issues, as `tmr vendor issue --items` takes it."""
        return [
            {"product": self.story, "quantity": SEATS},
            {"product": self.units, "quantity": SEATS, "units": UNITS},
            {"product": self.borrowable, "quantity": 2, "borrow": "2d", "borrow-seats": 1},
            {"product": self.emergency, "quantity": 1},
            {"product": self.emergency, "quantity": 1, "emergency": True, "usage-period": "2d"},
            {"product": self.access, "quantity": 3},
        ]


class Licence:
    """A TMR licence of the virtual container."""

    def __init__(self, product: int) -> None:
        self.product = product
        self.wanted = f"--firm {FIRM} --product {product}"

    def seats(self) -> int:
        """Seats in use, as a client sees it."""
        code, output, errors = tmr("list", "--json", "--patience", "30")
        assert code == 0, errors
        (item,) = [each for each in json.loads(output)["items"] if each["product_code"] == self.product]
        assert item["quantity"] == SEATS
        used: int = item["in_use"]
        return used

    def seats_while_granted_once_more(self) -> int:
        """Ask for one more seat; seats in use while it is held."""
        code, output, errors = tmr("run", self.wanted, "--", "tmr", "list", "--json")
        assert code == 0, errors
        (item,) = [each for each in json.loads(output)["items"] if each["product_code"] == self.product]
        used: int = item["in_use"]
        return used


class Program:
    """A program on the client machine that runs under `tmr run`, as the systemd unit `unit`."""

    def __init__(self, client: Machine, unit: str) -> None:
        self._client = client
        self.unit = unit

    @property
    def runs(self) -> bool:
        """Whether it runs now."""
        return self._client.host.run(f"systemctl is-active --quiet {self.unit}").rc == 0

    def start(self, arguments: str) -> None:
        """Start `tmr run` anew with these arguments."""
        self._client.host.run(f"systemctl stop {self.unit}; systemctl reset-failed {self.unit}")
        self._client.run(
            f"systemd-run --quiet --unit={self.unit} /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin "
            f"tmr run --verbose {arguments} -- sleep infinity"
        )

    def told(self) -> str:
        """What this `tmr run`, and no earlier one, has told its user."""
        this = f"_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value {self.unit})"
        return self._client.run(f"journalctl {this} --output=cat --no-pager")

    def session(self) -> str:
        """Id of the session that it was granted."""
        return until(self._granted, f"{self.unit} is granted a session")

    def _granted(self) -> str:
        found = re.findall(r": session (\w+),", self.told())
        return found[-1] if found else ""

    def stop(self) -> None:
        """End the program; `tmr run` gives the licence back."""
        self._client.run(f"systemctl stop {self.unit}")


class Held(Program):
    """The program that holds its licence all the time, and the session that it has."""

    def __init__(self, client: Machine, licence: Licence) -> None:
        super().__init__(client, UNIT)
        if not self.runs:
            self.start(f"--ttl {TTL} {licence.wanted}")
        self.id = self.session()

    def _remaining_ms(self) -> int:
        code, output, errors = tmr("sessions", "--json", "--patience", "30")
        assert code == 0, errors
        mine = [each for each in json.loads(output)["sessions"] if each["id"] == self.id]
        assert len(mine) == 1, f"the session {self.id} is gone; {UNIT}: {self.told()}"
        remaining: int = mine[0]["remaining_ms"]
        return remaining

    def program_runs(self) -> bool:
        """Whether the program runs on, and nobody told it that its licence is lost."""
        return self.runs and "was lost" not in self.told()

    def lives_on(self) -> None:
        """The same session is there, a heartbeat still reaches the server, and the program runs."""
        before = self._remaining_ms()

        def renewed() -> bool:
            nonlocal before
            last, before = before, self._remaining_ms()
            return before > last

        until(renewed, f"a heartbeat of {self.id} arrives")
        assert self.program_runs(), self.told()
