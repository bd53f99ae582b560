"""The stage of a campaign: a lab with a TMR system on it, and licences of the campaign's own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from lab import host, image, lifecycle
from lab.chaos import habits
from lab.chaos.hands import Hands
from lab.chaos.plan import UPSTREAMS
from lab.chaos.records import Licence
from lab.demo.operator import Operator
from lab.demo.site import BIN, Site
from lab.errors import LabError
from lab.topology import MACHINES
from tmr.api.models import ConstituentState, Item
from tmr.client import TmrError

FIRM = 6000013
_FIRST = 3000
_APART = 10
_READY_S = 60.0
_TMR_UPSTREAM = "/opt/tmr/current/bin/tmr-upstream"

Say = Callable[[str], None]


def deploy(site: Site, say: Say) -> bool:
    """Boot a lab and run site.yml on it, unless it is there; whether it was not."""
    fresh = not site.names.directory.exists()
    if fresh:
        image.ensure()
        if changed := host.make_room():
            say(changed)
        say(f"boots the lab {site.names.name}")
        lifecycle.up(site.names, "ram")
    lifecycle.require_up(site.names)
    if site.inside("tmr1", "systemctl is-active tmr-server").code:
        say("deploys the TMR system: site.yml, a minute or two")
        done = site.playbook("site.yml")
        if done.code:
            log = site.names.directory / "site.log"
            log.write_text(done.out + done.err)
            raise LabError(f"site.yml ended with {done.code}: see {log}")
        for name in MACHINES:  # a power cut would take from a machine what was deployed a moment ago
            site.must_inside(name, "sync")
    return fresh


class Vendor:
    """A vendor of the campaign's own: licences of earlier campaigns, or of others, are not touched."""

    def __init__(self, site: Site, hands: Hands) -> None:
        self._site, self._hands = site, hands
        self._home = site.names.directory / "chaos"
        self._key = self._home / "vendor"
        self.requests = [self._home / f"{name}-{FIRM}.request.json" for name in UPSTREAMS]

    def issue(self) -> int:
        """New licences, activated on all upstreams; the first of their Product Codes."""
        self._home.mkdir(mode=0o700, exist_ok=True)
        if not self._key.exists():
            self._tmr("init", "--firm", str(FIRM), "--dir", self._key)
        public = (self._key / f"{FIRM}.pem").read_text()
        known = f"mkdir -p /etc/tmr/vendors; cat > /etc/tmr/vendors/{FIRM}.pem; sync"
        self._hands.all_inside(UPSTREAMS, known, public)
        number = len(list((self._key / "issued").iterdir()))
        first = _FIRST + _APART * number
        items = self._home / f"{first}.items.json"
        items.write_text(json.dumps({"item": habits.items(first)}))
        self.ask()
        asked = [f"--request={file}" for file in self.requests]
        update = self._home / f"{first}.json"
        self._tmr("issue", f"--dir={self._key}", *asked, f"--items={items}", f"--out={update}")
        self._activate(update)
        return first

    def reissue(self) -> None:
        """The same licences once more, for the containers that are there now."""
        self.ask()
        asked = [f"--request={file}" for file in self.requests]
        update = self._home / f"again-{time.time_ns()}.json"
        self._tmr("reissue", f"--dir={self._key}", *asked, f"--out={update}")
        self._activate(update)

    def _activate(self, update: Path) -> None:
        there = "/run/tmr-chaos-update.json"
        activate = f"cat > {there}; {_TMR_UPSTREAM} activate {there}; rm {there}"
        self._hands.all_inside(UPSTREAMS, activate, update.read_text())

    def ask(self) -> None:
        """A fresh request file of each container."""
        answers = self._hands.all_inside(UPSTREAMS, f"{_TMR_UPSTREAM} request --firm {FIRM}")
        for file, answer in zip(self.requests, answers, strict=True):
            file.write_text(answer)

    def _tmr(self, *words: str | Path) -> None:
        done = subprocess.run([BIN / "tmr", "vendor", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"tmr vendor {words[0]}: {done.stderr.strip()}")


def licences(items: Iterable[Item], first: int) -> list[Licence]:
    """The campaign's licences as clients see them, with the units that are left."""
    return [
        Licence(item.firm_code, item.product_code, item.tmr_id or 0, item.quantity or 0, item.units_remaining)
        for item in ours(items, first)
    ]


def ours(items: Iterable[Item], first: int) -> list[Item]:
    """Those of the campaign."""
    return [item for item in items if item.firm_code == FIRM and first <= item.product_code < first + _APART]


def trust_all(operator: Operator, hands: Hands) -> None:
    """Let the twins believe the containers that are there: an earlier campaign may have lost a store."""
    for name, fingerprint in zip(UPSTREAMS, map(hands.fingerprint, UPSTREAMS), strict=True):
        operator.trust(name, fingerprint)


def unserved(operator: Operator, first: int) -> str:
    """What keeps the campaign's licences from surviving any upstream; empty: nothing."""
    try:
        served = ours(operator.items(), first)
    except TmrError as error:
        return str(error)
    wanted = len(habits.items(first))
    if len(served) != wanted:
        return f"{len(served)} of {wanted} licences are served"
    weak = {
        f"{part.upstream}: {part.state} {part.detail}".strip()
        for item in served
        for part in item.constituents
        if part.state is not ConstituentState.AVAILABLE
    }
    return ", ".join(sorted(weak))
