# SPDX-License-Identifier: Apache-2.0
"""Changing, refilling and removing licences; network licence servers; what container and vendor refuse."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from tmr.api.deployment import NETWORK, TMR
from tmr.licensing import (
    BadItem,
    Change,
    Container,
    Licence,
    LicenceKey,
    LicenceSelector,
    NotIssued,
    ProductItem,
    Refill,
    Removal,
    Update,
    activate,
    issue,
    merge,
    next_tmr_id,
    raw_public_key,
)
from tmr.licensing.container import digest
from tmr.licensing.dsse import seal
from tmr.licensing.options import CODE_MAX, UNITS_MAX
from tmr.licensing.orders import Order
from tmr.licensing.request import FORMAT, Request
from tmr.licensing.serial import Serial
from tmr.licensing.update import UPDATE_TYPE, seal_update

from .strategies import licences, options
from .system import (
    ACT_ID,
    EDITOR,
    FIRM,
    TRUSTED,
    VENDOR,
    activated,
    assert_refused,
    containers,
    issue_to,
    item,
    private_key,
)

METERED = Licence(product_code=1001, quantity=5, units=100)
FIRST = LicenceSelector(1)


class Site:
    """A TMR system, or a network licence server, and its vendor's record."""

    def __init__(self, *orders: Order, network: bool = False) -> None:
        self.network = network
        self.system = containers()[: 1 if network else 3]
        self.history: list[Update] = []
        if orders:
            self.issue(*orders)

    def issue(self, *orders: Order) -> bytes:
        """Issue and activate."""
        issued = issue_to(self.system, self.history, orders, network=self.network)
        self.system = activated(self.system, issued.file)
        return issued.file

    def refused(self, code: str, *orders: Order) -> NotIssued:
        """The vendor refuses these orders."""
        before = list(self.history)
        with pytest.raises(NotIssued) as caught:
            issue_to(self.system, self.history, orders, network=self.network)
        assert caught.value.code == code, str(caught.value)
        assert caught.value.remedy
        assert self.history == before
        return caught.value

    @property
    def items(self) -> tuple[ProductItem, ...]:
        """What each container holds."""
        (found,) = {container.items for container in self.system}
        return found


def test_several_licences_in_one_update() -> None:
    site = Site(*(Licence(product_code=1000 + n, quantity=n) for n in range(1, 13)))
    assert [(i.product_code, i.tmr_id, i.quantity) for i in site.items] == [
        (1000 + n, n, n) for n in range(1, 13)
    ]
    assert len(site.history) == 1
    site.issue(EDITOR)
    assert next_tmr_id(site.history) == 14


@given(licences(st.integers(0, CODE_MAX)))
def test_a_licence_is_issued_with_all_its_options(licence: Licence) -> None:
    site = Site(msgspec.structs.replace(licence, reference=0))
    merged = merge(container.statement(f"up{n}") for n, container in enumerate(site.system))
    (found,) = merged.licences
    assert (found.item.firm_code, found.item.tmr_id) == (FIRM, 1)
    for field in Licence.__struct_fields__:
        assert getattr(found.item, field) == getattr(licence, field)


@given(options(), options())
def test_a_change_sets_what_it_names_and_keeps_the_rest(some: dict[str, Any], other: dict[str, Any]) -> None:
    some, other = some | {"units": None}, other | {"units": None}
    site = Site(Licence(product_code=1, **some), EDITOR)
    before = site.items
    try:
        wanted = msgspec.structs.replace(before[0], **other)
    except BadItem:  # what stays and what comes contradict one another
        with pytest.raises(BadItem):
            issue_to(site.system, site.history, [Change(FIRST, other)])
        return
    site.issue(Change(FIRST, other))
    assert site.items == (wanted, before[1])


