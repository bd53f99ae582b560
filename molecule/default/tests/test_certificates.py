# SPDX-License-Identifier: Apache-2.0
"""Certificates say who a machine is, and the CA's key is nowhere but on the controller."""

from __future__ import annotations

import datetime
import itertools
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import ROOT, Machine, machine_named, playbook
from test_system import until

FILES = {"upstreams": "upstream", "twins": "server", "clients": "client"}
ROLES = {"upstreams": "upstream", "twins": "twin", "clients": "client"}
BOTH_ENDS = ["TLS Web Client Authentication", "TLS Web Server Authentication"]


def shown(text: str) -> list[str]:
    """Values of the one extension that `openssl x509 -ext` prints."""
    return sorted(part.strip() for part in text.splitlines()[-1].split(","))


def extension(machine: Machine, name: str) -> list[str]:
    path = f"/etc/tmr/pki/{FILES[machine.group]}.crt"
    return shown(machine.run(f"openssl x509 -noout -ext {name} -in {path}"))


def test_the_chain_holds(machine: Machine) -> None:
    path = f"/etc/tmr/pki/{FILES[machine.group]}.crt"
    purposes = ["sslclient"] if machine.group == "clients" else ["sslclient", "sslserver"]
    for purpose in purposes:
        command = f"openssl verify -x509_strict -purpose {purpose} -CAfile /etc/tmr/pki/ca.crt {path}"
        assert machine.run(command) == f"{path}: OK"


def test_the_key_fits(machine: Machine) -> None:
    stem = f"/etc/tmr/pki/{FILES[machine.group]}"
    assert machine.run(f"openssl x509 -noout -pubkey -in {stem}.crt") == machine.run(
        f"openssl pkey -pubout -in {stem}.key"
    )
    assert "prime256v1" in machine.run(f"openssl x509 -noout -text -in {stem}.crt")


def test_the_identity_is_the_machines_own(machine: Machine) -> None:
    names = {f"URI:spiffe://{machine['tmr_system']}/{ROLES[machine.group]}/{machine.name}"}
    if machine.group != "clients":
        names |= {f"DNS:{machine.name}", f"IP Address:{machine['tmr_back_address']}"}
    if machine.group == "twins":
        names |= {f"IP Address:{address}" for address in machine["tmr_vip_addresses"]}
        names |= {f"IP Address:{address}" for address in machine["tmr_front_addresses"]}
    found = {re.sub(r"(:0)+:", "::", name.lower()) for name in extension(machine, "subjectAltName")}
    assert found == {name.lower() for name in names}


def test_the_usage_is_that_of_the_role(machine: Machine) -> None:
    wanted = ["TLS Web Client Authentication"] if machine.group == "clients" else BOTH_ENDS
    assert extension(machine, "extendedKeyUsage") == wanted


def test_it_cannot_sign_others(machine: Machine) -> None:
    text = machine.run(f"openssl x509 -noout -text -in /etc/tmr/pki/{FILES[machine.group]}.crt")
    assert "CA:TRUE" not in text
    assert "Certificate Sign" not in text


def test_all_know_the_same_ca(machine: Machine, pki: Path) -> None:
    assert machine.run("cat /etc/tmr/pki/ca.crt").strip() == (pki / "ca.crt").read_text().strip()


def test_the_keys_of_the_controller_are_kept_well(pki: Path) -> None:
    assert pki.stat().st_mode & 0o777 == 0o700
    for name in ("ca.key", "operator.key"):
        assert (pki / name).stat().st_mode & 0o777 == 0o600


def test_the_operator_has_a_certificate(pki: Path, upstreams: list[Machine]) -> None:
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", pki / "ca.crt"]
    subprocess.run([*command, pki / "operator.crt"], check=True, capture_output=True)
    ask = ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", pki / "operator.crt"]
    text = subprocess.run(ask, check=True, capture_output=True, text=True).stdout
    assert shown(text) == [f"URI:spiffe://{upstreams[0]['tmr_system']}/operator/operator"]


