"""A licence, and a program on the client machine that holds it."""

from __future__ import annotations

import json
import re

from machines import Machine

from system import tmr, until

FIRM = 6000010
SEATS = 5
TTL = 10
UNIT = "held-licence"


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


class Held:
    """A program on the client machine that runs under `tmr run`, and the session that it holds."""

    def __init__(self, client: Machine, licence: Licence) -> None:
        self._client = client
        self._licence = licence
        if client.host.run(f"systemctl is-active --quiet {UNIT}").rc != 0:
            client.host.run(f"systemctl reset-failed {UNIT}")
            client.run(
                f"systemd-run --quiet --unit={UNIT} /usr/bin/env PATH=/usr/local/bin:/usr/bin:/bin "
                f"tmr run --verbose --ttl {TTL} {licence.wanted} -- sleep infinity"
            )
        self.id = until(self._granted, "the client is granted a session")

    def told(self) -> str:
        """What this `tmr run`, and no earlier one, has told its user."""
        this = f"_SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value {UNIT})"
        return self._client.run(f"journalctl {this} --output=cat --no-pager")

    def _granted(self) -> str | None:
        found = re.findall(r": session (\w+),", self.told())
        return found[-1] if found else None

    def _remaining_ms(self) -> int:
        code, output, errors = tmr("sessions", "--json", "--patience", "30")
        assert code == 0, errors
        mine = [each for each in json.loads(output)["sessions"] if each["id"] == self.id]
        assert len(mine) == 1, f"the session {self.id} is gone; {UNIT}: {self.told()}"
        remaining: int = mine[0]["remaining_ms"]
        return remaining

    def program_runs(self) -> bool:
        """Whether the program runs on, and nobody told it that its licence is lost."""
        running = self._client.host.run(f"systemctl is-active --quiet {UNIT}").rc == 0
        return running and "lost" not in self.told()

    def lives_on(self) -> None:
        """The same session is there, a heartbeat still reaches the server, and the program runs."""
        before = self._remaining_ms()

        def renewed() -> bool:
            nonlocal before
            last, before = before, self._remaining_ms()
            return before > last

        until(renewed, f"a heartbeat of {self.id} arrives")
        assert self.program_runs(), self.told()

    def stop(self) -> None:
        """End the program; `tmr run` gives the licence back."""
        self._client.run(f"systemctl stop {UNIT}")
