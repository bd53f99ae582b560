# SPDX-License-Identifier: Apache-2.0
"""Certificate files of a running daemon that disappear, end, or are not valid yet."""

import logging
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from testbed.pki import System, make_system
from tmr.net.certificate_expiry import CertificateState
from tmr.net.renewal import Renewal
from tmr.net.tls import TlsFiles, server_context

DAY = 86_400.0


@pytest.fixture
def system(tmp_path: Path) -> System:
    return make_system(tmp_path)


@pytest.fixture
def files(system: System, tmp_path: Path) -> TlsFiles:
    """The files of up1 under fixed names, with a revocation list."""
    used = TlsFiles(*(str(tmp_path / f"used.{key}") for key in ("crt", "key", "ca", "crl")))
    install(system.upstream("up1"), used)
    shutil.copy(system.authority.crl(), str(used.crl))
    return used


def install(source: TlsFiles, used: TlsFiles) -> None:
    for key in ("certificate", "key", "ca"):
        shutil.copy(getattr(source, key), getattr(used, key))


class Clock:
    """A wall clock that is set by hand, from the time of the test on."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def metrics(renewal: Renewal) -> dict[str, float]:
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in renewal.collect()
        for sample in family.samples
    }


@pytest.mark.parametrize("key", ["certificate", "key", "ca", "crl"])
def test_a_file_that_is_gone_is_noticed_and_what_was_read_stays(
    files: TlsFiles, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[CertificateState] = []
    renewal = Renewal(files, server_context(files), on_checked=heard.append)
    assert not heard[-1].problem
    path = Path(getattr(files, key))
    kept = path.read_bytes()
    path.unlink()
    for _ in range(3):
        assert not renewal.check()
        (alarm,) = heard[-1].alarms(time.time())
        assert alarm.startswith(f"tls.{key} = '{path}' cannot be read: No such file or directory. The daemon")
        assert metrics(renewal)["tmr_certificate_files_usable"] == 0
    told = [one for one in caplog.records if "keeping the former" in one.message]
    assert [one.levelname for one in told] == ["ERROR"], "it is told once"
    path.write_bytes(kept)
    assert not renewal.check(), "they are those in use"
    assert not heard[-1].problem
    assert metrics(renewal)["tmr_certificate_files_usable"] == 1


@pytest.mark.parametrize(("valid", "word"), [((3600, DAY), "begins on"), ((-DAY, -3600), "ended on")])
def test_a_valid_certificate_is_kept_in_place_of_one_that_is_not(
    system: System, files: TlsFiles, valid: tuple[float, float], word: str
) -> None:
    clock = Clock()
    renewal = Renewal(files, server_context(files), wall=clock)
    former = renewal.state.validities
    install(system.authority.issue("upstream", "up1", stem="other", valid=valid), files)
    assert not renewal.check()
    assert f"the certificate of upstream up1 {word}" in renewal.state.problem
    assert "goes on with what it had read before" in renewal.state.problem
    assert renewal.state.validities == former
    if valid[0] > 0:
        clock.now += 7200
        assert renewal.check(), "it is taken once it is valid"
        assert not renewal.state.problem
        assert renewal.state.validities != former


def test_where_nothing_valid_is_lost_the_new_files_are_taken(system: System, files: TlsFiles) -> None:
    install(system.authority.issue("upstream", "up1", stem="ended", valid=(-DAY, -3600)), files)
    renewal = Renewal(files, server_context(files))
    install(system.authority.issue("upstream", "up1", stem="later", valid=(3600, DAY)), files)
    assert renewal.check()
    assert any("begins on" in alarm for alarm in renewal.state.alarms(Clock()()))


def test_ends_are_logged_at_each_stage_and_each_day(
    system: System, files: TlsFiles, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    install(system.authority.issue("upstream", "up1", stem="long", valid=(0, 300 * DAY)), files)
    files = msgspec.structs.replace(files, crl=None)
    clock = Clock()
    clock.now += 300
    begin = clock.now
    renewal = Renewal(files, server_context(files), wall=clock)

    def told(days: float) -> list[str]:
        caplog.clear()
        clock.now = begin + days * DAY
        renewal.check()
        renewal.check()
        return [one.levelname for one in caplog.records if "upstream up1" in one.__dict__["fields"]["alarm"]]

    assert told(200) == []
    assert told(241) == ["WARNING"]
    assert told(242.5) == ["WARNING"]
    assert told(271) == ["WARNING"]
    assert told(294) == ["ERROR"]
    assert metrics(renewal)["tmr_certificate_secondscertificate"] < 7 * DAY
    assert told(301) == ["ERROR"]
    assert metrics(renewal)["tmr_certificate_secondscertificate"] < 0
