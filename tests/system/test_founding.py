# SPDX-License-Identifier: Apache-2.0
"""New stores on all three upstreams: real twins do not serve with these before an operator has said so."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.loopback import Machines, Twin, body, key, until
from tests.system.told import told
from tmr.licensing import Licence
from tmr.twin.anchor_file import AnchorFile

PRODUCT = 92
NEW = re.compile(r"founding-[0-9a-f]+-new")


@pytest.fixture
def machines(request: pytest.FixtureRequest) -> Iterator[Machines]:
    """A system of its own: it loses all that it had."""
    directory = Path(tempfile.mkdtemp(prefix="tmr-"))
    found = Machines(directory)
    try:
        found.start()
        with told(found, request.session):
            yield found
    finally:
        found.stop()
        shutil.rmtree(directory)


def new_stores(machines: Machines, aside: Path) -> None:
    """The upstreams start with new stores; the former ones are kept."""
    for upstream in machines.upstreams:
        upstream.kill()  # all before one starts: one at a time would be readmitted, and keep the founding
    for upstream in machines.upstreams:
        state = upstream.config.parent / "state"
        state.rename(aside / upstream.name)
        state.mkdir(mode=0o700)
        upstream.start()


def objection(machines: Machines, twin: Twin) -> str:
    """Id of what the twin asks an operator to accept; empty: nothing."""
    status = machines.status(twin)
    found = [NEW.search(alarm) for alarm in status["alarms"]] if status is not None else []
    return next((one[0] for one in found if one is not None), "")


def both_object(machines: Machines) -> bool:
    return all(objection(machines, twin) for twin in machines.twins)


def test_new_stores_are_taken_by_an_operators_word_alone(machines: Machines, tmp_path: Path) -> None:
    machines.serve(product=PRODUCT, quantity=2)
    granted = until(
        lambda: machines.client(machines.whole()).post("/v1/sessions", json=body(PRODUCT), headers=key()),
        "an answer",
    )
    assert granted.status_code == 201

    def anchored(twin: Twin) -> bool:
        kept = AnchorFile(twin.config.parent).read()
        return kept is not None and bool(kept.anchor.founding)

    until(lambda: all(anchored(twin) for twin in machines.twins), "both anchors are on disk")
    aside = machines.upstreams[0].config.parents[1] / "aside"
    aside.mkdir()
    new_stores(machines, aside)
    until(lambda: both_object(machines), "both twins, which run on, say what has happened")
    for twin in machines.twins:
        assert twin.terminate() == 0
        twin.start()
    until(lambda: both_object(machines), "they say so after a restart, too")
    assert machines.active_now() is None
    for upstream in machines.upstreams:
        with upstream.admin() as admin:
            status = admin.get("/v1/status").json()
            assert (status["voting"], status["founding"]) == (False, "")

    for upstream in machines.upstreams:  # the former stores are put back: nothing is lost
        upstream.kill()
        state = upstream.config.parent / "state"
        shutil.rmtree(state)
        (aside / upstream.name).rename(state)
        upstream.start()
    active = machines.whole()
    assert [one["in_use"] for one in machines.status_of(active)["licences"]] == [1]
    assert not any(objection(machines, twin) for twin in machines.twins)

    new_stores(machines, aside)
    until(lambda: both_object(machines), "both twins object again")
    for twin in machines.twins:
        wanted = objection(machines, twin)
        assert twin.terminate() == 0
        command = [sys.executable, "-m", twin.module, "--config", str(twin.config), "--accept-loss", wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    machines.whole()  # starts both
    machines.forget_issued()
    machines.activate(Licence(product_code=PRODUCT, quantity=2))

    def served() -> bool:
        active = machines.active()
        answer = machines.client(active).post("/v1/sessions", json=body(PRODUCT), headers=key())
        assert answer.status_code in (201, 404, 503), answer.text
        return answer.status_code == 201

    until(served, "the new system grants licences that were issued anew")
