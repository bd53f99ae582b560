# SPDX-License-Identifier: Apache-2.0
"""`tmr vendor` as a vendor uses it: real files, real processes, real kills."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit.licensing.system import ACT_ID, FIRM, containers, key_of, private_key
from tmr.cli.vendor.commands import vendor
from tmr.licensing import (
    Container,
    LicenceKey,
    activate,
    make_request,
    open_update,
    public_key_from_pem,
    raw_public_key,
)

COMMAND = [sys.executable, "-c", "from tmr.cli.vendor.commands import vendor; vendor()"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(vendor, [str(argument) for argument in arguments])


def fails(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "vendor"
    result = run("init", "--firm", FIRM, "--dir", directory)
    assert result.exit_code == 0, result.output
    return directory


def public_key(home: Path) -> bytes:
    return public_key_from_pem((home / f"{FIRM}.pem").read_bytes())


def request_files(where: Path, system: list[Container]) -> list[str]:
    """The options that name a new request file of each container."""
    options: list[str] = []
    where.mkdir(exist_ok=True)
    for container in system:
        path = where / f"{container.serial}.request"
        path.write_bytes(make_request(container, FIRM, key_of(container)))
        options += ["--request", str(path)]
    return options


def licence(home: Path, requests: list[str], out: Path, product: int = 1001) -> list[object]:
    return ["issue", "--dir", home, *requests, "--product", product, "--quantity", 5, "--out", out]


def test_from_key_to_activation(home: Path, tmp_path: Path) -> None:
    requests = request_files(tmp_path, containers())
    out = tmp_path / "first.update"
    result = run(*licence(home, requests, out), "--expires", "2999-12-31", "--name", "Editor")
    assert result.exit_code == 0, result.output
    assert "6000010:1001 TMR-Id 1, quantity 5, expires 3000-01-01T00:00:00+00:00, Editor" in result.output
    system = [activate(c, out.read_bytes(), {FIRM: public_key(home)}) for c in containers()]
    assert len({container.items for container in system}) == 1
    assert system[0].items[0].quantity == 5

    requests = request_files(tmp_path, system)
    second = tmp_path / "second.update"
    options = ["--product", 7, "--quantity", "unlimited", "--out", second]
    result = run("issue", "--dir", home, *requests, *options)
    assert "TMR-Id 2, quantity unlimited, never expires" in result.output
    again = [activate(c, second.read_bytes(), {FIRM: public_key(home)}) for c in system]
    assert {item.key for item in again[0].items} == {LicenceKey(FIRM, 1001, 1), LicenceKey(FIRM, 7, 2)}


def test_the_container_that_made_no_request_is_named(home: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.update"
    assert run(*licence(home, request_files(tmp_path, containers()), first)).exit_code == 0
    *asking, away = [activate(c, first.read_bytes(), {FIRM: public_key(home)}) for c in containers()]
    second = tmp_path / "second.update"
    result = run(*licence(home, request_files(tmp_path / "two", asking), second))
    assert result.exit_code == 0, result.output
    assert f"{away.serial} made no request" in result.output
    assert "once its upstream is back" in result.output
    assert (
        len({activate(c, second.read_bytes(), {FIRM: public_key(home)}).items for c in (away, *asking)}) == 1
    )


def test_key_is_for_its_owner_alone(home: Path) -> None:
    key = home / f"{FIRM}.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    key.chmod(0o640)
    assert "chmod 600" in fails(*licence(home, ["--request", str(key)] * 3, home / "out"))


def test_a_key_is_never_replaced(home: Path) -> None:
    before = (home / f"{FIRM}.key").read_bytes()
    assert "another directory" in fails("init", "--firm", FIRM, "--dir", home)
    assert "another directory" in fails("init", "--firm", FIRM + 1, "--dir", home)
    assert (home / f"{FIRM}.key").read_bytes() == before


def test_an_init_that_was_cut_off_is_finished(home: Path) -> None:
    before = public_key(home)
    (home / f"{FIRM}.pem").unlink()
    assert run("init", "--firm", FIRM, "--dir", home).exit_code == 0
    assert public_key(home) == before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--quantity", "0"], "unlimited"),
        (["--quantity", "-3"], "unlimited"),
        (["--quantity", "many"], "unlimited"),
        (["--quantity", "9" * 5000], "unlimited"),
        (["--expires", "2020-01-01"], "past"),
        (["--expires", "9999-12-31"], "9998"),
        (["--expires", "31.12.2030"], "YYYY-MM-DD"),
        (["--product", "-1"], "whole number"),
        (["--product", str(2**32)], "whole number"),
        (["--name", "x" * 257], "Shorten"),
        (["--name", "a\x1b[2Jb"], "control character"),
    ],
)
def test_what_is_refused_spends_nothing(home: Path, tmp_path: Path, options: list[str], told: str) -> None:
    out = tmp_path / "out"
    assert told in fails(*licence(home, request_files(tmp_path, containers()), out), *options)
    assert list((home / "issued").iterdir()) == []
    assert not out.exists()


def test_requests_that_do_not_fit(home: Path, tmp_path: Path) -> None:
    requests = request_files(tmp_path, containers())
    out = tmp_path / "out"
    assert "three upstreams" in fails(*licence(home, requests[:4], out))
    assert "same container" in fails(*licence(home, [*requests[:4], *requests[:2]], out))
    spoilt = tmp_path / "spoilt.request"
    spoilt.write_bytes(Path(requests[1]).read_bytes()[:-9])
    assert "spoilt.request" in fails(*licence(home, [*requests[2:], "--request", str(spoilt)], out))
    assert "no request file" in fails(
        *licence(home, [*requests[2:], "--request", str(home / f"{FIRM}.pem")], out)
    )
    assert list((home / "issued").iterdir()) == []


def test_out_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    requests = request_files(tmp_path, containers())
    out = tmp_path / "out"
    out.write_text("precious")
    assert "another name" in fails(*licence(home, requests, out))
    assert out.read_text() == "precious"
    assert "no directory" in fails(*licence(home, requests, tmp_path / "nowhere" / "out"))
    assert list((home / "issued").iterdir()) == []


def test_pending_update_is_told_with_its_place(home: Path, tmp_path: Path) -> None:
    requests = request_files(tmp_path, containers())
    assert run(*licence(home, requests, tmp_path / "one")).exit_code == 0
    message = fails(*licence(home, requests, tmp_path / "two"))
    assert "kept in" in message
    assert (home / "issued" / "000001.json").read_bytes() == (tmp_path / "one").read_bytes()


def test_a_lost_or_spoilt_record_stops_issuing(home: Path, tmp_path: Path) -> None:
    trusted = {FIRM: public_key(home)}
    system = containers()
    for name in ("one", "two"):
        assert run(*licence(home, request_files(tmp_path, system), tmp_path / name)).exit_code == 0
        system = [activate(c, (tmp_path / name).read_bytes(), trusted) for c in system]
    requests = request_files(tmp_path, system)
    first = home / "issued" / "000001.json"
    kept = first.read_bytes()
    first.write_bytes(kept[:-20])
    assert "000001.json is spoilt" in fails(*licence(home, requests, tmp_path / "three"))
    first.unlink()
    assert "lost 000001.json" in fails(*licence(home, requests, tmp_path / "three"))
    first.write_bytes(kept)
    (home / "issued" / "000002.json").unlink()
    assert "latest record" in fails(*licence(home, requests, tmp_path / "three"))


def test_reissue_for_a_new_container(home: Path, tmp_path: Path) -> None:
    trusted = {FIRM: public_key(home)}
    assert run(*licence(home, request_files(tmp_path, containers()), tmp_path / "one")).exit_code == 0
    system = [activate(c, (tmp_path / "one").read_bytes(), trusted) for c in containers()]
    system[2] = Container.create(ACT_ID, raw_public_key(private_key(20)))
    out = tmp_path / "again"
    result = run("reissue", "--dir", home, *request_files(tmp_path, system), "--out", out)
    assert result.exit_code == 0, result.output
    assert len({activate(c, out.read_bytes(), trusted).items for c in system}) == 1


def test_reissue_after_all_containers_were_lost(home: Path, tmp_path: Path) -> None:
    trusted = {FIRM: public_key(home)}
    assert run(*licence(home, request_files(tmp_path, containers()), tmp_path / "one")).exit_code == 0
    system = [Container.create(ACT_ID, raw_public_key(private_key(n))) for n in (20, 24, 28)]
    out = tmp_path / "again"
    asked = ("reissue", "--dir", home, *request_files(tmp_path, system), "--out", out)
    assert "--former-lost" in fails(*asked)
    result = run(*asked, "--former-lost")
    assert result.exit_code == 0, result.output
    assert len({activate(c, out.read_bytes(), trusted).items for c in system}) == 1
    assert "issue anew" in fails(*asked[:-1], tmp_path / "other", "--former-lost", "--network")


def test_show(home: Path, tmp_path: Path) -> None:
    requests = request_files(tmp_path, containers())
    shown = run("show", requests[1])
    assert shown.exit_code == 0
    assert "valid, by this container" in shown.output
    assert containers()[0].serial in shown.output

    update = tmp_path / "update"
    assert run(*licence(home, requests, update)).exit_code == 0
    assert "NOT VERIFIED" in run("show", update).output
    verified = run("show", update, "--key", home / f"{FIRM}.pem")
    assert verified.exit_code == 0
    assert "valid, by the key" in verified.output
    assert "6000010:1001 TMR-Id 1, quantity 5, never expires" in verified.output

    other = tmp_path / "other"
    assert run("init", "--firm", FIRM, "--dir", other).exit_code == 0
    assert "not signed" in fails("show", update, "--key", other / f"{FIRM}.pem")
    assert "no licence file" in fails("show", home / f"{FIRM}.pem")
    assert "no Ed25519" in fails("show", update, "--key", update)


def test_no_private_key_is_ever_printed(home: Path, tmp_path: Path) -> None:
    key = (home / f"{FIRM}.key").read_text()
    body = key.splitlines()[1]
    outputs = [run(*licence(home, request_files(tmp_path, containers()), tmp_path / "out")).output]
    outputs.append(fails("show", home / f"{FIRM}.key"))
    (home / f"{FIRM}.key").write_text(key[:-40])
    outputs.append(fails(*licence(home, request_files(tmp_path, containers()), tmp_path / "out2")))
    assert all(body not in output for output in outputs)


def many_systems(where: Path, count: int, first: int = 0) -> list[list[str]]:
    """Request files of that many new systems."""
    found = []
    for number in range(first, first + count):
        directory = where / f"system{number}"
        directory.mkdir()
        options: list[str] = []
        for member in range(3):
            key = Ed25519PrivateKey.generate()
            container = Container.create(f"system-{number}", raw_public_key(key))
            path = directory / str(member)
            path.write_bytes(make_request(container, FIRM, key))
            options += ["--request", str(path)]
        found.append(options)
    return found


def started(arguments: list[object]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def tmr_ids_on_record(home: Path) -> list[int | None]:
    key = public_key(home)
    files = sorted((home / "issued").glob("*.json"))
    return [open_update(file.read_bytes(), key).parts[0].items[0].tmr_id for file in files]


def test_many_at_once_never_get_the_same_tmr_id(home: Path, tmp_path: Path) -> None:
    systems = many_systems(tmp_path, 8)
    processes = [started(licence(home, s, tmp_path / f"out{n}")) for n, s in enumerate(systems)]
    assert [process.wait(60) for process in processes] == [0] * len(systems)
    assert tmr_ids_on_record(home) == list(range(1, len(systems) + 1))


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_killed_at_any_moment_never_gives_a_tmr_id_twice(home: Path, tmp_path: Path) -> None:
    chance = random.Random(7)
    begun = time.monotonic()
    systems = many_systems(tmp_path, 13)
    assert started(licence(home, systems[0], tmp_path / "out0")).wait(60) == 0
    takes = time.monotonic() - begun
    for number, system in enumerate(systems[1:], start=1):
        process = started(licence(home, system, tmp_path / f"out{number}"))
        time.sleep(takes * chance.uniform(0.5, 1.1))  # the moment of the kill, not a wait for something
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    on_record = tmr_ids_on_record(home)
    assert on_record == list(range(1, len(on_record) + 1))
    recorded = {file.read_bytes() for file in (home / "issued").glob("*.json")}
    written = [file.read_bytes() for file in tmp_path.glob("out*")]
    assert set(written) <= recorded
    assert len(set(written)) == len(written)
    # and the next one goes on after what the kills left behind
    (last,) = many_systems(tmp_path, 1, len(systems))
    assert run(*licence(home, last, tmp_path / "final")).exit_code == 0
    assert tmr_ids_on_record(home) == [*on_record, len(on_record) + 1]
