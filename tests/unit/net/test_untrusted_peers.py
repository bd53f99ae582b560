# SPDX-License-Identifier: Apache-2.0
"""Certificates that are not what they should be, old TLS, and certificates that are revoked."""

import asyncio
import datetime
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509

from testbed.pki import System, make_system
from tests.support.serving import Served, ask, connect, ended, serving, until
from tmr.net import server
from tmr.net.certificate_policy import read
from tmr.net.renewal import Renewal
from tmr.net.tls import TlsFiles, server_context
from tmr.rpc.messages import ReadContainer
from tmr.rpc.upstream_client import LinkError, UpstreamLink, contexts


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"), clients=("alice", "bob"))


@pytest.fixture(scope="module")
def served(system: System) -> Iterator[Served]:
    with serving(system.upstream("up1")) as made:
        yield made


def refusal(served: Served, files: TlsFiles | None, ca: str | None = None) -> str:
    """What the server says to the one with these files, in OpenSSL's words."""
    try:
        with connect(served.port, files, ca=ca) as stranger:
            status, _ = ask(stranger)
    except ssl.SSLError as error:
        return (error.reason or "").lower()
    return str(status)


# -- certificates ------------------------------------------------------------------------------------------

DAY = 86_400.0


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("none", "certificate_required"),
        ("expired", "certificate_expired"),
        ("not yet valid", "certificate"),
        ("self-signed", "certificate|decrypt_error|unknown_ca"),
        ("another CA of the same name", "unknown_ca|decrypt_error|certificate"),
        ("another system's CA", "unknown_ca"),
    ],
)
def test_who_has_no_valid_certificate_is_told_why(
    served: Served, system: System, tmp_path: Path, case: str, words: str
) -> None:
    issue = system.authority.issue
    made: dict[str, Callable[[], TlsFiles | None]] = {
        "none": lambda: None,
        "expired": lambda: issue("client", "alice", stem="expired", valid=(-2 * DAY, -60)),
        "not yet valid": lambda: issue("client", "alice", stem="early", valid=(3600, DAY)),
        "self-signed": lambda: issue("client", "alice", stem="own", self_signed=True),
        "another CA of the same name": lambda: make_system(tmp_path, "lab").client("alice"),
        "another system's CA": lambda: make_system(tmp_path, "mars").client("alice"),
    }
    before = served.refused("certificate") + served.refused("tls")
    said = refusal(served, made[case](), ca=str(system.authority.ca))
    assert any(word in said for word in words.split("|")), said
    assert "alert" in said
    assert served.refused("certificate") + served.refused("tls") == before + 1
    assert served.asked == []


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["spiffe://lab/client/alice", "spiffe://lab/operator/olga"],
        ["spiffe://mars/client/alice"],
        ["spiffe://lab/client/*"],
        ["spiffe://lab/*/alice"],
        ["spiffe://*/client/alice"],
        ["spiffe://lab/client/"],
        ["spiffe://lab/client/alice/../olga"],
        ["spiffe://lab/client/alice%2fx"],
        ["spiffe://LAB/client/alice"],
        ["SPIFFE://lab/client/alice"],
        ["spiffe://lab/client/alice?x"],
        ["spiffe://lab@mars/client/alice"],
        ["spiffe://lab:22350/client/alice"],
    ],
)
@pytest.mark.parametrize("target", ["/name", "/none"])
def test_a_certificate_that_does_not_say_who_reaches_no_route(
    served: Served, system: System, uris: list[str], target: str
) -> None:
    files = system.authority.issue("client", "alice", uris=uris, stem="odd")
    with connect(served.port, files) as odd:
        status, body = ask(odd, target)
    problem = msgspec.json.decode(body)
    assert (status, problem["type"]) == (403, "urn:tmr:problem:wrong-role")
    assert problem["detail"].startswith("Refused: ")
    assert served.asked == []


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("client", "purpose"),
        ("expired", "expired"),
        ("not yet valid", "not yet valid"),
        ("other upstream", "certificate of upstream up2, expected upstream up1"),
        ("twin", "certificate of twin up1, expected upstream up1"),
        ("star", "ill-formed name"),
        ("other system", "of the system 'mars'"),
        ("two", "2 URI names"),
        ("other CA", "self-signed certificate in certificate chain"),
    ],
)
def test_a_twin_sends_nothing_to_a_false_upstream(
    system: System, tmp_path: Path, case: str, words: str
) -> None:
    issue = system.authority.issue
    here, mars, star = "spiffe://lab/upstream/up1", "spiffe://mars/upstream/up1", "spiffe://lab/upstream/*"
    made: dict[str, Callable[[], TlsFiles]] = {
        "client": lambda: issue("client", "up1", uris=[here], stem="false"),
        "expired": lambda: issue("upstream", "up1", stem="false", valid=(-2 * DAY, -60)),
        "not yet valid": lambda: issue("upstream", "up1", stem="false", valid=(3600, DAY)),
        "other upstream": lambda: system.upstream("up2"),
        "twin": lambda: issue("twin", "up1", stem="false"),
        "star": lambda: issue("upstream", "up1", uris=[star], stem="false"),
        "other system": lambda: issue("upstream", "up1", uris=[mars], stem="false"),
        "two": lambda: issue("upstream", "up1", uris=[here, mars], stem="false"),
        "other CA": lambda: make_system(tmp_path, "lab").upstream("up1"),
    }
    with serving(made[case]()) as false:
        said = asyncio.run(asked_by_twin(system, false.port))
    assert any(word in said for word in words.split("|")), said
    assert false.asked == []


