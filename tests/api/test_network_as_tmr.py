# SPDX-License-Identifier: Apache-2.0
"""The tests of a TMR system's client API, run against a network licence server: the same answers.

A failover is a restart here. New tests of these modules count at once; one that is about twins, constituents
or TMR-Ids is named below, and `test_network` has what is to be said of a network licence server instead.
"""

import inspect
from pathlib import Path
from typing import Final

import pytest

from tests.api import test_server_features as features
from tests.api import test_server_sessions as sessions
from tests.support import network_server

TMR_ONLY: Final = {
    "test_a_borrowing_needs_a_licence_that_can_be_borrowed_and_a_certificate",  # a container without update
    "test_a_heartbeat_waits_for_an_end_that_is_under_way",  # makes upstreams slow
    "test_a_newly_activated_licence_appears_and_a_changed_one_raises_an_alarm",  # different constituents
    "test_a_retry_waits_for_its_first_attempt",  # makes upstreams slow
    "test_a_seat_is_borrowed_used_offline_and_given_back",  # without one upstream
    "test_a_second_tmr_id_of_the_product_is_used_when_the_first_is_full",
    "test_an_emergency_licence_only_when_no_ordinary_one_is_free",  # names TMR-Ids
    "test_an_expired_licence_is_refused_with_its_date",  # three constituents
    "test_another_tmr_id_under_the_same_key_is_another_request",
    "test_explain_says_what_would_happen_and_why",  # without one upstream
    "test_features_choose_the_licence_that_has_them",  # names TMR-Ids
    "test_one_container_shows_the_licence",  # a virtual one
}

TESTS: Final = {
    name: (module, test)
    for module in (features, sessions)
    for name, test in vars(module).items()
    if name.startswith("test_") and name not in TMR_ONLY and not hasattr(test, "pytestmark")
}


@pytest.mark.parametrize("name", TESTS)
def test_it_answers_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, test = TESTS[name]
    monkeypatch.setattr(module, "running", network_server.running)
    monkeypatch.setattr(features, "takeover", network_server.takeover)
    fixtures = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
    test(**{needed: fixtures[needed] for needed in inspect.signature(test).parameters})


def test_every_test_named_is_one_that_there_is() -> None:
    assert {name for name in TMR_ONLY if not hasattr(features, name) and not hasattr(sessions, name)} == set()