def test_change_removal_and_addition_in_one_update() -> None:
    site = Site(EDITOR, Licence(product_code=1002, quantity=1), Licence(product_code=1003, quantity=1))
    issued = issue_to(
        site.system,
        site.history,
        [
            Change(LicenceSelector(1, 1001), {"quantity": 9}),
            Removal(LicenceSelector(2)),
            Licence(product_code=1004, quantity=4),
        ],
    )
    after = activated(site.system, issued.file)
    assert [i.tmr_id for i in after[0].items] == [1, 3, 4]
    assert [(i.tmr_id, i.quantity) for i in issued.changed] == [(1, 9)]
    assert [i.tmr_id for i in issued.removed] == [2]
    assert [i.tmr_id for i in issued.added] == [4]


def test_a_removed_tmr_id_is_never_given_again() -> None:
    site = Site(EDITOR, EDITOR)
    site.issue(Removal(LicenceSelector(2)))
    site.issue(EDITOR)
    assert [i.tmr_id for i in site.items] == [1, 3]


def test_upstreams_take_a_change_one_after_the_other() -> None:
    """At each step the two that are equal decide, and the third is told of."""
    site = Site(EDITOR, EDITOR)
    issued = issue_to(
        site.system, site.history, [Change(FIRST, {"quantity": 9}), Removal(LicenceSelector(2))]
    )
    served, alarms, system = [], [], list(site.system)
    for step in range(4):
        if step:
            system[step - 1] = activate(system[step - 1], issued.file, TRUSTED)
        merged = merge(container.statement(f"up{n}") for n, container in enumerate(system, 1))
        served.append({licence.key.tmr_id: licence.item.quantity for licence in merged.licences})
        alarms.append([upstream for licence in merged.licences for upstream in licence.differing])
    assert served == [{1: 5, 2: 5}, {1: 5, 2: 5}, {1: 9}, {1: 9}]
    assert alarms == [[], ["up1"], ["up3"], []]


def test_the_last_licence_can_be_removed() -> None:
    site = Site(EDITOR)
    site.issue(Removal(FIRST))
    assert not site.items
    site.refused("nothing-to-issue")
    site.issue(EDITOR)
    assert [i.tmr_id for i in site.items] == [2]


def test_orders_that_name_no_licence() -> None:
    site = Site(EDITOR)
    for order in (
        Removal(LicenceSelector(7)),
        Change(LicenceSelector(1, 9), {"quantity": 1}),
        Refill(LicenceSelector(None, 1001), 1),
    ):
        error = site.refused("unknown-licence", order)
        assert "6000010:1001 TMR-Id 1" in error.reason
    assert "it has none" in Site().refused("unknown-licence", Removal(FIRST)).reason


def test_two_orders_for_one_licence() -> None:
    site = Site(METERED)
    site.refused("ordered-twice", Refill(FIRST, 1), Change(FIRST, {"quantity": 1}))
    site.refused("unknown-licence", Removal(FIRST), Refill(FIRST, 1))
    site.refused("ordered-twice", EDITOR, Removal(LicenceSelector(2)))


@pytest.mark.parametrize("name", ["firm_code", "product_code", "tmr_id", "reference", "key", "colour"])
def test_what_cannot_be_changed(name: str) -> None:
    site = Site(EDITOR)
    with pytest.raises(BadItem, match=name):
        issue_to(site.system, site.history, [Change(FIRST, {name: 1})])


# -- units -------------------------------------------------------------------------------------------------


def test_units_are_refilled_and_never_lowered_by_the_vendor() -> None:
    site = Site(METERED)
    site.issue(Refill(FIRST, 50))
    assert site.items[0].units == 150
    site.issue(Change(FIRST, {"units": 200}))
    for options_ in ({"units": 199}, {"units": None}):
        assert "200 units" in site.refused("units-lowered", Change(FIRST, options_)).reason
    for units in (0, -5):
        with pytest.raises(BadItem):
            issue_to(site.system, site.history, [Refill(FIRST, units)])
    full = Site(Licence(product_code=1, quantity=1, units=UNITS_MAX))
    with pytest.raises(BadItem):
        issue_to(full.system, full.history, [Refill(FIRST, 1)])


def test_only_a_unit_counter_is_refilled() -> None:
    site = Site(EDITOR)
    site.refused("no-unit-counter", Refill(FIRST, 1))
    site.issue(Change(FIRST, {"units": 10}))
    site.issue(Refill(FIRST, 1))
    assert site.items[0].units == 11