async def asked_by_twin(system: System, port: int, **files: str) -> str:
    """Why the twin does not accept the upstream; what it refused, if it does."""
    tls = msgspec.structs.replace(system.twin("tmr1"), **files)
    link = UpstreamLink("up1", "127.0.0.1", port, contexts(tls, "lab"), 20.0)
    try:
        await link.call(ReadContainer())
    except LinkError as error:
        return error.reason
    finally:
        await link.close()
    return "answered"


# -- versions of TLS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1", "-tls1_2"])
def test_older_tls_is_refused(served: Served, system: System, version: str) -> None:
    done = s_client(served.port, system.client("alice"), version, "-cipher", "ALL:@SECLEVEL=0")
    assert "Cipher is (NONE)" in done
    assert "alert protocol version" in done


def test_tls_1_3_has_no_resumption_no_early_data_no_compression(served: Served, system: System) -> None:
    done = s_client(served.port, system.client("alice"))
    assert "TLSv1.3, Cipher is TLS_" in done
    assert "Verify return code: 0 (ok)" in done
    assert "Secure Renegotiation IS NOT supported" in done
    assert "Compression: NONE" in done
    assert "Session-ID" not in done, "there was a ticket"
    assert "Early data was not sent" in done


def test_a_session_cannot_be_resumed(served: Served, system: System) -> None:
    with connect(served.port, system.client("alice")) as first:
        assert ask(first)[0] == 200
        session = first.session
    assert session is None or not session.has_ticket


