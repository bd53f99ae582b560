# SPDX-License-Identifier: Apache-2.0
"""Two upstreams put back to copies of one moment: nobody serves with these before the third is back, or an
operator has said that what they lack is lost."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from testbed.daemon import Daemon
from testbed.loopback import Machines, Twin, body, key, until
from tmr.twin.anchor_file import AnchorFile

PRODUCT, OTHER_PRODUCT = 91, 93


def objection(machines: Machines, twin: Twin) -> str:
    """The alarm with which the twin does not serve; empty: there is none."""
    status = machines.status(twin) or {"alarms": []}
    return next((alarm for alarm in status["alarms"] if "--accept-loss" in alarm), "")


def old_majority(machines: Machines, copies: Path, product: int) -> str:
    """Grant a session, put two upstreams back to a moment before it, the third off; the session's id."""
    machines.serve(product=product, quantity=2)
    old = machines.upstreams[:2]
    for upstream in old:
        upstream.kill()
        shutil.copytree(upstream.config.parent / "state", copies / upstream.name)
        upstream.start()
    wanted = key()

    def granted() -> str:
        """Id of the session. Two upstreams have only just started: a first try may come too early."""
        answer = machines.client(machines.whole()).post("/v1/sessions", json=body(product), headers=wanted)
        assert answer.status_code in (201, 503), answer.text
        return str(answer.json()["id"]) if answer.status_code == 201 else ""

    session: str = until(granted, "a session is granted")
    committed = machines.status_of(machines.whole())["commit"]

    def anchored(twin: Twin) -> bool:
        kept = AnchorFile(twin.config.parent).read()
        return kept is not None and kept.anchor.index >= committed

    until(lambda: all(anchored(twin) for twin in machines.twins), "both anchors are on disk")
    third = machines.upstreams[2]

    def has_all() -> bool:
        with third.admin() as admin:
            return bool(admin.get("/v1/status").json()["commit"] >= committed)

    # A majority may have committed it without the third, whose orderly stop writes what it knows of that.
    until(has_all, "the third upstream has it as committed")
    assert third.terminate() == 0
    for daemon in (*machines.twins, *old):
        daemon.kill()
    for upstream in old:
        shutil.rmtree(upstream.config.parent / "state")
        shutil.copytree(copies / upstream.name, upstream.config.parent / "state")
        upstream.start()
    for twin in machines.twins:
        twin.start()
    until(lambda: all(objection(machines, twin) for twin in machines.twins), "both twins say what is missing")
    assert machines.active_now() is None

    def told() -> bool:
        refused = machines.client(machines.twins[0]).post("/v1/sessions", json=body(product), headers=key())
        assert refused.status_code == 503
        return "up3 may have it" in refused.json()["detail"]

    # For a moment it may still take the other twin, whose lease has just ended, for the active one.
    until(told, "a client hears what is missing")
    return session


def used(machines: Machines, twin: Twin, product: int) -> int:
    """Seats in use, as the active twin says."""
    licences = machines.status_of(twin)["licences"]
    (seats,) = [one["in_use"] for one in licences if one["product_code"] == product]
    return int(seats)


def command(daemon: Daemon, *words: str) -> str:
    """What an operator's command on a daemon's machine says, while the daemon is stopped."""
    start = [sys.executable, "-m", daemon.module, "--config", str(daemon.config)]
    done = subprocess.run([*start, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_old_copies_of_one_moment_do_not_serve(machines: Machines, tmp_path: Path) -> None:
    session = old_majority(machines, tmp_path, PRODUCT)
    machines.upstreams[2].start()
    active = machines.whole()
    assert used(machines, active, PRODUCT) == 1, "the session that the old copies did not have"
    assert not any(objection(machines, twin) for twin in machines.twins)
    assert machines.client(active).delete(f"/v1/sessions/{session}").status_code == 204


def test_an_operator_gives_up_what_two_old_copies_lack(machines: Machines, tmp_path: Path) -> None:
    """On both twins; and on the third upstream, which has as committed what was given up."""
    old_majority(machines, tmp_path, OTHER_PRODUCT)
    third = machines.upstreams[2]
    for twin in machines.twins:
        found = re.search(r"--accept-loss (\S+?)`", objection(machines, twin))
        assert found is not None
        assert twin.terminate() == 0
        assert "is given up" in command(twin, "--accept-loss", found[1])
        twin.start()
    assert used(machines, machines.active(), OTHER_PRODUCT) == 0, "the session is lost with what was given up"

    third.start()

    def refuses() -> bool:
        with third.admin() as admin:
            alarms = admin.get("/v1/status").json()["alarms"]
        return any("`tmr-upstream renew`" in alarm for alarm in alarms)

    def answers() -> bool:
        status = machines.status(machines.active())
        return status is not None and bool(status["upstreams"][2]["reachable"])

    until(answers, "the third upstream answers")
    until(refuses, "it keeps what it has as committed, and says what to do")
    with third.admin() as admin:
        container = admin.get("/v1/status").json()["container"]
    assert third.terminate() == 0
    assert "is given up" in command(third, "renew")
    active = machines.whole()
    with third.admin() as admin:
        status = admin.get("/v1/status").json()
    assert status["voting"] and status["container"] == container
    assert used(machines, active, OTHER_PRODUCT) == 0

    def newer(twin: Twin) -> bool:
        kept = AnchorFile(twin.config.parent).read()
        return kept is not None and 0 < kept.used_up < kept.anchor.epoch

    until(lambda: all(newer(twin) for twin in machines.twins), "no epoch is used again that was given up")
    assert not any(objection(machines, twin) for twin in machines.twins)