@given(st.integers(1, 1000), st.none() | st.integers(1, 1000))
def test_a_container_never_takes_fewer_units(before: int, after: int | None) -> None:
    site = Site(Licence(product_code=1001, quantity=5, name="Editor", units=before))
    update = issue_to(site.system, list(site.history), []).update
    changed = (msgspec.structs.replace(item(), units=after),)
    parts = tuple(msgspec.structs.replace(part, items=changed) for part in update.parts)
    file = seal_update(msgspec.structs.replace(update, parts=parts), VENDOR)
    if after is not None and after >= before:
        assert activate(site.system[0], file, TRUSTED).items == changed
    else:
        error = assert_refused(site.system[0], file, "units-lowered")
        assert f"{before}" in error.reason


def test_a_container_lets_a_metered_licence_be_removed() -> None:
    site = Site(METERED, EDITOR)
    site.issue(Removal(FIRST))
    assert [i.tmr_id for i in site.items] == [2]


# -- network licence servers -------------------------------------------------------------------------------


def test_a_network_licence_server_holds_plain_licences() -> None:
    site = Site(
        EDITOR,
        Licence(product_code=1001, quantity=None, reference=1),
        Licence(product_code=7, quantity=1),
        network=True,
    )
    assert [i.key for i in site.items] == [
        LicenceKey(FIRM, 7, None),
        LicenceKey(FIRM, 1001, None),
        LicenceKey(FIRM, 1001, None, 1),
    ]
    assert site.history[0].deployment is NETWORK
    site.issue(Change(LicenceSelector(None, 1001, 1), {"quantity": 3}), Removal(LicenceSelector(None, 7)))
    assert [i.quantity for i in site.items] == [5, 3]
    site.issue()
    assert [container.firm(FIRM).counter for container in site.system] == [3]  # type: ignore[union-attr]


def test_plain_licences_spend_no_tmr_id() -> None:
    site, history = Site(), Site(EDITOR, network=True).history
    issued = issue_to([*site.system[1:], Container.create(ACT_ID, raw_public_key(private_key(20)))], history)
    assert [i.tmr_id for i in issued.added] == [1]


def test_a_reference_is_never_given_again() -> None:
    site = Site(METERED, network=True)
    assert "Reference 1" in site.refused("licence-exists", METERED).remedy
    site.refused("licence-exists", Licence(product_code=2, quantity=1), Licence(product_code=2, quantity=1))
    site.issue(Removal(LicenceSelector(None, 1001)))
    # the ledger still counts the units that were taken
    assert "Reference 1" in site.refused("reference-used", METERED).remedy
    site.issue(msgspec.structs.replace(METERED, reference=1))
    other = [Container.create(ACT_ID, raw_public_key(private_key(20)))]
    assert issue_to(other, site.history, METERED, network=True).added[0].reference == 0


def test_a_new_network_server_inherits_nothing() -> None:
    site = Site(EDITOR, network=True)
    site.system = [Container.create(ACT_ID, raw_public_key(private_key(20)))]
    site.refused("nothing-to-issue")


def test_number_of_requests() -> None:
    history: list[Update] = []
    for count in (0, 2, 3):
        with pytest.raises(NotIssued) as caught:
            issue_to(containers()[:count], history, network=True)
        assert caught.value.code == "not-one"
    with pytest.raises(NotIssued) as caught:
        issue_to(containers()[:1], history)
    assert caught.value.code == "not-three"
    assert "network licence server" in caught.value.remedy


def test_a_reference_where_a_tmr_id_tells_licences_apart() -> None:
    with pytest.raises(BadItem, match="TMR-Id 1 has the Product Item Reference 4"):
        issue_to(containers(), [], Licence(product_code=1, quantity=1, reference=4))


