# SPDX-License-Identifier: Apache-2.0
"""Issuing as a function: what follows from the history, and every refusal."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    BadItem,
    BadRequest,
    Container,
    Firm,
    Licence,
    NotIssued,
    ProductItem,
    Update,
    activate,
    issue,
    make_request,
    next_tmr_id,
    open_request,
    raw_public_key,
)
from tmr.licensing.dsse import seal
from tmr.licensing.items import ITEMS_MAX
from tmr.licensing.options import NAME_MAX
from tmr.licensing.request import REQUEST_TYPE

from .system import (
    ACT_ID,
    CONTAINER_KEYS,
    EDITOR,
    FIRM,
    NOW_MS,
    STRANGER,
    TRUSTED,
    VENDOR,
    activated,
    assert_refused,
    containers,
    issue_to,
    private_key,
)

SECOND_SYSTEM = (private_key(21), private_key(22), private_key(23))


def refused(code: str, system: list[Container], history: list[Update], **change: object) -> NotIssued:
    before = list(history)
    issue_any: Callable[..., object] = issue_to
    with pytest.raises(NotIssued) as caught:
        issue_any(system, history, **change)
    assert caught.value.code == code, str(caught.value)
    assert caught.value.remedy
    assert history == before
    return caught.value


def test_three_parts_are_identical_and_follow_each_counter() -> None:
    issued = issue_to(containers(), [])
    assert issued.update.identical
    assert [part.counter for part in issued.update.parts] == [1, 1, 1]
    (added,) = issued.added
    assert added.tmr_id == 1
    assert (issued.changed, issued.removed) == ((), ())


def test_tmr_ids_are_consecutive_over_all_systems_of_the_firm() -> None:
    history: list[Update] = []
    first, second = containers(), containers("second", SECOND_SYSTEM)
    found: list[ProductItem] = []
    for _ in range(3):
        issued = issue_to(first, history)
        first = activated(first, issued.file)
        found += issued.added
        issued = issue_to(second, history, Licence(product_code=2, quantity=None))
        second = activated(second, issued.file)
        found += issued.added
    assert [i.tmr_id for i in found] == [1, 2, 3, 4, 5, 6]
    assert [i.tmr_id for i in first[0].items] == [1, 3, 5]
    assert next_tmr_id(history) == 7


def test_a_new_container_in_place_of_a_broken_one_gets_everything() -> None:
    history: list[Update] = []
    system = activated(containers(), issue_to(containers(), history).file)
    system = activated(system, issue_to(system, history).file)
    new = Container.create(ACT_ID, raw_public_key(private_key(20)))
    system = [system[0], system[1], new]
    issued = issue_to(system, history, None)
    assert issued.added == ()
    assert sorted(part.counter for part in issued.update.parts) == [1, 3, 3]
    after = activated(system, issued.file)
    assert {container.items for container in after} == {system[0].items}


def test_two_new_containers_would_be_a_second_system() -> None:
    history: list[Update] = []
    system = activated(containers(), issue_to(containers(), history).file)
    new = [Container.create(ACT_ID, raw_public_key(private_key(n))) for n in (20, 24)]
    for licence in (EDITOR, None):
        error = refused("too-many-new", [system[0], *new], history, licence=licence)
        assert all(container.serial in error.reason for container in new)
        assert "--former-lost" in error.remedy


def test_all_containers_are_new_and_the_vendor_believes_that_the_former_are_lost() -> None:
    history: list[Update] = []
    activated(containers(), issue_to(containers(), history).file)
    new = [Container.create(ACT_ID, raw_public_key(private_key(n))) for n in (20, 24, 28)]
    refused("too-many-new", new, history, licence=None)
    issued = issue_to(new, history, None, former_lost=True)
    assert [part.counter for part in issued.update.parts] == [1, 1, 1]
    assert {c.items for c in activated(new, issued.file)} == {history[0].parts[0].items}


def test_not_three() -> None:
    for count in (0, 1, 2):
        refused("not-three", containers()[:count], [])
    refused("not-three", [*containers(), Container.create(ACT_ID, raw_public_key(private_key(20)))], [])


def test_a_container_that_is_away_needs_no_request_where_the_record_has_it() -> None:
    history: list[Update] = []
    one, two, away = activated(containers(), issue_to(containers(), history).file)
    first = issue_to([one, two], history)
    assert first.absent == away.serial
    assert [part.counter for part in first.update.parts] == [2, 2, 2]
    one, two = activated([one, two], first.file)
    second = issue_to([one, two], history, Licence(product_code=2, quantity=1))
    one, two = activated([one, two], second.file)
    back = activate(activate(away, first.file, TRUSTED), second.file, TRUSTED)
    assert back.items == one.items == two.items
    assert sorted(item.tmr_id or 0 for item in back.items) == [1, 2, 3]
    assert issue_to([one, two, back], history).absent == ""


def test_a_request_may_be_missing_only_where_the_record_tells_whose() -> None:
    history: list[Update] = []
    one, two, three = activated(containers(), issue_to(containers(), history).file)
    new = Container.create(ACT_ID, raw_public_key(private_key(20)))
    refused("not-three", [one, new], history)
    refused("not-three", [one], history)
    refused("not-three", [one, two], history, former_lost=True)
    refused("record-behind", activated([one, two], issue_to([one, two, three], list(history)).file), history)
    stranger = Container.create("other", raw_public_key(private_key(20)))
    refused("not-three", [one, stranger], history)


def test_an_absent_container_gets_what_it_has_not_activated_yet_first() -> None:
    history: list[Update] = []
    file = issue_to(containers(), history).file
    one, two, away = containers()
    one, two = activated([one, two], file)
    after = issue_to([one, two], history).file
    assert_refused(away, after, "counter-skips")
    assert (
        activate(activate(away, file, TRUSTED), after, TRUSTED).items == activate(one, after, TRUSTED).items
    )


def test_duplicate_container() -> None:
    one, two, _ = containers()
    error = refused("duplicate-container", [one, two, one], [])
    assert one.serial in error.reason


def test_other_system() -> None:
    strange = Container.create("other", raw_public_key(private_key(20)))
    error = refused("other-system", [*containers()[:2], strange], [])
    assert ACT_ID in error.reason
    assert strange.serial in error.reason


def test_wrong_firm() -> None:
    requests = [
        open_request(make_request(c, FIRM + 1, k)) for c, k in zip(containers(), CONTAINER_KEYS, strict=True)
    ]
    with pytest.raises(NotIssued) as caught:
        issue([], requests, [EDITOR], firm_code=FIRM, key=VENDOR, issued_ms=NOW_MS, update_id="u")
    assert caught.value.code == "wrong-firm"


def test_pinned_to_another_vendor_key() -> None:
    system = activated(containers(), issue_to(containers(), []).file)
    refused("vendor-key-changed", system, [], key=STRANGER)


def test_update_pending() -> None:
    history: list[Update] = []
    file = issue_to(containers(), history).file
    one, two, three = containers()
    error = refused(
        "update-pending", [activate(one, file, TRUSTED), activate(two, file, TRUSTED), three], history
    )
    assert three.serial in error.reason
    assert history[0].update_id in error.reason


def test_record_behind() -> None:
    history: list[Update] = []
    system = activated(containers(), issue_to(containers(), history).file)
    refused("record-behind", system, [])
    # the record lost its tail, and another update with the same counter took its place
    other: list[Update] = []
    issue_to(containers(), other, Licence(product_code=9, quantity=9))
    refused("record-behind", system, other)


def test_nothing_to_issue() -> None:
    refused("nothing-to-issue", containers(), [], licence=None)


def with_items(count: int, name: str) -> tuple[list[Container], list[Update]]:
    """A system, and the history, in which it holds that many items of that name."""
    tree = msgspec.to_builtins(issue_to(containers(), []).update)
    for part in tree["parts"]:
        part["items"] = [part["items"][0] | {"tmr_id": n, "name": name} for n in range(1, count + 1)]
    update = msgspec.convert(tree, Update)
    firm = Firm(FIRM, 1, update.update_id, TRUSTED[FIRM])
    system = [
        msgspec.structs.replace(container, items=update.parts[0].items, firms=(firm,))
        for container in containers()
    ]
    return system, [update]


def test_as_many_items_as_fit() -> None:
    issue_to(*with_items(ITEMS_MAX - 1, "Editor"))
    assert "Product Items" in refused("too-many-items", *with_items(ITEMS_MAX, "Editor")).reason


def test_file_too_large() -> None:
    # names of four bytes a character: fewer items than allowed, but more bytes than a container reads
    assert "bytes" in refused("too-many-items", *with_items(ITEMS_MAX - 1, "\U0001f512" * NAME_MAX)).reason


def test_unfit_licence() -> None:
    for licence in (
        Licence(product_code=-1, quantity=5),
        Licence(product_code=1, quantity=0),
        Licence(product_code=1, quantity=5, expiration_ms=0),
        Licence(product_code=1, quantity=5, name="a\tb"),
    ):
        with pytest.raises(BadItem):
            issue_to(containers(), [], licence)


def test_tmr_ids_end() -> None:
    tree = msgspec.to_builtins(issue_to(containers(), []).update)
    for part in tree["parts"]:
        part["items"][0]["tmr_id"] = 2**32 - 1
    with pytest.raises(NotIssued):
        next_tmr_id([msgspec.convert(tree, Update)])


def test_request_signed_by_somebody_else() -> None:
    request = open_request(make_request(containers()[0], FIRM, CONTAINER_KEYS[0]))
    foreign = seal(REQUEST_TYPE, msgspec.json.encode(request), STRANGER)
    with pytest.raises(BadRequest) as caught:
        open_request(foreign)
    assert caught.value.code == "foreign-signature"
    # the stranger puts the own key in, but the serial belongs to the container's key
    posing = msgspec.structs.replace(request, container_key=raw_public_key(STRANGER).hex())
    with pytest.raises(BadRequest) as caught:
        open_request(seal(REQUEST_TYPE, msgspec.json.encode(posing), STRANGER))
    assert caught.value.code == "foreign-signature"


@given(st.lists(st.sampled_from(["first", "second"]), max_size=6))
def test_no_tmr_id_twice(order: list[str]) -> None:
    history: list[Update] = []
    systems = {"first": containers("first"), "second": containers("second", SECOND_SYSTEM)}
    given_ids = []
    for name in order:
        issued = issue_to(systems[name], history)
        systems[name] = activated(systems[name], issued.file)
        given_ids += [added.tmr_id for added in issued.added]
    assert given_ids == list(range(1, len(order) + 1))
