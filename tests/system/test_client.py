# SPDX-License-Identifier: Apache-2.0
"""The Python client and the `tmr` command against a whole system of processes, through real faults."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.loopback import FIRM, TTL, Machines, Twin, until
from tests.system.front import OWN, VIP, Front
from tests.system.told import told
from tmr.api.borrowing import BorrowRequest
from tmr.api.status import Health, HealthState
from tmr.client import (
    BorrowFailed,
    Client,
    Config,
    LicenceUnavailable,
    NoMoreLicences,
    NoQuorum,
    Policy,
    SessionState,
    TlsFiles,
)
from tmr.licensing import Licence

log = logging.getLogger(__name__)

CONFIG = """
system = "lab"
servers = ["{vip}"]
twins = {twins}
port = {port}
[tls]
certificate = "{tls.certificate}"
key = "{tls.key}"
ca = "{tls.ca}"
"""


class Site:
    """A system, its front LAN, and how to ask it."""

    def __init__(self, machines: Machines, front: Front, directory: Path) -> None:
        self.machines = machines
        self.port = front.port
        self._directory = directory

    def config(self, role: str = "client", name: str = "alice") -> Config:
        files = self.machines.pki.files(role, name)
        tls = TlsFiles(certificate=Path(files.certificate), key=Path(files.key), ca=Path(files.ca))
        return Config(system="lab", servers=(VIP,), twins=tuple(OWN.values()), port=self.port, tls=tls)

    def command(self, *arguments: str, role: str = "client", name: str = "alice") -> list[str]:
        """`tmr` with these arguments."""
        path = self._directory / f"{role}.toml"
        files = self.machines.pki.files(role, name)
        twins = json.dumps(list(OWN.values()))
        path.write_text(CONFIG.format(vip=VIP, twins=twins, port=self.port, tls=files))
        code = "from tmr.cli.main import main; main()"
        return [sys.executable, "-c", code, "--config", str(path), *arguments]

    def tmr(
        self, *arguments: str, role: str = "client", name: str = "alice"
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, role=role, name=name),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def site(_site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    with told(_site.machines, request.session):
        yield _site


@pytest.fixture(scope="module")
def _site() -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="tmr-"))
    machines = Machines(directory)
    for name in OWN:
        machines.pki.authority.issue("twin", name, addresses=(VIP, *OWN.values()))
    try:
        machines.start()
        with Front(machines) as front:
            yield Site(machines, front, directory)
    finally:
        machines.stop()
        shutil.rmtree(directory)


def seats(client: Client, product: int) -> int:
    (used,) = [item.in_use for item in client.items().items if item.product_code == product]
    return used


def test_a_session_lives_through_crash_and_switchover(site: Site) -> None:
    machines = site.machines
    first = machines.serve(product=21, quantity=2)
    with Client(site.config()) as client, client.session(FIRM, 21, ttl=5) as session:
        began = time.monotonic()
        first.kill()
        assert seats(client, 21) == 1
        assert time.monotonic() - began < 10
        first.start()
        machines.ready(machines.other(machines.whole()))
        with Client(site.config("operator", "olga")) as operator:
            before = operator.switchover().from_
        machines.other_serves(next(twin for twin in machines.twins if twin.name == before))
        assert seats(client, 21) == 1
        time.sleep(5)  # a whole time to live: only heartbeats keep it
        assert session.state is SessionState.HELD
        assert client.heartbeat(session.id).epoch > session.licence.epoch
    with Client(site.config()) as client:
        assert seats(client, 21) == 0


def test_asking_while_the_active_dies_takes_one_seat(site: Site) -> None:
    machines = site.machines
    machines.serve(product=22, quantity=5)
    with Client(site.config()) as client:
        for _ in range(3):
            active = machines.whole()
            os.kill(active.pid, signal.SIGSTOP)
            killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -9 {active.pid}"])
            with client.session(FIRM, 22):
                killer.wait()
                assert seats(client, 22) == 1
            active.kill()
        assert seats(client, 22) == 0


def test_a_borrow_file_that_is_not_signed(site: Site) -> None:
    """The client waits for the reason: one upstream is away, and two have different updates."""
    machines = site.machines
    machines.serve(product=34, quantity=1)
    machines.activate(Licence(product_code=35, quantity=1, borrow_s=86_400))
    with Client(site.config()) as client:
        until(lambda: 35 in [item.product_code for item in client.items().items], "the licence is there")
        asked = BorrowRequest(firm_code=FIRM, product_code=35, seconds=3600, station="laptop-3")
        lent = client.borrow(asked).id
        file = machines.issue(Licence(product_code=36, quantity=1))
        first, second, third = machines.upstreams
        machines.take(file, first)
        third.kill()
        with pytest.raises(BorrowFailed) as caught:
            client.borrow_file(lent)
        assert caught.value.problem.slug == "borrow-not-signed"
        for upstream in (first, second, third):
            assert f"{upstream.name}: " in caught.value.message
        machines.take(file, second)
        assert client.borrow_file(lent)
        client.give_back(lent)
        third.start()
        machines.whole()
        machines.take(file, third)


def test_full_and_the_reason(site: Site) -> None:
    site.machines.serve(product=23, quantity=1)
    with Client(site.config()) as client, client.session(FIRM, 23, user="ada", station="cad-07"):
        with Client(site.config()) as other, pytest.raises(NoMoreLicences) as caught:
            other.session(FIRM, 23).__enter__()
        (holder,) = caught.value.problem.holders
        assert (holder.user, holder.station, holder.seats) == ("ada", "cad-07", 1)
        answer = site.tmr("run", "--firm", str(FIRM), "--product", "23", "--", "true")
        assert answer.returncode == 1
        assert "CodeMeter error 212" in answer.stderr
        assert "cad-07" in answer.stderr


def test_two_upstreams_lost_and_one_back(site: Site) -> None:
    """Nothing new is granted, it is said why and where, and what is held is held on to."""
    machines = site.machines
    machines.serve(product=24, quantity=5)
    config = site.config()
    with Client(config) as client, client.session(FIRM, 24, ttl=30) as session:
        machines.upstreams[1].kill()
        machines.upstreams[2].kill()
        time.sleep(2 * TTL)
        with (
            Client(config, policy=Policy(refusal_patience=1.0)) as other,
            pytest.raises((NoQuorum, LicenceUnavailable)) as caught,
        ):
            other.session(FIRM, 24).__enter__()
        problem = getattr(caught.value, "problem", None)
        assert problem is not None
        lacking = [*problem.constituents, *(c for u in problem.unavailable for c in u.constituents)]
        assert {c.upstream for c in lacking if c.state == "unreachable"} == {"up2", "up3"}
        refused = site.tmr("list", "--patience", "3")
        assert refused.returncode == 3
        assert "up2" in refused.stderr
        assert site.tmr("status").returncode == 3
        machines.upstreams[1].start()
        assert seats(client, 24) == 1
        until(lambda: session.state is SessionState.HELD, "the next heartbeat is answered")
    machines.whole()


def health_of(site: Site, twin: Twin) -> Health:
    """What the twin says of the health of the system; down where it does not answer."""
    status = site.machines.status(twin)
    return Health(state=HealthState.DOWN) if status is None else Health.model_validate(status["health"])


def is_healthy(site: Site, twin: Twin) -> bool:
    return health_of(site, twin).state is HealthState.HEALTHY


def whole(site: Site) -> Twin:
    """Wait until both twins say that all is well; the active twin."""
    twin = site.machines.whole()
    for each in site.machines.twins:
        until(partial(is_healthy, site, each), f"{each.name} says that all is well")
    return twin


def shown_by_metrics(site: Site, twin: Twin) -> dict[str, float]:
    """`tmr_health` of the twin, by state."""
    text = site.machines.client(twin, "olga").get("/metrics").text
    (family,) = [one for one in text_string_to_metric_families(text) if one.name == "tmr_health"]
    return {sample.labels["state"]: sample.value for sample in family.samples}


def status_ends_with(site: Site, code: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask `tmr status` until this is its exit code: on a slow machine a report may be late for a moment."""
    answers: list[subprocess.CompletedProcess[str]] = []

    def ended() -> bool:
        answers.append(site.tmr("status", *arguments))
        return answers[-1].returncode == code

    until(ended, f"tmr status ends with {code}")
    return answers[-1]