def test_a_container_is_of_one_kind_of_server() -> None:
    network, tmr = Site(EDITOR, network=True), Site(EDITOR)
    with pytest.raises(NotIssued) as caught:
        issue_to(tmr.system[:1], tmr.history, EDITOR, network=True)
    assert caught.value.code == "other-kind"
    with pytest.raises(NotIssued) as caught:
        issue_to([*network.system, *containers()[1:]], network.history)
    assert caught.value.code == "other-kind"


def test_a_container_refuses_an_update_of_the_other_kind() -> None:
    network, tmr = Site(EDITOR, network=True), Site(EDITOR)
    # a vendor without the record of the first update issues the other kind with the next counter
    plain = issue_to(network.system, network.history, [], network=True)
    assert_refused(tmr.system[0], plain.file, "other-kind")
    three = issue_to(tmr.system, tmr.history, [])
    error = assert_refused(network.system[0], three.file, "other-kind")
    assert "for three containers" in error.reason
    # another firm's items say the kind, too
    foreign = msgspec.structs.replace(item(), firm_code=FIRM + 1)
    container = msgspec.structs.replace(containers()[0], items=(foreign,))
    assert_refused(container, issue_to(containers()[:1], [], network=True).file, "other-kind")


def test_the_server_says_which_kind_it_is() -> None:
    container = containers()[0]
    plain = issue_to([container], [], network=True).file
    three = issue_to(containers(), []).file
    for file, own, other in ((plain, NETWORK, TMR), (three, TMR, NETWORK)):
        assert activate(container, file, TRUSTED, deployment=own).items
        with pytest.raises(ValueError, match="the update holds"):
            activate(container, file, TRUSTED, deployment=other)


# -- what no update can say --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "items", "told"),
    [
        (3, [item(None)], "has no TMR-Id"),
        (1, [item(1)], "has a TMR-Id"),
        (3, [item(1), item(1, 1002)], "on two products"),
        (3, [item(1), item(1, quantity=6)], "occurs twice"),
        (1, [item(None), item(None, quantity=6)], "occurs twice"),
        (2, [item(1)], "number of parts"),
    ],
)
def test_updates_that_contradict_themselves(count: int, items: Sequence[ProductItem], told: str) -> None:
    tree = msgspec.to_builtins(issue_to(containers(), []).update)
    tree["parts"] = tree["parts"][:count]
    for part in tree["parts"]:
        part["items"] = msgspec.to_builtins(items)
    file = seal(UPDATE_TYPE, msgspec.json.encode(tree), VENDOR)
    container = next(c for c in containers() if c.serial == tree["parts"][0]["container"])
    assert told in assert_refused(container, file, "ill-formed").reason


@pytest.mark.parametrize("mask", [1, 2, 3, 128, 129, 131, 140])
def test_updates_for_other_kinds_of_container(mask: int) -> None:
    tree = msgspec.to_builtins(issue_to(containers(), []).update)
    tree["parts"][0]["container"] = f"{mask}-7"
    file = seal(UPDATE_TYPE, msgspec.json.encode(tree), VENDOR)
    error = assert_refused(containers()[0], file, "ill-formed")
    assert f"a {Serial(mask, 7).kind} does not belong" in error.reason


def request_of(container: Container, key: bytes) -> Request:
    """A request that claims this serial for that key; 32 bits cannot be made to collide in a test's time."""
    return Request(FORMAT, container.serial, container.act_id, FIRM, 0, key.hex(), None, digest(()))


def test_two_containers_that_share_a_serial() -> None:
    one, two, three = containers()
    other = raw_public_key(private_key(30))
    trio = [request_of(container, container.key) for container in (one, two, three)]
    for requests, history in (
        ([trio[0], request_of(one, other), trio[2]], []),
        ([request_of(one, other), *trio[1:]], Site(EDITOR).history),
    ):
        with pytest.raises(NotIssued) as caught:
            issue(history, requests, [EDITOR], firm_code=FIRM, key=VENDOR, issued_ms=1, update_id="u")
        assert caught.value.code == "serial-collision"
        assert one.serial in caught.value.reason


# -- a vendor at work --------------------------------------------------------------------------------------


