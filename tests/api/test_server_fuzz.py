# SPDX-License-Identifier: Apache-2.0
"""The client API keeps to its OpenAPI document, whatever it is asked and by whom."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.api.fuzzed import ALONE, FULL, PLENTY, Findings, Served, fuzz, serving
from tests.support.matrix import refused_by_role
from tests.support.tmr_system import FIRM, ask, item, key, lasting_lease, unhurried

DAY_MS = 86_400_000


def _rule(name: str, effect: str, product: int, seats: int | None = None, **who: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "effect": effect,
        "firm_code": FIRM,
        "product_code": product,
        "seats": seats,
        "who": who,
    }


ACCESS = {
    "version": 0,
    "groups": {"press": {"users": ["press-*"], "networks": ["10.1.0.0/16", "fd00::/8"]}},
    "rules": [
        _rule("loopback", "allow", FULL, networks=["127.0.0.0/8"]),
        _rule("few", "limit", 205, 3, hosts=["cad-*"]),
        _rule("kept", "reserve", 205, 1, groups=["press"]),
        _rule("nobody", "deny", 206),
    ],
}
"""Rules of every effect, about all that a request says of itself."""


@contextlib.contextmanager
def _serving(directory: Path) -> Iterator[Served]:
    """A twin with licences of all kinds: PLENTY to use, the others to be refused for all reasons."""
    now = round(time.time() * 1000)
    whole = [
        item(
            product=PLENTY, quantity=None, units=2**52, borrow_s=2**30, feature_map=2**32 - 1, name="Plenty"
        ),
        item(product=FULL, quantity=1, units=2**40, borrow_s=86_400, feature_map=1, name="One seat"),
        item(product=203, expiration_ms=now - DAY_MS, name="Expired"),
        item(product=205, quantity=5, maintenance_end_ms=now, usage_s=DAY_MS, feature_map=1, name="Ruled"),
        item(product=206, activation_ms=now + DAY_MS, name="Not yet"),
    ]
    alone = item(product=ALONE, name="On one upstream only")
    with pytest.MonkeyPatch.context() as patch:
        lasting_lease(patch)
        unhurried(patch)
        with serving(directory, [[*whole, alone], whole, whole]) as found:
            _prepare(found)
            yield found


def _prepare(found: Served) -> None:
    """Give the access list its rules, and take seats."""
    with found.client(found.certificates.operator("olga")) as olga:
        answer = olga.put("/v1/access", json=ACCESS)
        assert answer.status_code == 200, answer.text
    with found.client(found.certificates.client("bob")) as bob:
        # So FULL is, and nobody gets PLENTY exclusively: that would refuse everything else.
        for product in (FULL, *[PLENTY] * 5):
            answer = bob.post("/v1/sessions", json=ask(product, ttl=3600), headers=key())
            assert answer.status_code == 201, answer.text


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """For tests that leave the twin able to serve others."""
    with _serving(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """For one test alone."""
    with _serving(tmp_path) as found:
        yield found


def _known(served: Served, **more: Sequence[int | str]) -> Mapping[str, Sequence[int | str]]:
    return {
        "body.firm_code": [FIRM],
        "body.product_code": [*[PLENTY] * 3, FULL, FULL, 203, ALONE, 205, 206, 207],
        "body.tmr_id": [1],
        "body.reference": [0],
        "body.features": [0, 1],
        "body.units": [1, 2],
        "path.serial": [str(served.twin.agent.view.serial)],
        **more,
    }


def _well(found: Findings, *, but: Sequence[str] = ()) -> None:
    """Nothing is wrong, and no operation passed by refusing everything."""
    assert not found.failures, found.told()
    for operation in found.answers:
        if operation not in but:
            told = f"{operation}: {found.answers[operation]}, {found.problems.get(operation)}"
            assert found.good(operation) >= 3, told
            assert found.share(operation) >= 0.05, told


def test_a_client(served: Served) -> None:
    found = fuzz(
        served,
        served.certificates.client("alice"),
        examples=25,
        exclude="^/v1/(operator|access|tracking)",
        known=_known(served),
    )
    _well(found)
    assert len(found.answers) >= 14
    assert found.answers["POST /v1/sessions"].keys() >= {201, 202, 404, 409, 422, 503}
    refusals = {"entry-not-found", "licence-unavailable", "conflicting-key", "session-lost", "wrong-role"}
    assert found.slugs() >= {"bad-request", *refusals}
    assert not found.slugs() & {"no-quorum", "not-active", "overloaded"}, "it served all the time"


def test_an_operator(own: Served) -> None:
    files = own.certificates.operator("olga")
    _well(fuzz(own, files, examples=15, exclude="^/v1/(operator|access)", known=_known(own)))


def test_access_lists(own: Served) -> None:
    files = own.certificates.operator("olga")
    # The version in force grows with each list that is put into force.
    found = fuzz(
        own,
        files,
        examples=25,
        include="^/v1/access",
        known={"body.version": list(range(1, 5))},
        stateful=False,
    )
    _well(found, but=["PUT /v1/access"])
    assert found.good("PUT /v1/access") >= 3
    assert own.twin.agent.replicator.ledger.access_version > 1
    assert "access-list-changed" in found.slugs()
    # Whatever list is in force now, it must not break what it is asked about.
    found = fuzz(own, files, examples=20, include="^/v1/(sessions|explain)", known=_known(own))
    assert not found.failures, found.told()


def test_what_belongs_to_another(served: Served) -> None:
    with served.client(served.certificates.client("alice")) as alice:
        held = alice.post("/v1/sessions", json=ask(PLENTY, ttl=3600), headers=key()).json()["id"]
        found = fuzz(
            served,
            served.certificates.client("bob"),
            examples=20,
            include="/v1/sessions/",
            known={"path.session": [held]},
            stateful=False,
        )
        assert not found.failures, found.told()
        assert all("access-denied" in problems for problems in found.problems.values()), found.problems
        assert alice.put(f"/v1/sessions/{held}/heartbeat").status_code == 200


def test_a_twin_may_look_only(served: Served) -> None:
    found = fuzz(served, served.certificates.twin("tmr2"), examples=5, known=_known(served), stateful=False)
    looks = {"GET /v1/status", "GET /metrics"}
    _well(found, but=[*found.answers.keys() - looks])
    assert found.slugs() == {"wrong-role", "bad-request"}
    assert not [one for one in found.answers if one not in looks and found.good(one)]


def test_every_route_has_its_roles(served: Served) -> None:
    people = {"client": "alice", "operator": "olga", "twin": "tmr2", "upstream": "up1"}
    with contextlib.ExitStack() as stack:
        peers = {
            role: stack.enter_context(served.client(served.certificates.files(role, name)))
            for role, name in people.items()
        }
        assert refused_by_role(peers) > 20


def test_a_switchover(own: Served) -> None:
    files = own.certificates.operator("olga")
    refused = fuzz(own, files, examples=2, include="switchover", stateful=False)
    assert refused.slugs() == {"twin-not-ready"}, refused.told()
    second = own.system.twins[1]
    own.loop.call_soon_threadsafe(second.agent.start)
    try:
        own.wait(lambda: own.twin.agent.other_twin().ready, "the other twin could take over")
        found = fuzz(own, files, examples=5, include="switchover", stateful=False)
    finally:
        asyncio.run_coroutine_threadsafe(second.agent.stop(), own.loop).result()
        second.vip.stop()
    assert not found.failures, found.told()
    assert found.good("POST /v1/operator/switchover")


def test_without_a_majority(own: Served) -> None:
    for upstream in own.system.upstreams[1:]:
        own.loop.call_soon_threadsafe(upstream.cut)
    own.wait(lambda: not own.twin.serves, "the twin notices")
    found = fuzz(own, own.certificates.operator("olga"), examples=5, known=_known(own), stateful=False)
    _well(found, but=[one for one in found.answers if one not in ("GET /v1/status", "GET /metrics")])
    assert found.slugs() == {"no-quorum", "bad-request"}
