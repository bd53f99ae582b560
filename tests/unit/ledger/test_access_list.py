# SPDX-License-Identifier: Apache-2.0
"""Access by the operator's rules."""

from tests.unit.ledger.world import FIRM, World, item
from tmr.ledger import AccessList, AccessSet, Granted, Rule, SetAccess, SubjectMatch, Waiting

VIP = SubjectMatch(users=("vip*",))


def test_an_empty_list_admits_everyone() -> None:
    assert isinstance(World(item()).grant(user="whoever"), Granted)


def test_the_first_rule_that_matches_decides() -> None:
    world = World(item(quantity=9))
    world.rules(
        Rule("not eve", "deny", SubjectMatch(users=("eve",))),
        Rule("staff", "allow", SubjectMatch(users=("*e",))),
    )
    assert world.grant(user="eve").rule == "not eve"
    assert isinstance(world.grant(user="alice"), Granted)
    assert world.grant(user="bob").rule == "staff"


def test_a_rule_about_another_product_says_nothing() -> None:
    world = World(item())
    world.rules(Rule("other", "deny", SubjectMatch(), firm_code=FIRM, product_code=7))
    assert isinstance(world.grant(), Granted)


def test_users_hosts_certificates_networks_and_groups() -> None:
    admitted = {
        SubjectMatch(users=("alice",)): True,
        SubjectMatch(hosts=("HER*",)): True,
        SubjectMatch(certificates=("alice",)): True,
        SubjectMatch(networks=("10.0.0.0/8",)): True,
        SubjectMatch(networks=("192.0.2.0/24",)): False,
        SubjectMatch(groups=("team",)): True,
        SubjectMatch(users=("alice",), hosts=("there",)): False,
    }
    for who, expected in admitted.items():
        world = World(item())
        world.rules(Rule("only", "allow", who), team=SubjectMatch(users=("zoe", "alice")))
        assert isinstance(world.grant(address="10.1.2.3"), Granted) is expected, who


def test_at_most_so_many() -> None:
    world = World(item(quantity=9))
    world.rules(Rule("two", "limit", VIP, 2))
    sessions = [world.grant(user=f"vip{n}").session for n in range(2)]
    denied = world.grant(user="vip2")
    assert (denied.reason, denied.rule) == ("access-denied", "two")
    assert isinstance(world.grant(user="bob"), Granted)
    assert isinstance(world.grant(user="vip2", mode="no-user-limit"), Granted)
    place = world.grant(user="vip3", wait=True)
    assert isinstance(place, Waiting)
    assert [one.session for one in world.free(sessions[0]).promoted] == [place.session]


def test_so_many_are_reserved() -> None:
    world = World(item(quantity=3))
    world.rules(Rule("kept", "reserve", VIP, 2))
    assert isinstance(world.grant(user="bob"), Granted)
    denied = world.grant(user="bob")
    assert (denied.reason, denied.rule) == ("access-denied", "kept")
    assert [world.grant(user="vip").in_use for _ in range(2)] == [2, 3]
    assert world.grant(user="bob").reason == "no-more-licences"


def test_seats_kept_for_others_are_never_waited_for_in_vain() -> None:
    world = World(item(quantity=2))
    world.rules(Rule("all", "reserve", VIP, 2))
    assert world.grant(user="bob", wait=True).rule == "all"
    world.rules(Rule("one", "reserve", VIP, 1))
    assert world.grant(user="bob", mode="exclusive", wait=True).rule == "one"
    assert isinstance(world.grant(user="vip", mode="exclusive"), Granted)


def test_borrowed_seats_count_for_who_borrowed_them() -> None:
    world = World(item(quantity=9, borrow_s=60))
    world.rules(Rule("one", "limit", VIP, 1))
    lent = world.borrow(60, user="vip")
    assert world.grant(user="vip").rule == "one"
    world.give_back(lent.borrow)
    assert isinstance(world.grant(user="vip"), Granted)


def test_a_new_list_counts_who_is_there_and_turns_out_who_waits_in_vain() -> None:
    world = World(item(quantity=2))
    world.grant(user="vip")
    world.grant(user="bob")
    asked = world.asking(user="eve", wait=True)
    world.do(asked)
    world.rules(Rule("not eve", "deny", SubjectMatch(users=("eve",))), Rule("one", "limit", VIP, 1))
    assert world.do(asked).rule == "not eve"  # type: ignore[union-attr]
    assert world.grant(user="vip").rule == "one"


def test_a_list_replaces_the_one_that_its_author_saw() -> None:
    world = World(item())
    deny = AccessList((Rule("no", "deny"),))
    assert world.do(SetAccess(deny, 0, "operator")) == AccessSet(version=1)
    assert world.do(SetAccess(deny, 0, "operator")) == AccessSet(version=1)
    assert world.do(SetAccess(AccessList(), 0, "other")).reason == "access-list-changed"  # type: ignore[union-attr]
