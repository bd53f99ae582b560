# SPDX-License-Identifier: Apache-2.0
"""Retries: the next time, the next address, and the end; as tables, and as a walk through time."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.documents import problem_answer
from tmr.api.errors import (
    LicenceUnavailable,
    NoMoreLicences,
    NoQuorum,
    NoService,
    NotActive,
    Overloaded,
    Refused,
    TmrError,
    Untrusted,
)
from tmr.api.problems import PROBLEMS
from tmr.client._operations import Answer, Request
from tmr.client._retry import Call, Done, Failure, FailureKind, Policy, Send, Wait, decide

POLICY = Policy()
GET = Request("GET", "/v1/containers")
ONCE = Request("POST", "/v1/operator/switchover", repeatable=False)
VIP, TWINS = ("vip",), ("one", "two")
SILENT = Failure(FailureKind.NOTHING, "no connection within 0.5 s")
BROKEN = Failure(FailureKind.BROKEN, "the connection broke")


@pytest.mark.parametrize(
    ("heard", "circumstances", "pause"),
    [
        (FailureKind.NOTHING, {"failures": 1, "elapsed": 0.5}, 0.0),
        (FailureKind.BROKEN, {"failures": 1, "elapsed": 0.0}, 0.0),
        (FailureKind.NOT_YET, {"failures": 1, "elapsed": 0.0}, 0.025),
        (FailureKind.REFUSED, {"failures": 1, "elapsed": 0.0, "refused_for": 0.0}, 0.025),
        (FailureKind.NOTHING, {"failures": 2, "elapsed": 1.0}, 0.05),
        (FailureKind.NOTHING, {"failures": 3, "elapsed": 1.0}, 0.1),
        (FailureKind.BROKEN, {"failures": 5, "elapsed": 1.0}, 0.25),
        (FailureKind.NOT_YET, {"failures": 99, "elapsed": 1.0}, 0.25),
        (FailureKind.REFUSED, {"failures": 99, "elapsed": 1.0, "refused_for": 1.0}, 1.0),
        (FailureKind.NOTHING, {"failures": 5000, "elapsed": 1.0}, 0.25),
        # what the server asks for, within limits; a failover is quicker than any server thinks
        (FailureKind.REFUSED, {"failures": 1, "elapsed": 0.0, "refused_for": 0.0, "retry_after": 1.0}, 1.0),
        (FailureKind.REFUSED, {"failures": 1, "elapsed": 0.0, "refused_for": 0.0, "retry_after": 600.0}, 1.0),
        (FailureKind.NOT_YET, {"failures": 1, "elapsed": 0.0, "retry_after": 600.0}, 0.025),
        # a server with too much to do: not before it asked for, a little later, and later each time
        (FailureKind.BUSY, {"failures": 1, "elapsed": 0.0, "retry_after": 1.0}, 1.25),
        (FailureKind.BUSY, {"failures": 1, "elapsed": 0.0, "retry_after": 1.0, "jitter": 0.0}, 1.0),
        (FailureKind.BUSY, {"failures": 1, "elapsed": 0.0, "retry_after": 1.0, "jitter": 1.0}, 1.5),
        (FailureKind.BUSY, {"failures": 3, "elapsed": 3.0, "retry_after": 1.0, "jitter": 0.0}, 2.25),
        (FailureKind.BUSY, {"failures": 9, "elapsed": 3.0, "retry_after": 600.0, "jitter": 0.0}, 5.0),
        (FailureKind.BUSY, {"failures": 9, "elapsed": 29.0, "retry_after": 5.0, "jitter": 0.0}, 1.0),
        (FailureKind.BUSY, {"failures": 1, "elapsed": 0.0}, 0.025),
        # the last attempt comes when patience ends, not after
        (FailureKind.NOTHING, {"failures": 9, "elapsed": 29.9}, 0.1),
        (FailureKind.REFUSED, {"failures": 9, "elapsed": 9.0, "refused_for": 4.75}, 0.25),
        (FailureKind.NOTHING, {"failures": 1, "elapsed": 30.0}, None),
        (FailureKind.NOTHING, {"failures": 9, "elapsed": 9.0, "refused_for": 5.0}, None),
        (FailureKind.REFUSED, {"failures": 1, "elapsed": 5.0, "refused_for": 5.0}, None),
        # what may have been carried out is not sent again, unless that does no harm
        (FailureKind.BROKEN, {"failures": 1, "elapsed": 0.0, "repeatable": False}, None),
        (FailureKind.NOTHING, {"failures": 1, "elapsed": 0.0, "repeatable": False}, 0.0),
        (FailureKind.NOT_YET, {"failures": 1, "elapsed": 0.0, "repeatable": False}, 0.025),
    ],
)
def test_decisions(heard: FailureKind, circumstances: dict[str, float], pause: float | None) -> None:
    decided = decide(POLICY, heard, **circumstances)  # type: ignore[arg-type]
    assert decided == (pause if pause is None else pytest.approx(pause))


@given(
    heard=st.sampled_from(FailureKind),
    failures=st.integers(1, 10**6),
    elapsed=st.floats(0, 60),
    refused_for=st.none() | st.floats(0, 60),
    retry_after=st.none() | st.floats(0, 1e9),
    jitter=st.floats(0, 1),
)
def test_a_decision_never_outlasts_patience(
    heard: FailureKind,
    failures: int,
    elapsed: float,
    refused_for: float | None,
    retry_after: float | None,
    jitter: float,
) -> None:
    pause = decide(
        POLICY,
        heard,
        failures=failures,
        elapsed=elapsed,
        refused_for=refused_for,
        retry_after=retry_after,
        jitter=jitter,
    )
    over = elapsed >= POLICY.patience or (refused_for or 0.0) >= POLICY.refusal_patience
    assert (pause is None) == over
    if pause is not None:
        longest = POLICY.longest_busy_pause if heard is FailureKind.BUSY else POLICY.longest_refused_pause
        assert 0.0 <= pause <= 1.5 * longest
        assert elapsed + pause <= POLICY.patience + 1e-9


def test_jitter_spreads_clients() -> None:
    early, late = (decide(POLICY, FailureKind.NOTHING, failures=9, elapsed=1.0, jitter=j) for j in (0.0, 1.0))
    assert early == pytest.approx(0.1875)
    assert late == pytest.approx(0.3125)


class Walk:
    """Plays a call against a world: who answers what at which time. Time passes by attempts and waits."""

    def __init__(
        self,
        world: Callable[[str, float], Answer | Failure],
        *,
        request: Request = GET,
        servers: tuple[str, ...] = VIP,
        twins: tuple[str, ...] = TWINS,
        policy: Policy = POLICY,
    ) -> None:
        self.now = 1000.0
        self.asked: list[tuple[str, float]] = []
        self.end: Answer | TmrError
        call = Call(request, servers, twins, policy, self.now, jitter=lambda: 0.5)
        while True:
            try:
                step = call.next(self.now)
            except TmrError as error:
                self.end = error
                break
            match step:
                case Done(answer):
                    self.end = answer
                    break
                case Wait(seconds):
                    assert seconds > 0
                    self.now += seconds
                case Send() as send:
                    self._attempt(call, send, world)

    def _attempt(self, call: Call, send: Send, world: Callable[[str, float], Answer | Failure]) -> None:
        passed = self.now - 1000.0
        self.asked.append((send.address, round(passed, 2)))
        assert len(self.asked) < 1000, "asks for ever"
        heard = world(send.address, passed)
        if isinstance(heard, Answer):
            self.now += 0.002
            call.answered(heard, self.now)
        else:
            self.now += send.connect if heard.heard is FailureKind.NOTHING else send.read
            call.failed(heard, self.now)

    @property
    def seconds(self) -> float:
        return self.now - 1000.0

    @property
    def whom(self) -> set[str]:
        return {address for address, _ in self.asked}


OK = Answer(200, b"{}")


def test_the_first_answer_is_the_end() -> None:
    walk = Walk(lambda address, now: OK)
    assert (walk.end, walk.asked) == (OK, [("vip", 0.0)])


def test_a_failover_of_two_seconds() -> None:
    """Noticed soon after it is over; the passive twins do not shorten the patience."""
    walk = Walk(
        lambda address, now: (
            SILENT
            if address == "one"
            else OK
            if now > 2 and address == "vip"
            else problem_answer("not-active")
            if address == "two"
            else SILENT
        )
    )
    assert walk.end is OK
    assert walk.seconds < 3.5
    assert walk.whom == {"vip", "one", "two"}


def test_the_twins_tell_that_there_is_no_majority() -> None:
    walk = Walk(lambda address, now: SILENT if address == "vip" else problem_answer("no-quorum"))
    assert isinstance(walk.end, NoQuorum)
    assert [(each.address, each.problem and each.problem.slug) for each in walk.end.reasons] == [
        ("one", "no-quorum"),
        ("two", "no-quorum"),
    ]
    assert walk.end.heard == SILENT.text
    assert 5 <= walk.seconds < 8


def test_a_majority_that_comes_back_in_time() -> None:
    walk = Walk(
        lambda address, now: (
            OK
            if address == "vip" and now > 4
            else SILENT
            if address == "vip"
            else problem_answer("no-quorum")
        )
    )
    assert walk.end is OK


def test_an_active_twin_serves_at_its_own_address_too() -> None:
    """The virtual address does not work from here, but the twin does: better than nothing."""
    walk = Walk(lambda address, now: OK if address == "two" else SILENT)
    assert walk.end is OK
    assert walk.seconds < 3


def test_a_refusal_by_a_twin_counts() -> None:
    walk = Walk(lambda address, now: problem_answer("no-more-licences") if address == "one" else SILENT)
    assert isinstance(walk.end, NoMoreLicences)


def test_passive_twins_and_a_silent_address() -> None:
    walk = Walk(lambda address, now: SILENT if address == "vip" else problem_answer("not-active"))
    assert isinstance(walk.end, NotActive)
    assert walk.seconds >= POLICY.patience


def test_a_twin_that_became_active_takes_back_the_refusal() -> None:
    """No majority at first, then a failover that takes its time: the longer patience counts again."""

    def world(address: str, now: float) -> Answer | Failure:
        if address == "vip":
            return SILENT
        return problem_answer("no-quorum" if now < 3 else "not-active")

    walk = Walk(world)
    assert isinstance(walk.end, NotActive)
    assert walk.seconds >= POLICY.patience


def test_impatient_calls_ask_the_twins_before_they_give_up() -> None:
    impatient = replace(POLICY, patience=0.3)
    walk = Walk(
        lambda address, now: SILENT if address == "vip" else problem_answer("no-quorum"), policy=impatient
    )
    assert isinstance(walk.end, NoQuorum)
    assert walk.whom == {"vip", "one", "two"}


def test_asked_once_means_once() -> None:
    once = replace(POLICY, patience=0.0, refusal_patience=0.0)
    for heard in (SILENT, BROKEN, problem_answer("not-active"), problem_answer("overloaded")):
        walk = Walk(lambda address, now, heard=heard: heard, policy=once, twins=())  # type: ignore[misc]
        assert isinstance(walk.end, NoService)
        assert len(walk.asked) == 1


def test_nobody_anywhere() -> None:
    walk = Walk(lambda address, now: SILENT)
    assert type(walk.end) is NoService
    assert str(walk.end).startswith("Nobody answered at vip for 3")
    assert {each.error for each in walk.end.reasons} == {SILENT.text}
    assert walk.seconds < POLICY.patience + 2


def test_several_virtual_addresses_take_turns() -> None:
    walk = Walk(lambda address, now: OK if address == "v6" else SILENT, servers=("v4", "v6"))
    assert walk.asked == [("v4", 0.0), ("v6", 0.5)]


def test_time_to_connect_grows() -> None:
    walk = Walk(lambda address, now: SILENT, twins=(), policy=replace(POLICY, patience=5.0))
    times = [when for _, when in walk.asked]
    gaps = [later - former for former, later in pairwise(times)]
    assert gaps[0] == pytest.approx(0.5)
    assert max(gaps) <= POLICY.longest_connect + 1.25 * POLICY.longest_pause


@pytest.mark.parametrize("heard", [SILENT, problem_answer("not-active"), problem_answer("overloaded")])
def test_a_switchover_waits_for_an_active_twin(heard: Answer | Failure) -> None:
    walk = Walk(lambda address, now: heard if now < 1 else OK, request=ONCE)
    assert walk.end is OK
    assert walk.whom == {"vip"}, "the twins' own addresses are for questions"


def test_a_switchover_that_may_have_happened_is_not_repeated() -> None:
    walk = Walk(lambda address, now: BROKEN, request=ONCE)
    assert isinstance(walk.end, NoService)
    assert "tmr status" in walk.end.remedy
    assert len(walk.asked) == 1


def test_distrust_ends_at_once_but_not_a_twins() -> None:
    distrust = Failure(FailureKind.NOTHING, "not trusted", Untrusted("not trusted"))
    assert isinstance(Walk(lambda address, now: distrust).end, Untrusted)
    walk = Walk(lambda address, now: distrust if address == "one" else SILENT)
    assert type(walk.end) is NoService
    assert walk.end.reasons[0].error == "not trusted"


@pytest.mark.parametrize("slug", PROBLEMS)
def test_every_problem_raises_what_belongs_to_it(slug: str) -> None:
    walk = Walk(lambda address, now: problem_answer(slug))
    kind = PROBLEMS[slug]
    assert type(walk.end) is kind.error
    assert getattr(walk.end, "problem").slug == slug  # noqa: B009
    if not kind.passing:
        assert len(walk.asked) == 1
    elif kind.error in (NotActive, Overloaded):
        assert walk.seconds == pytest.approx(POLICY.patience, abs=0.1)
    else:
        assert walk.seconds == pytest.approx(POLICY.refusal_patience, abs=0.1)


def test_the_best_explanation_wins() -> None:
    """The address fell silent after it had said no-quorum; one twin knows about the licence itself."""

    def world(address: str, now: float) -> Answer | Failure:
        if address == "vip":
            return problem_answer("no-quorum") if now < 0.1 else SILENT
        return problem_answer("licence-unavailable" if address == "one" else "not-active")

    assert isinstance(Walk(world).end, LicenceUnavailable)


@pytest.mark.parametrize(
    ("answer", "error", "attempts"),
    [
        (Answer(500, b"Internal Server Error"), NoService, 2),
        (Answer(502, b"<html>"), NoService, 2),
        (problem_answer("from-the-future", 503), NoService, 2),
        (problem_answer("from-the-future", 409), Refused, 1),
        (Answer(404, b""), Refused, 1),
        (Answer(302, b""), Refused, 1),
    ],
)
def test_problems_that_this_version_does_not_know(
    answer: Answer, error: type[TmrError], attempts: int
) -> None:
    walk = Walk(lambda address, now: answer)
    assert type(walk.end) is error
    assert len(walk.asked) >= attempts


ANSWERS: list[Answer | Failure] = [
    OK,
    SILENT,
    BROKEN,
    *(problem_answer(slug) for slug in PROBLEMS),
    Answer(500, b"oops"),
]


@given(data=st.data(), twins=st.sampled_from([(), ("one",), TWINS]), repeatable=st.booleans())
def test_every_call_ends_in_time(data: st.DataObject, twins: tuple[str, ...], repeatable: bool) -> None:
    """Whatever anybody answers whenever: an answer or an error, and not much later than patience ends."""
    request = GET if repeatable else ONCE
    heard: list[Answer | Failure] = []

    def world(address: str, now: float) -> Answer | Failure:
        heard.append(data.draw(st.sampled_from(ANSWERS)))
        return heard[-1]

    policy = Policy(patience=3.0, refusal_patience=1.0)
    walk = Walk(world, request=request, twins=twins, policy=policy)
    assert walk.seconds < policy.patience + policy.read + len(twins) * policy.read + 0.5
    assert (walk.end is OK) == (heard[-1] is OK)
    if not repeatable:
        assert BROKEN not in heard[:-1]


@pytest.mark.parametrize(
    ("error", "pause"), [(NoService("nobody"), 0.25), (Untrusted("no"), 2.0), (OSError("odd"), 2.0)]
)
def test_pause_after_a_failed_heartbeat(error: Exception, pause: float) -> None:
    assert POLICY.after_heartbeat(error) == pause
