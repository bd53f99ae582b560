"""Two upstreams put back to copies of one moment: nobody serves with these, and the third brings all back."""

import shutil
from pathlib import Path

from tests.system.machines import Machines, Twin, body, key, until
from tmr.server.anchor_file import AnchorFile

PRODUCT = 91


def test_two_old_copies_of_one_moment_do_not_serve(machines: Machines, tmp_path: Path) -> None:
    machines.serve(product=PRODUCT, quantity=2)
    old, third = machines.upstreams[:2], machines.upstreams[2]
    for upstream in old:
        upstream.kill()
        shutil.copytree(upstream.config.parent / "state", tmp_path / upstream.name)
        upstream.start()
    wanted = key()

    def granted() -> str:
        """Id of the session. Two upstreams have only just started: a first try may come too early."""
        answer = machines.client(machines.whole()).post("/v1/sessions", json=body(PRODUCT), headers=wanted)
        assert answer.status_code in (201, 503), answer.text
        return str(answer.json()["id"]) if answer.status_code == 201 else ""

    session = until(granted, "a session is granted")
    committed = machines.status_of(machines.whole())["commit"]

    def anchored(twin: Twin) -> bool:
        kept = AnchorFile(twin.config.parent).read()
        return kept is not None and kept.anchor.index >= committed

    until(lambda: all(anchored(twin) for twin in machines.twins), "both anchors are on disk")
    for daemon in (*machines.twins, *machines.upstreams):
        daemon.kill()
    for upstream in old:
        shutil.rmtree(upstream.config.parent / "state")
        shutil.copytree(tmp_path / upstream.name, upstream.config.parent / "state")
        upstream.start()
    for twin in machines.twins:
        twin.start()

    def objects(twin: Twin) -> bool:
        status = machines.status(twin)
        return status is not None and any("--accept-loss" in alarm for alarm in status["alarms"])

    until(lambda: all(objects(twin) for twin in machines.twins), "both twins say what is missing")
    assert machines.active_now() is None

    def told() -> bool:
        refused = machines.client(machines.twins[0]).post("/v1/sessions", json=body(PRODUCT), headers=key())
        assert refused.status_code == 503
        return "up3 may have it" in refused.json()["detail"]

    # For a moment it may still take the other twin, whose lease has just ended, for the active one.
    until(told, "a client hears what is missing")

    third.start()
    active = machines.whole()
    status = machines.status_of(active)
    (used,) = [one["in_use"] for one in status["licences"] if one["product_code"] == PRODUCT]
    assert used == 1, "the session that the old copies did not have"
    assert not any(objects(twin) for twin in machines.twins)
    assert machines.client(active).delete(f"/v1/sessions/{session}").status_code == 204
