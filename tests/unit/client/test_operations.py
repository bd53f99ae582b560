# SPDX-License-Identifier: Apache-2.0
"""Requests and answers as they go over the wire."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.documents import problem_answer
from tmr.api.errors import BadAnswer, BadRequest
from tmr.api.fields import FIRM_CODE_MIN, AccessMode
from tmr.api.licences import ConstituentState
from tmr.api.problems import PROBLEMS, problem, to_error
from tmr.api.sessions import SessionRequest
from tmr.client import _operations
from tmr.client._operations import Answer, new_key, problem_of
from tmr.client._session import default_request, fit

ASKED = SessionRequest(firm_code=6000010, product_code=201, station="cad-07")


def test_a_request_for_a_session() -> None:
    request = _operations.open_session(ASKED, "key-12345").request
    assert (request.method, request.path, request.repeatable) == ("POST", "/v1/sessions", True)
    assert request.headers["Idempotency-Key"] == "key-12345"
    # what is not asked for is not sent: a twin of an older version would not know it
    assert json.loads(request.body) == {"firm_code": 6000010, "product_code": 201, "station": "cad-07"}


@pytest.mark.parametrize("key", ["", "short", "with spaces", "x" * 129, "umläut-key", "line\nbreak"])
def test_keys_that_no_server_takes(key: str) -> None:
    with pytest.raises(ValueError, match="no idempotency key"):
        _operations.open_session(ASKED, key)


def test_keys_are_new_ordered_and_well_formed() -> None:
    keys = [new_key(1_700_000_000_000 + n) for n in range(100)]
    assert len(set(keys)) == 100
    assert keys == sorted(keys)
    _operations.open_session(ASKED, keys[0])
    assert len({new_key(5) for _ in range(100)}) == 100


@pytest.mark.parametrize("name", ["../../v1/status", "a/b", "a?b#c", "s 1", "%2e"])
def test_names_stay_one_part_of_the_path(name: str) -> None:
    for request in (_operations.heartbeat(name), _operations.release(name), _operations.items(name)):
        assert request.request.path.count("/") in (3, 4)
        assert not set(request.request.path) & set("?# ")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"firm_code": FIRM_CODE_MIN - 1}, "firm_code: Input should be greater than or equal to 6000000"),
        ({"firm_code": 2**32}, "firm_code: Input should be less than or equal to 4294967295"),
        ({"firm_code": "6000010"}, "firm_code: Input should be a valid integer"),
        ({"firm_code": True}, "firm_code: Input should be a valid integer"),
        ({"product_code": -1}, "product_code: "),
        ({"tmr_id": 0}, "tmr_id: "),
        ({"ttl": 4}, "ttl: Input should be greater than or equal to 5"),
        ({"ttl": 3601}, "ttl: "),
        ({"access_mode": "shared"}, "access_mode: Input should be 'user-limit'"),
        ({"station": ""}, "station: "),
        ({"station": "x" * 256}, "station: "),
        ({"user": "a\x1b[2J"}, "user: "),
        ({"user": "abc\n"}, "user: "),
        ({"user": "\u202egnp.exe"}, "user: "),
        ({"seats": 2}, "seats: Extra inputs are not permitted"),
    ],
)
def test_limits_of_a_request(fields: dict[str, object], told: str) -> None:
    good = {"firm_code": 6000010, "product_code": 201, "station": "cad-07"}
    with pytest.raises(BadRequest) as caught:
        _operations.session_request(**{**good, **fields})
    assert told in caught.value.message
    assert caught.value.problem.slug == "bad-request"


@given(text=st.text())
def test_whatever_this_machine_is_called_can_be_sent(text: str) -> None:
    request = default_request(
        firm_code=6000010,
        product_code=1,
        tmr_id=None,
        access_mode=AccessMode.EXCLUSIVE,
        ttl=60,
        station=fit(text) or "x",
        user=fit(text),
        process=None,
    )
    request.model_dump_json()


def test_what_is_not_said_is_filled_in() -> None:
    request = default_request(
        firm_code=6000010,
        product_code=1,
        tmr_id=None,
        access_mode="exclusive",
        ttl=60,
        station=None,
        user="",
        process=None,
    )
    assert request.station
    assert request.user == ""
    assert request.process.endswith("]")


@given(status=st.integers(100, 599), body=st.binary(max_size=300))
def test_no_answer_whatever_raises_anything_odd(status: int, body: bytes) -> None:
    problem = problem_of(Answer(status, body))
    assert (problem is None) == (200 <= status < 300)
    if problem is not None:
        str(to_error(problem))
    else:
        with pytest.raises(BadAnswer):
            _operations.status().read(Answer(status, body))


def test_a_problem_with_all_its_members() -> None:
    answer = problem_answer(
        "licence-unavailable",
        constituents=[{"upstream": "up1", "container": "130-1", "state": "missing", "detail": "none"}],
        asked={"firm_code": 6000010},
        vip=["10.20.0.100"],
        news="of a later version",
    )
    found = problem_of(answer)
    assert found is not None
    assert found.slug == "licence-unavailable"
    assert found.constituents[0].state is ConstituentState.MISSING
    assert found.vip == ("10.20.0.100",)


def test_members_of_a_later_version_do_not_hide_the_problem() -> None:
    answer = problem_answer("no-more-licences", constituents=[{"upstream": "up1", "state": "borrowed"}])
    found = problem_of(answer)
    assert found is not None
    assert (found.slug, found.code, found.constituents) == ("no-more-licences", 212, ())


def test_an_answer_may_have_members_of_a_later_version() -> None:
    answer = Answer(200, b'{"id": "s-1", "ttl": 60, "epoch": 7, "mood": "good"}')
    assert _operations.heartbeat("s-1").read(answer).ttl == 60


def test_a_bad_answer_names_the_place() -> None:
    with pytest.raises(BadAnswer, match="not the expected Heartbeat: ttl: Input should be a valid integer"):
        _operations.heartbeat("s-1").read(Answer(200, b'{"id": "s-1", "ttl": "long", "epoch": 7}'))


def test_the_table_of_problems() -> None:
    numbers = {p.slug: p.code for p in PROBLEMS.values() if p.code is not None}
    assert numbers == {
        "entry-not-found": 200,
        "no-more-licences": 212,
        "exclusive-conflict": 213,
        "access-denied": 231,
    }
    for kind in PROBLEMS.values():
        assert kind.remedy.endswith(".")
        assert not kind.title.endswith(".")
        assert kind.passing == (kind.status == 503 or kind.slug in ("twin-not-ready", "borrow-not-signed"))
        built = problem(kind.slug, "why")
        assert (built.slug, built.status, built.remedy) == (kind.slug, kind.status, kind.remedy)
        assert type(to_error(built)) is kind.error


def test_errors_read_as_sentences() -> None:
    error = to_error(problem("no-more-licences", "5 of 5 seats are in use."))
    assert str(error) == "5 of 5 seats are in use. Wait until one of the holders is done, or ask one of them."