def test_members_of_the_group_may_use_the_clients_key(client: Machine) -> None:
    client.run("useradd --system --no-create-home probe")
    try:
        assert client.host.run("runuser -u probe -- cat /etc/tmr/pki/client.key").rc != 0
        assert client.host.run("runuser -u probe -g tmr -- cat /etc/tmr/pki/client.key").rc == 0
    finally:
        client.run("userdel probe")


@pytest.mark.parametrize("secret", ["ca.key", "operator.key"])
def test_they_are_on_no_machine(machine: Machine, secret: str) -> None:
    assert machine.run(f"find / -xdev -name {secret} -not -path '/proc/*'") == ""


def test_all_have_the_revocation_list(machine: Machine, pki: Path) -> None:
    path = f"/etc/tmr/pki/{FILES[machine.group]}.crt"
    assert machine.run("cat /etc/tmr/pki/crl.pem").strip() == (pki / "crl.pem").read_text().strip()
    verify = (
        "openssl verify -x509_strict -crl_check -CAfile /etc/tmr/pki/ca.crt -CRLfile /etc/tmr/pki/crl.pem"
    )
    assert machine.run(f"{verify} {path}") == f"{path}: OK"


def test_the_controller_has_a_copy_of_each_certificate(machine: Machine, pki: Path) -> None:
    path = f"/etc/tmr/pki/{FILES[machine.group]}.crt"
    serial = machine.run(f"openssl x509 -noout -serial -in {path}").partition("=")[2]
    copy = pki / "issued" / f"{ROLES[machine.group]}-{machine.name}-{serial}.crt"
    assert copy.read_text().strip() == machine.run(f"cat {path}").strip()


def test_a_twins_key_is_of_no_use_on_another_machine(twin: Machine, upstream: Machine) -> None:
    """Not even where no firewall is in between: from the upstream to itself."""
    stem, directory = "/etc/tmr/pki/server", "/run/tmr-probe"
    url = f"https://{upstream['tmr_back_address']}:22351/metrics"
    ask = "curl --silent --max-time 5 --cacert /etc/tmr/pki/ca.crt --cert {0}.crt --key {0}.key {1} " + url
    assert twin.run(ask.format(stem, "--output /dev/null --write-out '%{http_code}'")) == "200"
    upstream.run(f"install --directory --mode 700 {directory}")
    try:
        for end in ("crt", "key"):
            text = twin.run(f"cat {stem}.{end}")
            upstream.host.run("printf '%%s\\n' %s > %s", text, f"{directory}/stolen.{end}")
        said = upstream.run(ask.format(f"{directory}/stolen", ""))
    finally:
        upstream.run(f"rm -r {directory}")
    assert f"The certificate of twin {twin.name} is used from {upstream['tmr_back_address']}" in said


def valid(machine: Machine) -> tuple[datetime.datetime, datetime.datetime]:
    """Begin and end of the machine's certificate."""
    path = f"/etc/tmr/pki/{FILES[machine.group]}.crt"
    lines = machine.run(f"openssl x509 -noout -startdate -enddate -dateopt iso_8601 -in {path}").splitlines()
    begin, end = (datetime.datetime.fromisoformat(line.partition("=")[2]) for line in lines)
    return begin, end


def test_certificates_begin_in_the_past_for_clocks_that_are_behind(machine: Machine) -> None:
    begin, _ = valid(machine)
    age = datetime.datetime.now(datetime.UTC) - begin
    assert age > datetime.timedelta(hours=23)


def test_certificates_of_servers_end_on_different_days(
    upstreams: list[Machine], twins: list[Machine]
) -> None:
    ends = sorted(valid(machine)[1] for machine in upstreams + twins)
    apart = [later - earlier for earlier, later in itertools.pairwise(ends)]
    assert min(apart) > datetime.timedelta(days=5)


