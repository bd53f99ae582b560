# SPDX-License-Identifier: Apache-2.0
"""One line for all that happened, in a chain for each Firm Code."""

from tests.unit.ledger.world import World, item
from tmr.ledger import AcceptTime, DenialCount, Free, GiveBack, Head, RecordDenials, link


def test_each_event_makes_its_line() -> None:
    world = World(item(quantity=2, units=9, borrow_s=60))
    session = world.grant(units=2).session
    world.consume(session, 3)
    lent = world.borrow(60).borrow
    place = world.grant(wait=True).session
    world.grant()
    world.free(place)
    world.do(Free(session, None, "operator", "olga"))
    world.do(GiveBack(lent, None, "expiry"))
    assert world.events() == [
        "granted", "units", "units", "borrowed", "queued", "denied", "unqueued", "ended", "returned",
    ]  # fmt: skip
    assert [line.seq for line in world.record] == list(range(1, 10))
    assert [line.units for line in world.record if line.event == "units"] == [2, 3]
    ended = world.record[7]
    assert (ended.id, ended.reason, ended.client, ended.tmr_id) == (session, "olga", "alice", 1)


def test_every_firm_is_told_that_an_operator_accepted_the_time() -> None:
    world = World(item())
    world.do(AcceptTime(1_790_000_000_000, "operator olga"))
    assert world.events() == [], "there is no record yet"
    world.grant()
    world.do(AcceptTime(1_790_000_000_000, "operator olga"))
    line = world.record[-1]
    assert (line.event, line.client, line.product_code) == ("time-accepted", "operator olga", 0)
    assert line.before_ms == 1_790_000_000_000


def test_the_chain_is_unbroken_over_a_snapshot() -> None:
    world = World(item(quantity=3))
    head = Head()
    for _ in range(3):
        world.grant()
        (chained,) = world.ledger.lines
        assert chained.hash == link(head.hash, chained.line)
        head = world.ledger.heads[chained.firm_code]
        world.ledger.restore(world.ledger.snapshot())
    assert head.seq == 3


def test_refusals_from_the_mirror_are_noted_in_one_line() -> None:
    world = World(item())
    refusal = DenialCount(6_000_010, 1001, "no-more-licences", "none", "alice", "here", "alice", "", 7)
    world.do(RecordDenials((refusal,)))
    assert (world.record[0].event, world.record[0].count) == ("denied", 7)


def test_retries_leave_no_line() -> None:
    world = World(item())
    asked = world.asking()
    world.do(asked)
    world.do(asked)
    assert world.events() == ["granted"]


def test_a_replica_that_is_restored_has_the_same_digest_ever_after() -> None:
    world, replica = World(item(quantity=2, usage_s=60)), World()
    world.grant(mode="station-share")
    world.grant(wait=True)
    replica.ledger.restore(world.ledger.snapshot())
    replica.__dict__ |= {name: value for name, value in vars(world).items() if name != "ledger"}
    for one in (world, replica):
        one.pass_time(61_000)
        one.grant(wait=True)
    assert world.ledger.digest() == replica.ledger.digest()
