# SPDX-License-Identifier: Apache-2.0
"""Times of servers and clients against one another: no client is gone before the reason is told."""

import inspect

from tests.support.tmr_system import TTL
from tmr.api.patience import ANSWER_WAIT, ANSWER_WITHIN, EXPORT_WAIT, EXPORT_WITHIN
from tmr.client import Policy
from tmr.http.fair_share import WAIT_MAX
from tmr.http.load_limits import LIMITS
from tmr.rpc.messages import SignBorrowing
from tmr.rpc.record_messages import AttestRecord
from tmr.rpc.registry import BY_MESSAGE
from tmr.twin.borrow_files import borrow_file

JOURNEY = 0.3
"""Seconds for the way there and back, and for a busy machine."""


def test_a_server_has_answered_before_the_client_gives_up() -> None:
    assert ANSWER_WITHIN + JOURNEY <= ANSWER_WAIT
    assert EXPORT_WITHIN + BY_MESSAGE[AttestRecord].patience(TTL) + JOURNEY <= EXPORT_WAIT


def test_clients_and_servers_use_these_times() -> None:
    assert Policy().read == ANSWER_WAIT
    assert inspect.signature(borrow_file).parameters["patience"].default == ANSWER_WITHIN
    assert WAIT_MAX <= ANSWER_WITHIN
    assert all(limit.oldest < ANSWER_WITHIN for limit in LIMITS.values())


def test_an_upstream_is_given_up_before_its_twin_answers() -> None:
    """With the lease that is set unless told otherwise: so the reason names what is wrong with it."""
    assert BY_MESSAGE[SignBorrowing].patience(2.0) < ANSWER_WITHIN