def test_a_controller_whose_clock_is_days_ahead_changes_no_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = tmp_path / "date"
    clock.write_text(f"#!/bin/sh\nexec {shutil.which('date')} --date='2 days' \"$@\"\n")
    clock.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    up3 = machine_named("up3")  # has the shortest life
    before = valid(up3)
    more = ["-e", "tmr_pki_renew_days=396", "-e", "tmr_pki_spread_days=0", "--tags", "pki", "--limit", "up3"]
    with pytest.raises(AssertionError, match=r"48\.\d\s+hours\s+ahead\s+of\s+that\s+of\s+up3"):
        playbook("site.yml", *more)
    assert valid(up3) == before


def test_the_status_tells_which_certificate_ends_first(
    upstreams: list[Machine], twins: list[Machine], client: Machine
) -> None:
    first = min(upstreams + twins, key=lambda machine: valid(machine)[1])
    said = f"First to end: the certificate of {first.name}, on {valid(first)[1]:%Y-%m-%d} "
    until(lambda: said in client.host.run("tmr status").stdout, said)


def test_a_deleted_certificate_is_noticed_and_nothing_stops(
    twins: list[Machine], upstreams: list[Machine], client: Machine
) -> None:
    for machine in (upstreams[0], *twins):
        path = f"/etc/tmr/pki/{FILES[machine.group]}.crt"
        said = (
            f"tls.certificate = '{path}' cannot be read"
            if machine in twins
            else f"certificates of {machine.name}"
        )
        process = f"systemctl show --property=MainPID --value {machine.units[-1]}"
        before = machine.run(process)
        machine.run(f"mv {path} {path}.away")
        try:
            until(lambda said=said: said in shown_status(client), f"an alarm: {said}", 90.0)
        finally:
            machine.run(f"mv {path}.away {path}")
        until(lambda said=said: said not in shown_status(client), f"the alarm ends: {said}")
        assert machine.run(process) == before, "it is the same process"
    until(lambda: client.host.run("tmr status").rc == 0, "tmr status says that the system is healthy")


def shown_status(client: Machine) -> str:
    """What `tmr status` shows, in one line: long lines are wrapped."""
    return " ".join(client.host.run("tmr status").stdout.split())


@pytest.fixture
def laptop(client: Machine) -> Iterator[str]:
    """Directory on the client machine, for a user of it who is not in the inventory."""
    directory = "/run/tmr-laptop"
    client.run(f"install --directory --mode 700 {directory}")
    yield directory
    client.run(f"rm -r {directory}")


def test_a_laptops_request_is_signed_and_the_laptop_is_let_in(
    client: Machine, vip: str, pki: Path, laptop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the how-to, as printed."""
    page = (ROOT / "docs/how-to/certificates.md").read_text().splitlines()
    (ask,) = [line for line in page if line.startswith("openssl req -new")]
    (sign,) = [
        line for line in page if line.startswith("ansible-playbook") and "sign_certificate.yml" in line
    ]
    client.run("cd %s && " + ask.replace("%", "%%"), laptop)
    (tmp_path / "cad-07.csr").write_text(client.run(f"cat {laptop}/cad-07.csr"))
    monkeypatch.setenv("PWD", str(tmp_path))  # as in a shell of that directory
    assert "Send back" in playbook(*shlex.split(sign)[3:])
    for path in (tmp_path / "cad-07.crt", pki / "ca.crt", pki / "crl.pem"):
        client.host.run("printf '%%s\\n' %s > %s", path.read_text(), f"{laptop}/{path.name}")
    files = f"--cacert {laptop}/ca.crt --crlfile {laptop}/crl.pem --cert {laptop}/cad-07.crt"
    ask = f"curl --silent --max-time 5 {files} --key {laptop}/cad-07.key https://{vip}:22350/v1/containers"
    until(lambda: '"131-' in client.host.run(ask).stdout, "the laptop is let in")