class VendorAtWork(RuleBasedStateMachine):
    """Random orders to two TMR systems and a network server, against a naive model."""

    keys = Bundle("keys")

    @initialize()
    def begin(self) -> None:
        self.history: list[Update] = []
        self.systems = {
            "first": [Container.create("first", raw_public_key(private_key(n))) for n in (1, 2, 3)],
            "second": [Container.create("second", raw_public_key(private_key(n))) for n in (4, 5, 6)],
            "plain": [Container.create("plain", raw_public_key(private_key(7)))],
        }
        self.model: dict[tuple[str, LicenceKey], ProductItem] = {}
        self.tmr_ids: list[int | None] = []
        self.used: set[LicenceKey] = set()

    def order(self, name: str, *orders: Order) -> list[ProductItem]:
        """Issue and activate; the items added."""
        issued = issue_to(self.systems[name], self.history, orders, network=name == "plain")
        self.systems[name] = activated(self.systems[name], issued.file)
        return list(issued.added)

    @rule(target=keys, name=st.sampled_from(["first", "second"]), licence=licences(st.integers(1, 3)))
    def add(self, name: str, licence: Licence) -> tuple[str, LicenceKey]:
        (added,) = self.order(name, licence)
        self.tmr_ids.append(added.tmr_id)
        self.model[name, added.key] = added
        return name, added.key

    @rule(target=keys, licence=licences(st.integers(1, 3)), reference=st.integers(0, 2))
    def add_plain(self, licence: Licence, reference: int) -> tuple[str, LicenceKey]:
        licence = msgspec.structs.replace(licence, reference=reference)
        key = LicenceKey(FIRM, licence.product_code, None, reference)
        if key in self.used:
            with pytest.raises(NotIssued) as caught:
                self.order("plain", licence)
            assert caught.value.code == (
                "licence-exists" if ("plain", key) in self.model else "reference-used"
            )
            return "plain", key
        (added,) = self.order("plain", licence)
        assert added.key == key
        self.used.add(key)
        self.model["plain", key] = added
        return "plain", key

    @rule(named=keys, units=st.integers(1, 1000))
    def refill(self, named: tuple[str, LicenceKey], units: int) -> None:
        name, key = named
        had = self.model.get(named)
        order = Refill(LicenceSelector(key.tmr_id, key.product_code, key.reference), units)
        if had is None or had.units is None or had.units + units > UNITS_MAX:
            with pytest.raises((NotIssued, BadItem)):
                self.order(name, order)
        else:
            self.order(name, order)
            self.model[named] = msgspec.structs.replace(had, units=had.units + units)

    @rule(named=keys, quantity=st.none() | st.integers(1, 9), units=st.none() | st.integers(1, 2000))
    def change(self, named: tuple[str, LicenceKey], quantity: int | None, units: int | None) -> None:
        name, key = named
        had = self.model.get(named)
        changes: dict[str, Any] = {"quantity": quantity, "units": units, "borrow_seats": None}
        order = Change(LicenceSelector(key.tmr_id, key.product_code, key.reference), changes)
        if had is None or (had.units is not None and (units is None or units < had.units)):
            with pytest.raises(NotIssued):
                self.order(name, order)
        else:
            self.order(name, order)
            self.model[named] = msgspec.structs.replace(had, **changes)

    @rule(named=keys)
    def remove(self, named: tuple[str, LicenceKey]) -> None:
        name, key = named
        order = Removal(LicenceSelector(key.tmr_id, key.product_code, key.reference))
        if named in self.model:
            self.order(name, order)
            del self.model[named]
        else:
            with pytest.raises(NotIssued):
                self.order(name, order)

    @invariant()
    def containers_hold_what_the_model_says(self) -> None:
        for name, system in self.systems.items():
            wanted = sorted((key, item) for (where, key), item in self.model.items() if where == name)
            assert {container.items for container in system} == {tuple(item for _, item in wanted)}

    @invariant()
    def tmr_ids_are_consecutive(self) -> None:
        assert self.tmr_ids == list(range(1, len(self.tmr_ids) + 1))


TestVendorAtWork = VendorAtWork.TestCase
TestVendorAtWork.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
