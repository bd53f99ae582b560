# SPDX-License-Identifier: Apache-2.0
"""Whatever a client may send, an entry of the journal can be carried out, and what is kept has bounds."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.ledger.world import FIRM, World, container_key, item, key
from tmr.ledger import (
    AccessList,
    Command,
    Consume,
    ContainersStated,
    DenialCount,
    Denied,
    Grant,
    Granted,
    Ledger,
    RecordDenials,
    Rule,
    SetAccess,
    StateContainers,
    SubjectMatch,
    Trust,
    Waiter,
    encode,
)
from tmr.ledger.access import Subject, matches
from tmr.ledger.queue import MAX_OF_CLIENT, Queues
from tmr.ledger.recorder import MAX_FIRMS
from tmr.ledger.state_digest import StateDigest
from tmr.licensing import Statement, sign
from tmr.licensing.spelling import written_time


@given(st.integers(-(2**70), 2**70))
def test_any_time_can_be_written(ms: int) -> None:
    assert written_time(ms)


def test_records_of_invented_firms_have_an_end() -> None:
    ledger = Ledger()
    for index in range(1, 3 * MAX_FIRMS):
        refusal = DenialCount(6_000_000 + index, 1, "entry-not-found", "", "alice", "cad-07", "", "", 1)
        ledger.apply(index, index, encode(RecordDenials((refusal,))))
    assert len(ledger.heads) == MAX_FIRMS


def test_what_no_twin_can_mean_changes_nothing() -> None:
    """It is in the journal, and everybody has to go on behind it."""
    ledger, other = Ledger(), Ledger()
    nonsense = AccessList((Rule("r", "deny", SubjectMatch(networks=("nonsense",))),))
    huge = DenialCount(2**63, 1, "entry-not-found", "", "alice", "cad-07", "", "", 1)
    bodies = (b"\xc1", encode(SetAccess(nonsense, 0, "olga")), encode(RecordDenials((huge,))))
    for index, body in enumerate(bodies, 1):
        outcome = ledger.apply(index, index, body)
        other.apply(index, index, body)
        assert isinstance(outcome, Denied) == (index < 3)
    assert (ledger.access, ledger.access_version, dict(ledger.heads)) == (AccessList(), 0, {})
    assert ledger.digest() == other.digest()


def test_one_client_leaves_places_in_the_queue_to_others() -> None:
    queues = Queues(StateDigest())
    grant = Grant("request", "alice", "place", 6_000_010, 1, (), "user-limit", 60, "cad-07", wait=True)
    for number in range(MAX_OF_CLIENT):
        assert not queues.full(grant.product, "alice")
        queues.add(Waiter(replace(grant, request_id=f"r-{number}", session=f"p-{number}"), number))
    assert queues.full(grant.product, "alice")
    assert not queues.full(grant.product, "bob")


def test_containers_of_a_fourth_upstream_are_nobodys() -> None:
    """Two of a twin's own would agree with one another, and make a licence."""
    world = World(item(quantity=2))
    before = dict(world.ledger.licences)
    made = []
    for number in (4, 5):
        statement = Statement(
            f"up{number}", f"130-200{number}", "test-0123456789abcdef", 9, (item(9, quantity=99),)
        )
        made.append(sign(statement, container_key(number)))
    outcome = world.ledger.apply(50, world.now, encode(StateContainers(tuple(made))))
    assert isinstance(outcome, ContainersStated)
    assert [text.split(":")[0] for text in outcome.rejected] == ["up4", "up5"]
    world.ledger.apply(51, world.now, encode(Trust("up4", made[0].key)))
    assert dict(world.ledger.licences) == before
    assert set(world.ledger.trusted) == {"up1", "up2", "up3"}


@pytest.mark.parametrize("units", [-1, -(2**63), 2**53])
def test_units_are_a_count(units: int) -> None:
    """Below zero they would be given back."""
    world = World(item(quantity=2, units=10))
    grant = Grant("r-1", "alice", "s-1", FIRM, 1001, (key(),), "user-limit", 60, "cad-07")
    ledger = world.ledger
    assert isinstance(ledger.apply(50, world.now, encode(grant)), Granted)
    with_units = replace(grant, request_id="r-2", session="s-2", units=units)
    commands: list[Command] = [with_units, Consume("c-1", "alice", "s-1", units)]
    for index, command in enumerate(commands, 51):
        denied = ledger.apply(index, world.now, encode(command))
        assert isinstance(denied, Denied)
        assert denied.reason == "bad-request"
    assert ledger.remaining(ledger.licences[key()].item) == 10


@pytest.mark.parametrize(
    "body", [b"\x82\xa4type\xa4note\xa3zzz" + b"\x91" * 200_000 + b"\xc0", b"\x81\xa4type\xa1\xff"]
)
def test_a_body_that_no_decoder_likes_is_denied(body: bytes) -> None:
    """It is in the journal of everybody: an exception would end every upstream and every twin, for good."""
    assert isinstance(Ledger().apply(1, 1, body), Denied)


NETWORKS = st.one_of(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="fd00::/8"))


@given(st.lists(st.tuples(NETWORKS, st.integers(0, 128)), min_size=1, max_size=6), NETWORKS)
def test_networks_are_what_ipaddress_says(sized: list[tuple[Any, int]], address: Any) -> None:
    networks = [
        ipaddress.ip_network(f"{one}/{min(size, one.max_prefixlen)}", strict=False) for one, size in sized
    ]
    who = SubjectMatch(networks=tuple(map(str, networks)))
    found = matches(AccessList(), who, Subject("u", "h", "c", str(address)))
    assert found == any(address in network for network in networks)


@pytest.mark.parametrize("address", ["", "nowhere", "10.0.0.1:80"])
def test_who_has_no_address_is_in_no_network(address: str) -> None:
    rule = Rule("r", "allow", SubjectMatch(networks=("0.0.0.0/0", "::/0")))
    ledger = Ledger()
    ledger.apply(1, 1, encode(SetAccess(AccessList((rule,)), 0, "olga")))
    assert not matches(ledger.access, rule.who, Subject("u", "h", "c", address))