def s_client(port: int, files: TlsFiles, *options: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", files.ca]
    command += ["-cert", files.certificate, "-key", files.key, *options]
    request = "GET /name HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


# -- revocation --------------------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[System, TlsFiles]:
    """A system of its own whose upstream has an empty revocation list, and always looks at its files."""
    monkeypatch.setattr(server, "RENEWAL_CHECK", 0.0)
    system = make_system(tmp_path, clients=("alice", "bob"))
    crl = system.authority.crl()
    return system, msgspec.structs.replace(system.upstream("up1"), crl=str(crl))


def test_a_revoked_certificate_is_refused_and_its_connections_end(listed: tuple[System, TlsFiles]) -> None:
    system, files = listed
    alice, bob = system.client("alice"), system.client("bob")
    with serving(files) as served, connect(served.port, alice) as old, connect(served.port, bob) as other:
        busy = connect(served.port, alice)
        assert ask(old) == (200, b"client alice")
        assert ask(other) == (200, b"client bob")
        busy.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        system.authority.crl(alice)
        assert ended(old)
        assert ended(busy)
        assert "alert_certificate_revoked" in refusal(served, alice)
        assert ask(other) == (200, b"client bob")
        assert served.refused("certificate") == 3
        with connect(served.port, system.authority.issue("client", "alice", stem="anew")) as anew:
            assert ask(anew)[0] == 200, "a new certificate of the same name is not revoked"
        busy.close()
        system.authority.crl()
        until(lambda: refusal(served, alice) == "200", "what is not on the list any more is let in")


def test_a_certificate_that_ends_ends_its_connections(listed: tuple[System, TlsFiles]) -> None:
    system, files = listed
    short = system.authority.issue("client", "alice", stem="short", valid=(-60, 3))
    with serving(files) as served, connect(served.port, short) as alice:
        assert ask(alice)[0] == 200
        assert ended(alice)
        assert "certificate_expired" in refusal(served, short)


def test_a_list_that_cannot_be_used_changes_nothing(listed: tuple[System, TlsFiles], tmp_path: Path) -> None:
    system, files = listed
    alice = system.client("alice")
    system.authority.crl(alice)
    used = Path(files.crl or "")
    foreign = make_system(tmp_path / "other", "lab").authority.crl()
    renewal = Renewal(files, server_context(files))
    for text in (b"", b"no list", foreign.read_bytes()):
        used.write_bytes(text)
        assert not renewal.check()
        assert "has no list that the CA" in renewal.state.problem
    system.authority.crl(alice, valid=(-2 * DAY, -60))
    assert not renewal.check()
    assert "the list ended at" in renewal.state.problem
    system.authority.crl(alice, valid=(3600, DAY))
    assert not renewal.check()
    assert "only; check the clocks" in renewal.state.problem
    assert len(renewal.admission.revoked) == 1
    system.authority.crl(alice, system.client("bob"))
    assert renewal.check()
    assert len(renewal.admission.revoked) == 2


def test_a_twin_does_not_trust_a_revoked_upstream(system: System) -> None:
    up1 = system.upstream("up1")
    with serving(up1) as served:
        empty, full = system.authority.crl(stem="empty"), system.authority.crl(up1, stem="full")
        assert asyncio.run(asked_by_twin(system, served.port, crl=str(empty))).startswith("refused (404)")
        said = asyncio.run(asked_by_twin(system, served.port, crl=str(full)))
    assert said == "its certificate is not accepted: certificate revoked"


def test_a_link_leaves_an_upstream_that_is_revoked(system: System, tmp_path: Path) -> None:
    up1 = system.upstream("up1")
    crl = system.authority.crl(stem="used")
    tls = msgspec.structs.replace(system.twin("tmr1"), crl=str(crl))

    async def story(port: int) -> str:
        used = contexts(tls, "lab")
        renewal = Renewal(tls, *used)
        link = UpstreamLink("up1", "127.0.0.1", port, used, 20.0)
        try:
            for _ in range(2):
                with pytest.raises(LinkError, match="404"):
                    await link.call(ReadContainer())
            system.authority.crl(up1, stem="used")
            assert renewal.check()
            await link.renew()
            with pytest.raises(LinkError) as caught:
                await link.call(ReadContainer())
            return caught.value.reason
        finally:
            await link.close()

    with serving(up1) as served:
        assert asyncio.run(story(served.port)) == "its certificate is not accepted: certificate revoked"


def test_a_former_ca_counts_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RENEWAL_CHECK", 0.0)
    former, new = (make_system(tmp_path / name, "lab") for name in ("former", "new"))
    used = TlsFiles(*(str(tmp_path / f"used.{key}") for key in ("crt", "key", "ca")))

    def install(system: System) -> None:
        files = system.upstream("up1")
        for source, target in (
            (files.certificate, used.certificate),
            (files.key, used.key),
            (files.ca, used.ca),
        ):
            shutil.copy(source, target)

    install(former)
    with serving(used) as served, connect(served.port, former.client("alice")) as old:
        assert ask(old)[0] == 200
        install(new)
        assert ended(old), "whoever came with the former CA has to come again"
        with connect(served.port, new.client("alice")) as anew:
            assert ask(anew)[0] == 200
        said = refusal(served, former.client("alice"), ca=new.client("alice").ca)
        assert "unknown_ca" in said or "decrypt_error" in said


def test_openssl_reads_the_list_as_we_do(system: System, tmp_path: Path) -> None:
    alice, bob = system.client("alice"), system.client("bob")
    crl = system.authority.crl(alice, stem="outside")
    admitted = read(Path(alice.ca), crl)
    verify = ["openssl", "verify", "-crl_check", "-CAfile", alice.ca, "-CRLfile", str(crl)]
    for files, good in ((alice, False), (bob, True)):
        done = subprocess.run([*verify, files.certificate], capture_output=True, check=False)
        certificate = x509.load_pem_x509_certificate(Path(files.certificate).read_bytes())
        end = certificate.not_valid_after_utc.timestamp()
        assert (done.returncode == 0) is good
        assert (admitted.objection(certificate.serial_number, end, time.time()) == "") is good
        assert admitted.objection(certificate.serial_number, end, end + 1) != ""
    ((ends,),) = [[one.ends for one in admitted.lists]]
    assert ends is not None
    soon = datetime.datetime.fromtimestamp(ends, datetime.UTC) - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(hours=23) < soon < datetime.timedelta(hours=25)
