# SPDX-License-Identifier: Apache-2.0
"""`tmr` with units, the queue, borrowing, the access list and explanations, as a process."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Tmr
from tests.unit.cli.test_commands import RUN, start, until
from tests.unit.client.peer import Peer, drop_after, problem
from tmr.api.access import AccessList
from tmr.api.sessions import EndedBy, SessionRequest

__all__ = ["start"]  # a fixture

PRODUCT = ("--firm", "6000010", "--product", "201")
ID = "019aa1b2c3d40123456789abcdef0123"
OTHER_ID = "019aa1b2c3d40123456789abcdef4567"


def held(peer: Peer, session: str = ID) -> None:
    asked = SessionRequest(firm_code=6000010, product_code=201, station="cad-07", user="ada")
    peer.state.sessions[session] = asked


# -- list --------------------------------------------------------------------------------------------------


def test_list_with_everything(tmr: Tmr, peer: Peer) -> None:
    item = {
        **{"firm_code": 6000010, "product_code": 201, "tmr_id": 1, "name": "Simulator", "quantity": 5},
        **{"in_use": 2, "exclusive": False, "expiration": None, "constituents": []},
    }
    special = {
        **item,
        "product_code": 202,
        **{"units": 1000, "units_remaining": 988, "feature_map": 41, "customer": "Works 7", "text": "beta"},
        **{"borrow_seconds": 14 * 86400, "borrowed": 1, "user_data": "AP8="},
    }
    peer.state.items = {"items": [item, special], "unavailable": []}
    short = tmr("list", COLUMNS="80").stdout
    assert "988 units; borrow 14 d, 1 out; features 0,3,5" in short
    assert "Works 7" not in short
    told = tmr("list", "-v", COLUMNS="80").stdout
    assert told.startswith(short)
    for line in (
        "Unit Counter  988 of 1000 units left",
        "Borrowing     all seats for up to 14 d; 1 out",
        "Feature Map   bits 0,3,5",
        "Customer      Works 7",
        "User Data     AP8= (Base64)",
        "no special options",
    ):
        assert f"  {line}\n" in told
    assert all(len(line) <= 80 for line in told.splitlines())


# -- run ---------------------------------------------------------------------------------------------------


def test_run_asks_for_all_that_its_options_say(tmr: Tmr, peer: Peer) -> None:
    peer.state.units = 100
    more = ("--features", "0,3,5", "--released", "2026-03-01", "--units", "12", "--instance", "press-3")
    assert tmr(*RUN, *more, "--wait", "--", "true").returncode == 0
    (asked,) = peer.requests("POST", "/v1/sessions")
    found = {name: asked.body[name] for name in ("features", "released", "units", "instance", "wait")}
    assert found == {
        "features": 41,
        "released": "2026-03-01T00:00:00Z",
        "units": 12,
        "instance": "press-3",
        "wait": True,
    }
    assert peer.state.units == 88


def test_run_waits_for_its_turn(peer: Peer, start: Callable[..., subprocess.Popen[str]]) -> None:
    peer.state.others = 5
    process = start(*RUN, "--wait", "--", "echo", "our turn")
    until(lambda: peer.state.queue)
    assert process.stderr is not None
    assert process.stderr.readline() == "tmr: no seat is free; place 1 of 1 in the queue\n"
    peer.state.free()
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "our turn\n", "")
    assert len({seen.key for seen in peer.requests("POST", "/v1/sessions")}) == 1
    assert peer.state.sessions == {}


def test_run_waits_no_longer(tmr: Tmr, peer: Peer) -> None:
    peer.state.others = 5
    answer = tmr(*RUN, "--wait-at-most", "0.3", "--", "echo", "never")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "tmr: no seat is free; place 1 of 1 in the queue\nError: All seats are taken" in answer.stderr
    assert "cad-01" in answer.stderr
    assert peer.state.queue == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_waiting(
    peer: Peer, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    """The place is given up at once, so that it holds nobody up."""
    peer.state.others = 5
    process = start(*RUN, "--wait", "--", "echo", "never")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (128 + number, "", "")
    assert peer.state.queue == {}


def test_warnings_are_told(tmr: Tmr, peer: Peer) -> None:
    peer.state.warnings = ("An emergency licence is in use.",)
    assert tmr(*RUN, "--", "true").stderr == "tmr: An emergency licence is in use.\n"


def test_who_ended_the_session_is_told(peer: Peer, start: Callable[..., subprocess.Popen[str]]) -> None:
    peer.state.ttl = 1
    process = start(*RUN, "--", "sleep", "60")
    until(lambda: peer.state.sessions)
    with peer.state.lock:
        peer.state.end("s-1", EndedBy.OPERATOR, "operator olga")
    assert process.stderr is not None
    told = "tmr: session s-1 on licence 6000010:201 #1 was lost: operator olga ended it\n"
    assert process.stderr.readline() == told


# -- consume -----------------------------------------------------------------------------------------------


def test_consume(tmr: Tmr, peer: Peer) -> None:
    peer.state.units = 100
    answer = tmr("consume", *PRODUCT, "--units", "12")
    assert answer.stdout == "12 units of 6000010:201 #1 were taken; 88 are left.\n"
    document = json.loads(tmr("consume", *PRODUCT, "--units", "1", "--json").stdout)
    assert document == {"licence": "6000010:201 #1", "units": 1, "remaining": 87}
    assert peer.state.sessions == {}, "no seat is kept"


def test_consume_once(tmr: Tmr, peer: Peer) -> None:
    peer.state.units = 100
    once = ("consume", *PRODUCT, "--units", "12", "--once", "job-4711")
    assert tmr(*once).stdout == "12 units of 6000010:201 #1 were taken; 88 are left.\n"
    answer = tmr(*once)
    assert (answer.returncode, answer.stdout) == (0, "The units were taken before, with the key job-4711.\n")
    assert peer.state.units == 88


def test_consume_takes_them_once_though_the_answer_was_lost(tmr: Tmr, peer: Peer) -> None:
    peer.state.units = 100
    peer.faults.append(drop_after)
    assert "88 are left" in tmr("consume", *PRODUCT, "--units", "12").stdout


def test_consume_more_than_there_is(tmr: Tmr, peer: Peer) -> None:
    peer.state.units = 5
    answer = tmr("consume", *PRODUCT, "--units", "12")
    assert answer.returncode == 1
    assert answer.stderr.startswith("Error: Too few units are left\n12 units are asked for, 5 remain\n")
    assert peer.state.units == 5


# -- sessions, end -----------------------------------------------------------------------------------------


def test_sessions_with_a_queue(tmr: Tmr, peer: Peer) -> None:
    held(peer)
    wide = tmr("sessions").stdout
    assert ID in wide
    lines = tmr("sessions", COLUMNS="80").stdout.splitlines()
    assert [line.split()[-1] for line in lines if "cad-07" in line] == [ID[-8:]]
    assert json.loads(tmr("sessions", "--json").stdout)["sessions"][0]["id"] == ID


def test_end_by_the_end_of_its_id(tmr: Tmr, peer: Peer) -> None:
    held(peer)
    held(peer, OTHER_ID)
    answer = tmr("end", ID[-8:])
    assert (answer.returncode, answer.stdout) == (0, f"Session {ID} has ended.\n")
    assert list(peer.state.sessions) == [OTHER_ID]


@pytest.mark.parametrize("wrong", [ID[-7:], ID[:-1], "cdef9999", ""])
def test_end_of_what_is_not_there(tmr: Tmr, peer: Peer, wrong: str) -> None:
    held(peer)
    answer = tmr("end", wrong)
    assert answer.returncode == 1
    assert f"There is no session {wrong}." in answer.stderr
    assert "What to do: Look at `tmr sessions`." in answer.stderr
    assert list(peer.state.sessions) == [ID]


def test_end_of_what_two_have(tmr: Tmr, peer: Peer) -> None:
    held(peer, f"1{ID}")
    held(peer, f"2{ID}")
    answer = tmr("end", ID)
    assert answer.returncode == 2
    assert f"is the end of 2 ids: 1{ID}, 2{ID}. Give more of it." in answer.stderr


# -- borrowing ---------------------------------------------------------------------------------------------


@pytest.fixture
def vendor(config: Path, peer: Peer) -> None:
    key = config.with_name("vendor.pem")
    key.write_bytes(peer.state.lender.vendor_pem)
    config.write_text(config.read_text() + '[vendor_keys]\n6000010 = "vendor.pem"\n')


@pytest.fixture
def away(tmr: Tmr, tmp_path: Path) -> Tmr:
    """The command with a data directory of its own."""
    return lambda *arguments, **more: tmr(*arguments, **{"XDG_DATA_HOME": str(tmp_path / "data"), **more})


def borrow(tmr: Tmr) -> dict[str, str]:
    answer = tmr("borrow", *PRODUCT, "--for", "3d", "--json")
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def test_borrow_run_offline_return(away: Tmr, peer: Peer, vendor: None) -> None:
    made = borrow(away)
    assert Path(made["file"]).stat().st_mode & 0o777 == 0o600
    told = away("borrowed").stdout
    assert told.count(made["id"]) == 2
    peer.stop()
    answer = away("run", "--borrowed", *PRODUCT, "-v", "--features", "0,1", "--", "echo", "works")
    assert (answer.returncode, answer.stdout) == (0, "works\n")
    assert re.match(rf"tmr: licence 6000010:201 #1: borrowing {made['id']}, until 20", answer.stderr)
    offline = away("borrowed", "--patience", "0.2").stdout
    assert made["id"] in offline
    assert "The server does not answer." in offline
    assert away("return", made["id"], "--patience", "0.2").returncode == 3
    assert Path(made["file"]).exists(), "what was not given back is still here"
    peer.start()
    assert away("return", made["id"][-8:]).stdout == f"Borrowing {made['id']} was given back.\n"
    assert peer.state.borrowings == {}
    assert not Path(made["file"]).exists()
    answer = away("run", "--borrowed", *PRODUCT, "--", "echo", "never")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "No licence 6000010:201 is borrowed on this machine" in answer.stderr


def test_borrow_for_people(away: Tmr, peer: Peer) -> None:
    told = away("borrow", *PRODUCT, "--for", "90min").stdout
    assert re.match(r"6000010:201 #1 Editor größer is borrowed until 20\d\d-", told)
    assert "Its file is " in told


def test_a_borrowed_licence_that_lacks_a_module(away: Tmr, vendor: None) -> None:
    borrow(away)
    answer = away("run", "--borrowed", *PRODUCT, "--features", "31", "--", "echo", "never")
    assert (answer.returncode, answer.stdout) == (1, "")


def test_a_borrowed_licence_without_the_vendors_key(away: Tmr) -> None:
    borrow(away)
    answer = away("run", "--borrowed", *PRODUCT, "--", "echo", "never")
    assert answer.returncode == 2
    assert "client.toml names no public key of the vendor 6000010" in answer.stderr
    assert 'Add `6000010 = "FILE"` to its table [vendor_keys]' in answer.stderr


def test_a_file_that_could_not_be_fetched_is_fetched_again(away: Tmr, peer: Peer) -> None:
    peer.faults.extend([lambda _: True, *[problem("borrow-not-signed")] * 100])  # it is asked for again
    answer = away("borrow", *PRODUCT, "--for", "3d")
    peer.faults.clear()
    assert answer.returncode == 1
    assert "The seat is borrowed, but its file could not be fetched or kept" in answer.stderr
    (borrowing,) = peer.state.borrowings
    assert f"`tmr borrow --fetch {borrowing}` tries again" in re.sub(r"\s+", " ", answer.stderr)
    answer = away("borrow", "--fetch", borrowing[-8:])
    assert (answer.returncode, answer.stderr) == (0, "")
    assert borrowing in away("borrowed").stdout


def test_borrowed_for_too_long(away: Tmr, peer: Peer) -> None:
    answer = away("borrow", *PRODUCT, "--for", "8d")
    assert answer.returncode == 1
    assert answer.stderr.startswith("Error: The licence cannot be borrowed like this\n")
    assert "cad-01" in answer.stderr


@pytest.mark.parametrize("command", [("return", "cdef9999"), ("borrow", "--fetch", "cdef9999")])
def test_a_borrowing_that_is_not_there(away: Tmr, command: tuple[str, ...]) -> None:
    answer = away(*command)
    assert answer.returncode == 1
    assert "There is no borrowing cdef9999: it has ended or never was." in answer.stderr
    assert "`tmr borrowed`" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("borrow", *PRODUCT), "--firm, --product and --for are needed, or --fetch ID"),
        (("borrow", *PRODUCT, "--for", "3 days"), "'3 days': write a number and s, min, h, d or w"),
        (("borrow", "--fetch", ID, *PRODUCT), "leave the other options out"),
        (("run", *PRODUCT, "--features", "32", "true"), "'32': write bits from 0 to 31"),
        (("run", *PRODUCT, "--released", "March", "true"), "'March': write the day as YYYY-MM-DD"),
        (("run", *PRODUCT, "--wait-at-most", "-1", "true"), "is not in the range x>=0"),
        (("consume", *PRODUCT), "Missing option '--units'"),
        (("consume", *PRODUCT, "--units", "0"), "0 is not in the range"),
        (("consume", *PRODUCT, "--units", "1", "--once", "short"), "'short': write 8 to 128 of A-Z"),
        (("end",), "Missing argument 'ID'"),
    ],
)
def test_wrong_usage(away: Tmr, peer: Peer, arguments: tuple[str, ...], told: str) -> None:
    answer = away(*arguments)
    assert answer.returncode == 2
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr
    assert peer.seen == []


# -- access ------------------------------------------------------------------------------------------------


GOOD = """
[[rules]]
name = "north"
effect = "reserve"
seats = 3
firm_code = 6000010
who = { networks = ["10.1.0.0/16"], users = ["a*"] }
"""


def test_access_set_show_change(tmr: Tmr, peer: Peer, tmp_path: Path) -> None:
    assert tmr("access", "show").stdout == (
        "The access list is empty (version 0): everyone may use every licence.\n"
    )
    file = tmp_path / "access.toml"
    file.write_text(GOOD)
    assert tmr("access", "check", str(file)).stdout.endswith("nothing is wrong with its 1 rules.\n")
    twice = tmp_path / "twice.toml"
    twice.write_text(GOOD + GOOD)
    assert "another rule has this name" in tmr("access", "check", str(twice)).stderr
    assert peer.state.access.version == 0, "checking changes nothing"
    assert tmr("access", "set", str(file)).stdout == "The access list is in force: version 1, 1 rules.\n"
    assert "north  reserve 3  6000010:*  users a*; networks 10.1.0.0/16" in tmr("access", "show").stdout
    shown = tmr("access", "show", "--json").stdout
    again = tmp_path / "again.json"
    again.write_text(shown)
    assert tmr("access", "set", str(again)).returncode == 0
    assert peer.state.access == AccessList.model_validate({**json.loads(shown), "version": 2})
    answer = tmr("access", "set", str(again))
    assert answer.returncode == 1, "somebody else made a change since"
    assert "The access list was changed meanwhile" in answer.stderr


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.toml", "[[rules]\n", "not valid TOML"),
        ("a.toml", "x = " + "[" * 5000, "nested too deeply"),
        ("a.json", "{", "it is no JSON from line 1, column 2 on"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", "[1]", "the file: Input should be"),
        ("a.toml", 'rule = "x"\n', "rule: Extra inputs are not permitted"),
        ("a.toml", GOOD + GOOD.replace("reserve", "keep"), "rule 2, effect: Input should be 'allow', 'deny'"),
        ("a.toml", GOOD.replace("users", "user"), "rule 1, who, user: Extra inputs are not permitted"),
        ("a.toml", GOOD.replace("3", '"3"'), "rule 1, seats: Input should be a valid integer"),
        ("a.toml", GOOD + GOOD, "rule 'north': another rule has this name"),
    ],
)
def test_mistakes_in_an_access_list(
    tmr: Tmr, peer: Peer, tmp_path: Path, name: str, text: str, told: str
) -> None:
    """What is wrong, where, and what to do about it; nothing is changed."""
    file = tmp_path / name
    file.write_text(text)
    answer = tmr("access", "set", str(file))
    assert answer.returncode in (1, 2)
    assert told in answer.stderr
    assert "What to do: " in answer.stderr
    assert "Traceback" not in answer.stderr
    assert peer.state.access.version == 0


def test_an_access_list_that_cannot_be_read(tmr: Tmr, tmp_path: Path) -> None:
    assert "cannot be read (No such file" in tmr("access", "check", str(tmp_path / "no.toml")).stderr
    (tmp_path / "latin.toml").write_bytes(b'x = "\xe4"')
    assert "byte 5 is not UTF-8" in tmr("access", "check", str(tmp_path / "latin.toml")).stderr


# -- explain -----------------------------------------------------------------------------------------------


def test_explain(tmr: Tmr, peer: Peer) -> None:
    who = ("--user", "ada", "--station", "cad-07")
    answer = tmr("explain", *PRODUCT, *who)
    assert answer.returncode == 0
    assert answer.stdout.startswith("6000010:201 can be used, user-limit, by ada at cad-07\n")
    assert "  it would be given\n" in answer.stdout
    peer.state.others = 5
    told = tmr("explain", *PRODUCT, *who, "--borrow", "3d", COLUMNS="80").stdout
    assert told.startswith(
        "6000010:201 cannot be borrowed, by ada at cad-07\n5 of 5 seats are in use (no-more-"
    )
    assert "  not given: 5 of 5 seats are in use\n" in told
    assert "ada      cad-01   user-limit" in told
    asked = peer.requests("POST", "/v1/explain")[-1].body
    assert (asked["borrow_seconds"], asked["user"]) == (3 * 86400, "ada")
    document = json.loads(tmr("explain", *PRODUCT, "--json").stdout)
    assert document["licences"][0]["problem"] == "no-more-licences"


def test_explain_for_somebody_else_is_for_operators(tmr: Tmr, peer: Peer) -> None:
    peer.always = problem("wrong-role")
    answer = tmr("explain", *PRODUCT, "--client", "bob", "--address", "10.1.2.3")
    assert answer.returncode == 1
    body = peer.seen[-1].body
    assert (body["client"], body["address"]) == ("bob", "10.1.2.3")
