# SPDX-License-Identifier: Apache-2.0
"""Deployment of the TMR system on a lab: boot, site.yml, and what was deployed kept over a power cut."""

from __future__ import annotations

import re
from collections.abc import Callable

from lab import host, image, lifecycle
from lab.errors import LabError
from lab.topology import MACHINES
from testbed.site import Done, Site

Say = Callable[[str], None]
_CHANGED = re.compile(r"^\S+ +: ok=\d+ +changed=(\d+) ", re.MULTILINE)


def boot(site: Site, disk: str, say: Say) -> dict[str, float]:
    """A lab that is not there yet; seconds of each machine."""
    image.ensure()
    if changed := host.make_room():
        say(changed)
    return lifecycle.up(site.names, disk)


def play(site: Site, *extra: str) -> Done:
    """Run site.yml; its output is kept beside the machines. Raises LabError unless it succeeds."""
    done = site.playbook("site.yml", *extra)
    log = site.names.directory / "site.log"
    log.write_text(done.out + done.err)
    if done.code:
        fatal = done.out[done.out.find("fatal:") :] if "fatal:" in done.out else done.text
        raise LabError(f"site.yml ended with {done.code}: {fatal[:1500]} … all of it: {log}")
    for name in MACHINES:  # a power cut would take from a machine what was deployed a moment ago
        site.must_inside(name, "sync")
    return done


def changes(done: Done) -> int:
    """Tasks of a playbook's run that changed something, on all machines."""
    return sum(int(count) for count in _CHANGED.findall(done.out))


def ensure(site: Site, say: Say) -> None:
    """Boot a lab and run site.yml on it, unless it is there."""
    if not site.names.directory.exists():
        say(f"boots the lab {site.names.name}")
        boot(site, "ram", say)
    lifecycle.require_up(site.names)
    if site.inside("tmr1", "systemctl is-active tmr-server").code:
        say("deploys the TMR system: site.yml, a minute or two")
        play(site)
