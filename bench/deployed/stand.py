"""The lab of the bench, the TMR system on it, and who looks at both."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

from lab.chaos.hands import Hands
from lab.chaos.stage import Vendor, unserved
from lab.demo.board import StepFailed, wait_for
from lab.demo.operator import Operator
from lab.demo.site import TWINS, VIP, Site
from lab.demo.takeover import Story
from lab.demo.witness import Witness
from lab.errors import LabError
from lab.names import LabNames
from lab.topology import MACHINES

from bench.deployed.figures import Boot, Playbook
from bench.deployed.holders import Lookout
from lab import host, image, lifecycle

SETTLE_S = 60.0
_CHANGED = re.compile(r"^\S+ +: ok=\d+ +changed=(\d+) ", re.MULTILINE)
_UNITS = "-u tmr-server -u tmr-vip"

Say = Callable[[str], None]


class Stand:
    """One lab, which is made by `boot` and goes with `close`."""

    def __init__(self, names: LabNames, say: Say) -> None:
        self.names, self.say = names, say
        self.site, self.hands, self.lookout = Site(names), Hands(names), Lookout(names)

    # -- made, deployed, removed -----------------------------------------------------------------------------

    def boot(self) -> Boot:
        """A fresh lab, in place of one that is there."""
        image.ensure()
        lifecycle.down(self.names)
        if changed := host.make_room():
            self.say(changed)
        started = time.monotonic()
        machines = lifecycle.up(self.names, "ram")
        return Boot(machines, time.monotonic() - started)

    def deploy(self, *extra: str) -> Playbook:
        """Run site.yml, and have every machine keep what it was given."""
        done = self.site.playbook("site.yml", *extra)
        if done.code:
            log = self.names.directory / "site.log"
            log.write_text(done.out + done.err)
            raise LabError(f"site.yml ended with {done.code}: {done.text}")
        for name in MACHINES:  # a power cut would take from a machine what was deployed a moment ago
            self.site.must_inside(name, "sync")
        return Playbook(done.seconds, sum(int(count) for count in _CHANGED.findall(done.out)))

    def close(self) -> None:
        """End what looks, and remove the lab."""
        if "story" in self.__dict__:
            self.story.operator.close()
        self.lookout.close()
        lifecycle.down(self.names)

    # -- how it is -------------------------------------------------------------------------------------------

    @cached_property
    def story(self) -> Story:
        """Who asks the twins for their status, as an operator. Only once the system is deployed."""
        operator = Operator(self.names.fabric, self.names.directory / "pki" / "operator.toml")
        return Story(self.site, operator, Witness(self.site))

    def settle(self) -> None:
        """Wait until both twins are up, one of them active, with three upstreams each."""
        wait_for(self.story.unsettled, SETTLE_S, "both twins and three upstreams ready")

    def active(self) -> str:
        """The twin that has the virtual address."""
        holders = self.lookout.holders(VIP)
        if len(holders) != 1:
            raise StepFailed(f"{VIP} is on {' and '.join(holders) or 'no twin'}")
        return holders[0]

    def issue(self) -> int:
        """Licences of the bench, served: the Product Code of one with some seats."""
        product = Vendor(self.site, self.hands).issue()
        wait_for(lambda: unserved(self.story.operator, product), SETTLE_S, "the licences are served")
        return product

    # -- what is done to it ----------------------------------------------------------------------------------

    def kill(self, twin: str, unit: str) -> None:
        """SIGKILL to all processes of a service, at once and without a look at what becomes of it."""
        victims = self.hands.processes(twin, unit)
        if not victims:
            raise LabError(f"{unit} does not run on {twin}")
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # -- what they say ---------------------------------------------------------------------------------------

    def journal(self, since: float) -> list[str]:
        """What the twins' daemons have logged since then (Unix time); each line with milliseconds from it.

        A twin whose power was cut has forgotten it.
        """
        found: list[tuple[float, str]] = []
        for twin in TWINS:
            done = self.site.inside(
                twin, f"journalctl {_UNITS} --no-pager -o short-unix --since @{int(since) - 1}"
            )
            for line in done.out.splitlines():
                stamp, _, text = line.partition(" ")
                with suppress(ValueError):
                    found.append((float(stamp) - since, text.replace("\t", " ")))
        return [f"{1e3 * at:+9.1f} ms  {text}" for at, text in sorted(found) if at > -0.5]


def other(twin: str) -> str:
    """The other one."""
    return next(name for name in TWINS if name != twin)
