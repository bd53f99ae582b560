# SPDX-License-Identifier: Apache-2.0
"""A vendor, its licence, and how it comes into the three containers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from testbed.site import BIN, Site
from testbed.steps import Board, check

FIRM = 6000010
PRODUCT = 1001
SEATS = 5
STEPS = 4


def play(board: Board, site: Site) -> None:
    """From a vendor that nobody knows to a licence that is active; then the same update once more."""
    vendor, requests = site.work / "vendor", site.work / "requests"
    update = site.work / "editor.json"
    tmr = BIN / "tmr"

    with board.step(
        f"A vendor makes its key for firm {FIRM}; the three upstreams are told to trust it",
        "the public key is on the three upstreams, the signing key stays with the vendor",
    ) as step:
        site.must(tmr, "vendor", "init", "--firm", str(FIRM), "--dir", vendor)
        trusted = site.names.directory / "vendors"
        trusted.mkdir(exist_ok=True)
        shutil.copy(vendor / f"{FIRM}.pem", trusted)
        _playbook(site, "playbooks/licences/vendors.yml")
        found = site.must_inside("up1", "ls /etc/tmr/vendors").out.split()
        check(f"{FIRM}.pem" in found, f"up1 trusts {found}")
        step.see(f"up1, up2 and up3 trust {FIRM}.pem")

    with board.step("Each container asks for licences", "three signed request files") as step:
        _playbook(site, "playbooks/licences/request.yml", f"firm_code={FIRM}", f"directory={requests}")
        files = sorted(requests.glob("*.json"))
        check(len(files) == 3, f"{len(files)} request files in {requests}")
        step.see(", ".join(file.name for file in files))

    with board.step(
        f"The vendor issues a TMR licence for product {PRODUCT}, {SEATS} seats; it is activated",
        "one update file for all three, each container takes its part",
    ) as step:
        step.quote(
            _issue(
                site, files, update, "--product", str(PRODUCT), "--quantity", str(SEATS), "--name", "Editor"
            )
        )
        step.see("activated on up1, up2 and up3")

    with board.step(
        "The same update once more", "every upstream says that nothing is left to do; nothing changes"
    ) as step:
        site.put("up1", update, "/run/tmr-demo-update.json")
        told = site.inside("up1", "/opt/tmr/current/bin/tmr-upstream activate /run/tmr-demo-update.json")
        site.must_inside("up1", "rm /run/tmr-demo-update.json")
        check(told.code == 1, f"up1 ended with {told.code}: {told.text}")
        again = site.playbook("playbooks/licences/activate.yml", "-e", f"update_file={update}")
        count = " ".join(again.out.split()).count("already: nothing is left to do")
        check(again.code == 0 and count == 3, f"{count} upstreams say so: {again.text}")
        step.see("up1, up2 and up3 have it already; up1 says:")
        step.quote(told.err)


def issue(site: Site, name: str, *options: str) -> str:
    """More licences of the vendor: asked for, issued, activated. Gives what the vendor saw."""
    requests = site.work / f"requests-{name}"
    _playbook(site, "playbooks/licences/request.yml", f"firm_code={FIRM}", f"directory={requests}")
    return _issue(site, sorted(requests.glob("*.json")), site.work / f"{name}.json", *options)


def _issue(site: Site, requests: Sequence[Path], update: Path, *options: str) -> str:
    asked: list[str | Path] = [word for file in requests for word in ("--request", file)]
    vendor = site.work / "vendor"
    done = site.must(BIN / "tmr", "vendor", "issue", "--dir", vendor, *asked, *options, "--out", update)
    _playbook(site, "playbooks/licences/activate.yml", f"update_file={update}")
    return done.out


def _playbook(site: Site, name: str, *variables: str) -> None:
    done = site.playbook(name, *(word for variable in variables for word in ("-e", variable)))
    check(done.code == 0, f"ansible-playbook {name} ended with {done.code}: {done.out[-1500:]}{done.text}")