def metrics_show(site: Site, twin: Twin, state: str) -> None:
    """Wait until `tmr_health` of the twin is 1 for this state, and 0 for the others."""
    wanted = {one: float(one == state) for one in HealthState}
    until(lambda: shown_by_metrics(site, twin) == wanted, f"the metrics of {twin.name} say {state}")


def test_health_while_one_twin_is_off(site: Site) -> None:
    """It serves, and everything says that nobody could take over."""
    machines = site.machines
    active = whole(site)
    status_ends_with(site, 0)
    metrics_show(site, active, "healthy")
    passive = machines.other(active)
    passive.kill()

    def missed() -> bool:
        reasons = [reason for reason in health_of(site, active).reasons if reason.machine == passive.name]
        return any("is not heard" in reason.what for reason in reasons)

    until(missed, "the active twin misses the other one")
    metrics_show(site, active, "degraded")
    answer = status_ends_with(site, 1)
    assert "Health: degraded" in answer.stdout
    assert f"{active.name}: {passive.name} is not heard by two upstreams" in answer.stdout
    passive.start()
    whole(site)
    status_ends_with(site, 0)


def test_health_while_two_upstreams_are_off(site: Site) -> None:
    """They stand still with their connections open, as without power: both twins say that it is down."""
    machines = site.machines
    whole(site)
    stopped = machines.upstreams[1:]
    began = time.monotonic()
    try:
        for upstream in stopped:
            upstream.signal(signal.SIGSTOP)

        def down(twin: Twin) -> bool:
            status = machines.status(twin)
            return status is not None and status["health"]["state"] == "down"

        for twin in machines.twins:
            until(partial(down, twin), f"{twin.name} says that it is down")
            log.info("%s says down after %.1f s", twin.name, time.monotonic() - began)
        for twin in machines.twins:
            status = machines.status_of(twin)
            assert "1 of 3 upstreams count (up1), 2 are needed" in status["health"]["reasons"][0]["what"]
            assert {one["state"] for one in status["licences"]} <= {"unavailable"}
            metrics_show(site, twin, "down")
        status_ends_with(site, 3)
    finally:
        for upstream in stopped:
            upstream.signal(signal.SIGCONT)
    whole(site)


