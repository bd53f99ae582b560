# SPDX-License-Identifier: Apache-2.0
"""Certificates that end, or whose files disappear: what daemons say, and that they go on."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.pki import System, make_system
from tests.api.test_upstream import client
from tests.support.serving import until
from tests.support.tmr_system import OLGA, item, running, scenario
from tests.support.tmr_system import until as until_async
from tests.support.upstream_process import UpstreamProcess
from tmr.net.certificate_expiry import CertificateState, Validity
from tmr.quorum.messages import CertificateReport

DAY = 86_400.0


@pytest.fixture
def system(tmp_path: Path) -> System:
    return make_system(tmp_path)


@pytest.fixture
def server(tmp_path: Path, system: System) -> Iterator[UpstreamProcess]:
    made = UpstreamProcess(tmp_path, system)
    made.crl = system.authority.crl()
    made.configure()
    made.start()
    yield made
    made.close()


def alarms(server: UpstreamProcess) -> list[str]:
    """Its alarms about certificates; the command does not need the files."""
    status = json.loads(server.command("status", "--json").stdout)
    return [alarm for alarm in status["alarms"] if "certificate" in alarm or "tls." in alarm]


def test_a_daemon_goes_on_without_its_key_and_says_so(server: UpstreamProcess, system: System) -> None:
    key = Path(system.upstream("up1").key)
    away = key.with_suffix(".away")
    assert alarms(server) == []
    key.rename(away)
    until(lambda: "keeping the former" in server.output(), "the daemon notices")
    with client(server, system.operator("olga")) as olga:
        assert "tmr_certificate_files_usable 0.0" in olga.get("/metrics").text
    away.rename(key)
    until(lambda: "as before again" in server.output(), "the daemon notices that it is back")
    assert alarms(server) == []
    with client(server, system.operator("olga")) as olga:
        said = olga.get("/metrics").text
    assert "tmr_certificate_files_usable 1.0" in said
    for file in ("certificate", "ca", "crl"):
        assert f'tmr_certificate_seconds{{file="{file}"}}' in said


def test_an_upstream_says_that_its_certificate_ends(tmp_path: Path, system: System) -> None:
    system.authority.issue("upstream", "up1", valid=(-100 * DAY, 10 * DAY))
    made = UpstreamProcess(tmp_path, system)
    try:
        made.start()
        (alarm,) = alarms(made)
        assert alarm.startswith("the certificate of upstream up1 ends on ")
        assert "event=certificate file=certificate days=10.0" in made.output()
        assert "certificate ends" in made.command("status").stdout
    finally:
        made.close()


@scenario
async def test_the_status_of_a_twin_has_all_ends_and_alarms(tmp_path: Path) -> None:
    soon = time.time() + 20 * DAY
    async with running(tmp_path, item()) as system:
        for number, upstream in enumerate(system.upstreams):
            upstream.acceptor.certificate = CertificateReport(
                round((soon + number * DAY) * 1000), alarm=number < 1
            )
        twin = system.active
        validity = Validity("certificate", "the certificate of twin x", soon - 300 * DAY, soon + DAY / 2)
        twin.agent.certificates = CertificateState((validity,))
        await until_async(lambda: len(twin.agent.status().certificates) == 4, "all are heard")
        async with twin.client(OLGA) as http:
            status = (await http.get("/v1/status")).json()
        assert [end["machine"] for end in status["certificates"]] == ["up1", twin.name, "up2", "up3"]
        said = [alarm for alarm in status["alarms"] if "certificate" in alarm]
        assert said[0].startswith("the certificate of twin x ends on ")
        assert said[1].startswith("certificates of up1 end soon, or cannot be used")
        assert status["health"]["state"] == "degraded"
