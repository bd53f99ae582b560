# SPDX-License-Identifier: Apache-2.0
"""`tmr tracking`: what is exported, what is believed, and what it adds up to."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.record import FIRM, KEYS, exported, lines, public_keys
from tests.unit.cli.conftest import Tmr
from tests.unit.client.peer import Fault, Peer, _Handler, drop
from tests.unit.client.peer import problem as refusal
from tmr.cli.usage import Usage
from tmr.ledger import Line
from tmr.ledger.record import Event
from tmr.licensing import Container, make_request, public_key_to_pem, raw_public_key

TRUTH = lines(12)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "record.jsonl"
    path.write_bytes(b"".join(exported(TRUTH)))
    return path


@pytest.fixture
def requests(tmp_path: Path) -> list[str]:
    """Options that name the request files of the three containers."""
    options = []
    for number, key in enumerate(KEYS, 1):
        container = Container.create("lab-0123456789abcdef", raw_public_key(key))
        path = tmp_path / f"up{number}.req"
        path.write_bytes(make_request(container, FIRM, key))
        options += ["--request", str(path)]
    return options


def serving(body: bytes, kind: str = "application/jsonl") -> Fault:
    def fault(handler: _Handler) -> bool:
        handler.answer_bytes(200, body, kind, None)
        return False

    return fault


def test_export_says_as_json_what_it_wrote(tmr: Tmr, peer: Peer, tmp_path: Path) -> None:
    peer.always = serving(b"".join(exported(TRUTH)))
    out = tmp_path / "out.jsonl"
    done = tmr("tracking", "export", "--firm", str(FIRM), "--output", str(out), "--json")
    told = json.loads(done.stdout)
    assert (told["file"], told["lines"], told["span"]["last_seq"]) == (str(out), 12, 12)
    assert out.read_bytes() == b"".join(exported(TRUTH))
    unnamed = tmr("tracking", "export", "--firm", str(FIRM), "--json")
    assert (unnamed.returncode, "give --output FILE" in unnamed.stderr) == (2, True)


def test_verify_believes_what_two_known_containers_signed(tmr: Tmr, file: Path, requests: list[str]) -> None:
    done = tmr("tracking", "verify", str(file), *requests)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Verified: 2 containers vouch for it." in done.stdout
    assert "lines            1 to 12, the last of 1970-01-01T00:00:12.000+00:00" in done.stdout
    assert "chain            unbroken" in done.stdout
    (first, second) = public_keys(1, 2).values()
    pem = file.with_name("key.pem")
    pem.write_bytes(public_key_to_pem(second))
    by_keys = ("--container-key", first.hex(), "--container-key", str(pem))
    assert tmr("tracking", "verify", str(file), *by_keys).returncode == 0


def test_verify_says_who_does_not_count(tmr: Tmr, file: Path, requests: list[str]) -> None:
    done = tmr("tracking", "verify", str(file), *requests[:2])
    assert done.returncode == 1
    assert "NOT COUNTED: the key of this container is not known" in done.stdout
    assert "1 of the containers known vouch for" in done.stderr
    unasked = tmr("tracking", "verify", str(file))
    assert (unasked.returncode, "--chain-only" in unasked.stderr) == (2, True)
    chain = tmr("tracking", "verify", str(file), "--chain-only")
    assert chain.returncode == 0
    assert "this proves no origin" in chain.stdout
    bad = tmr("tracking", "verify", str(file), "--container-key", "nonsense")
    assert bad.returncode == 1
    assert "neither 64 hexadecimal digits nor a file" in bad.stderr


def test_verify_says_where_it_breaks(tmr: Tmr, file: Path, requests: list[str]) -> None:
    content = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*content[:4], content[4].replace(b"alice", b"carol"), *content[5:]]))
    done = tmr("tracking", "verify", str(file), *requests)
    assert done.returncode == 1
    assert f"{file}, line 5: the hash of line 4 of the record does not hold" in done.stderr
    assert "Remedy: take the file again" in done.stderr
    assert "Traceback" not in done.stderr


def test_export_writes_what_came_once_all_of_it_came(tmr: Tmr, peer: Peer, tmp_path: Path) -> None:
    good = b"".join(exported(TRUTH))
    peer.faults.extend([drop, serving(good)])
    out = tmp_path / "out.jsonl"
    export = ("tracking", "export", "--firm", str(FIRM), "-o", str(out))
    done = tmr(*export, "--from", "2026-03-01T00:00:00+01:00")
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == good
    assert "12 lines" in done.stderr
    (seen,) = {seen.path for seen in peer.seen}
    assert seen == f"/v1/tracking?firm_code={FIRM}&format=jsonl&from=2026-02-28T23%3A00%3A00%2B00%3A00"
    again = tmr(*export)
    assert (again.returncode, "exists. Choose another name." in again.stderr) == (1, True)
    peer.always = serving(good)
    assert tmr("tracking", "export", "--firm", str(FIRM)).stdout.encode() == good
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_export_keeps_nothing_of_a_record_that_breaks(tmr: Tmr, peer: Peer, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    peer.always = serving(b"".join(exported(TRUTH)[:-1]))
    done = tmr("tracking", "export", "--firm", str(FIRM), "-o", str(out))
    assert done.returncode == 1
    assert "the file is cut off" in done.stderr
    assert not out.exists()
    peer.always = refusal("wrong-role")
    done = tmr("tracking", "export", "--firm", str(FIRM), "-o", str(out))
    assert done.returncode == 1
    assert "operator" in done.stderr
    assert tmr("tracking", "export", "--firm", str(FIRM), "--from", "soon").returncode == 2


def test_show_adds_up(tmr: Tmr, peer: Peer, file: Path) -> None:
    told = tmr("tracking", "show", str(file), "--lines", "3").stdout
    assert told.startswith("12 lines, the last 3 of them\n")
    assert " 12  1970-01-01 00:00:12  released  201 #1   alice" in told
    peer.always = serving(file.read_bytes())
    document = json.loads(tmr("tracking", "show", "--firm", str(FIRM), "--json").stdout)
    (product,) = document["products"]
    assert (product["product_code"], product["grants"], product["peak"]) == (201, 6, 1)
    assert [line["seq"] for line in document["lines"]] == list(range(1, 13))
    assert tmr("tracking", "show").returncode == 2
    assert tmr("tracking", "show", str(file), "--firm", str(FIRM)).returncode == 2


def peak(*events: tuple[Event, str, str], station: str = "cad-07") -> int:
    usage = Usage()
    for seq, (event, session, mode) in enumerate(events, 1):
        usage.add(Line(FIRM, seq, seq, seq, event, 201, 1, 0, session, "alice", station=station, mode=mode))
    (product,) = usage.products()
    return product.peak


def test_the_peak_counts_seats_as_the_ledger_does() -> None:
    one, two, three = "user-limit", "no-user-limit", "station-share"
    assert (
        peak(("granted", "a", one), ("granted", "b", one), ("released", "a", one), ("granted", "c", one)) == 2
    )
    assert peak(("granted", "a", two), ("granted", "b", two)) == 0
    assert peak(("granted", "a", three), ("granted", "b", three), ("released", "a", three)) == 1
    assert peak(("borrowed", "a", ""), ("emergency", "b", one), ("returned", "a", "")) == 2
    earlier: Sequence[tuple[Event, str, str]] = (
        ("granted", "b", one),
        ("released", "a", one),
        ("expired", "c", one),
    )
    assert peak(*earlier) == 3, "a and c began before the record does"
    assert peak(("released", "a", one), ("granted", "b", one)) == 1


def test_denials_and_units_are_added_up() -> None:
    usage = Usage()
    usage.add(Line(FIRM, 1, 1, 1, "denied", 7, count=3, reason="no-more-licences"))
    usage.add(Line(FIRM, 2, 2, 2, "denied", 7, reason="access-denied"))
    usage.add(Line(FIRM, 3, 3, 3, "units", 8, units=5))
    usage.add(Line(FIRM, 4, 4, 4, "units", 8, units=2))
    seven, eight = usage.products()
    assert (seven.denials, dict(seven.reasons)) == (4, {"no-more-licences": 3, "access-denied": 1})
    assert eight.units == 7