def document(answer: subprocess.CompletedProcess[str]) -> Any:
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_commands(site: Site) -> None:
    machines = site.machines
    twin = machines.serve(product=25, quantity=3)
    listed = document(site.tmr("list", "--json"))
    assert listed["containers"][0]["serial"].startswith("131-")
    assert 25 in [item["product_code"] for item in listed["items"]]
    whole(site)
    status = document(status_ends_with(site, 0, "--json"))
    assert status["health"] == {"state": "healthy", "reasons": []}
    assert [view["status"]["name"] for view in status["twins"]] == ["tmr1", "tmr2"]
    assert status["vip"][0]["status"]["name"] == twin.name
    held = subprocess.Popen(
        site.command("run", "--firm", str(FIRM), "--product", "25", "--", "sleep", "60"),
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(document(site.tmr("sessions", "--json"))["sessions"]) == 1, "the licence is held")
    machines.ready(machines.other(twin))

    def switched_over() -> dict[str, Any] | None:
        """Not where the other twin is too slow, so that the first one takes the next term."""
        done = site.tmr("switchover", "--json", role="operator", name="olga")
        return document(done) if done.returncode == 0 else None

    moved = until(switched_over, "a switchover")
    assert moved["from"] == twin.name
    assert moved["to"] == machines.other(twin).name
    assert site.tmr("switchover").returncode == 1, "a client may not"
    held.send_signal(signal.SIGTERM)
    _, told = held.communicate(timeout=20)
    assert held.returncode == 128 + signal.SIGTERM, told
    assert document(site.tmr("sessions", "--json"))["sessions"] == []


@pytest.mark.parametrize("arguments", [["list"], ["status"], ["sessions"]])
def test_tables_have_the_width_of_a_terminal(site: Site, arguments: Sequence[str]) -> None:
    machines = site.machines
    machines.serve(product=26, quantity=3)
    whole(site)
    with Client(site.config()) as client, client.session(FIRM, 26):
        answer = subprocess.run(
            site.command(*arguments),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "COLUMNS": "80"},
        )
    # Status may be degraded for a moment, where a report is late.
    assert answer.returncode in ((0, 1) if arguments == ["status"] else (0,)), answer.stderr
    assert "\x1b" not in answer.stdout
    assert max(map(len, answer.stdout.splitlines())) <= 80
