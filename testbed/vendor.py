# SPDX-License-Identifier: Apache-2.0
"""A vendor of its own on the lab: licences of others, or of earlier runs, are not touched."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lab.errors import LabError
from testbed.addresses import UPSTREAMS
from testbed.fault_injector import FaultInjector
from testbed.operator import Operator
from testbed.site import BIN, Site
from tmr.api.licences import ConstituentState, Item
from tmr.client import TmrError

FIRM = 6000013
_FIRST = 3000
_APART = 10
_TMR_UPSTREAM = "/opt/tmr/current/bin/tmr-upstream"


class Vendor:
    """Issues `items(first)`, as `tmr vendor issue --items` takes them; `first`: the first Product Code."""

    def __init__(
        self, site: Site, faults: FaultInjector, items: Callable[[int], list[dict[str, Any]]]
    ) -> None:
        self._faults, self._items = faults, items
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
        self._faults.all_inside([*UPSTREAMS], known, public)
        first = _FIRST + _APART * len(list((self._key / "issued").iterdir()))
        items = self._home / f"{first}.items.json"
        items.write_text(json.dumps({"item": self._items(first)}))
        self._update(self._home / f"{first}.json", "issue", f"--items={items}")
        return first

    def reissue(self) -> None:
        """The same licences once more, for the containers that are there now."""
        self._update(self._home / f"again-{time.time_ns()}.json", "reissue")

    def ask(self) -> None:
        """A fresh request file of each container."""
        answers = self._faults.all_inside([*UPSTREAMS], f"{_TMR_UPSTREAM} request --firm {FIRM}")
        for file, answer in zip(self.requests, answers, strict=True):
            file.write_text(answer)

    def unserved(self, operator: Operator, first: int) -> str:
        """Reason why the licences would not survive the loss of any upstream; empty: they would."""
        try:
            served = ours(operator.items(), first)
        except TmrError as error:
            return str(error)
        wanted = len(self._items(first))
        if len(served) != wanted:
            return f"{len(served)} of {wanted} licences are served"
        weak = {
            f"{part.upstream}: {part.state} {part.detail}".strip()
            for item in served
            for part in item.constituents
            if part.state is not ConstituentState.AVAILABLE
        }
        return ", ".join(sorted(weak))

    def _update(self, update: Path, command: str, *options: str) -> None:
        self.ask()
        asked = [f"--request={file}" for file in self.requests]
        self._tmr(command, f"--dir={self._key}", *asked, *options, f"--out={update}")
        there = "/run/tmr-chaos-update.json"
        activate = f"cat > {there}; {_TMR_UPSTREAM} activate {there}; rm {there}"
        self._faults.all_inside([*UPSTREAMS], activate, update.read_text())

    def _tmr(self, *words: str | Path) -> None:
        done = subprocess.run([BIN / "tmr", "vendor", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"tmr vendor {words[0]}: {done.stderr.strip()}")


def ours(items: Iterable[Item], first: int) -> list[Item]:
    """Those that were issued together with `first`."""
    return [item for item in items if item.firm_code == FIRM and first <= item.product_code < first + _APART]


def trust_all(operator: Operator, faults: FaultInjector) -> None:
    """Let the twins believe the containers that are there: an earlier campaign may have lost a store."""
    for name, fingerprint in zip(UPSTREAMS, map(faults.fingerprint, UPSTREAMS), strict=True):
        operator.trust(name, fingerprint)
