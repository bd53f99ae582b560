# SPDX-License-Identifier: Apache-2.0
"""Updates that a container accepts, and all that it refuses. A refusal leaves it as it was."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    BadItem,
    BadKey,
    Container,
    Licence,
    Part,
    Update,
    activate,
    check_for,
    make_request,
    merge,
    open_request,
    open_update,
    raw_public_key,
)
from tmr.licensing.dsse import seal
from tmr.licensing.items import ITEMS_BYTES, ITEMS_MAX
from tmr.licensing.options import NAME_MAX
from tmr.licensing.update import UPDATE_TYPE, seal_update
from tmr.quorum.entries import BODY_MAX

from .system import (
    ACT_ID,
    CONTAINER_KEYS,
    FIRM,
    STRANGER,
    TRUSTED,
    VENDOR,
    activated,
    assert_refused,
    containers,
    issue_to,
    item,
    private_key,
)


def test_a_trio_activates_and_merges() -> None:
    issued = issue_to(containers(), [])
    system = activated(containers(), issued.file)
    for container, before in zip(system, containers(), strict=True):
        assert container.items == (item(),)
        assert container.generation == before.generation + 1
        firm = container.firm(FIRM)
        assert firm is not None
        assert (firm.counter, firm.update_id, firm.vendor_key) == (1, issued.update.update_id, TRUSTED[FIRM])
    merged = merge(container.statement(f"up{n}") for n, container in enumerate(system, 1))
    assert [licence.item for licence in merged.licences] == [item()]


def test_the_container_travels() -> None:
    container = activated(containers(), issue_to(containers(), []).file)[0]
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(container), type=Container) == container


def test_updates_follow_one_another() -> None:
    history: list[Update] = []
    system = containers()
    for round_ in (1, 2, 3):
        system = activated(
            system,
            issue_to(system, history, Licence(product_code=1001, quantity=5, name="Editor")).file,
        )
        assert [i.tmr_id for i in system[0].items] == list(range(1, round_ + 1))
    assert {container.items for container in system} == {system[0].items}


def test_two_firms_keep_to_themselves() -> None:
    other_firm, other_key = FIRM + 1, private_key(3)
    trusted = TRUSTED | {other_firm: raw_public_key(other_key)}
    system = activated(containers(), issue_to(containers(), []).file)
    file = issue_to(system, [], Licence(product_code=7, quantity=None), other_key, other_firm).file
    container = activate(system[0], file, trusted)
    assert container.items_of(FIRM) == system[0].items
    assert [i.firm_code for i in container.items_of(other_firm)] == [other_firm]
    assert [firm.firm_code for firm in container.firms] == [FIRM, other_firm]


def test_replayed() -> None:
    file = issue_to(containers(), []).file
    container = activated(containers(), file)[0]
    assert_refused(container, file, "replayed")


def test_older_counter() -> None:
    history: list[Update] = []
    first = issue_to(containers(), history).file
    system = activated(containers(), first)
    system = activated(system, issue_to(system, history).file)
    assert_refused(system[0], first, "older-counter")


def test_same_counter_of_another_update() -> None:
    # a vendor with a record restored from a backup issues the same counter twice
    first, second = (
        issue_to(containers(), []),
        issue_to(containers(), [], Licence(product_code=2, quantity=2)),
    )
    twice = seal_update(msgspec.structs.replace(second.update, update_id="another"), VENDOR)
    assert_refused(activate(containers()[0], first.file, TRUSTED), twice, "older-counter")


def test_counter_skips() -> None:
    history: list[Update] = []
    system = activated(containers(), issue_to(containers(), history).file)
    assert_refused(containers()[0], issue_to(system, history).file, "counter-skips")


def test_other_container() -> None:
    file = issue_to(containers(), []).file
    other = Container.create(ACT_ID, raw_public_key(private_key(20)))
    assert_refused(other, file, "other-container")


def test_same_serial_with_another_key() -> None:
    file = issue_to(containers(), []).file
    container = msgspec.structs.replace(containers()[0], key=raw_public_key(private_key(20)))
    assert_refused(container, file, "other-container")


def test_other_system() -> None:
    file = issue_to(containers("other"), []).file
    assert_refused(containers()[0], file, "other-system")


def test_unknown_vendor() -> None:
    file = issue_to(containers(), [], key=STRANGER).file
    error = assert_refused(containers()[0], file, "unknown-vendor")
    assert f"{FIRM}" in error.reason
    assert_refused(containers()[0], file, "unknown-vendor", {})


def test_wrong_firm() -> None:
    file = issue_to(containers(), [], firm_code=FIRM + 1).file
    assert_refused(containers()[0], file, "wrong-firm")
    trusted = TRUSTED | {FIRM + 1: raw_public_key(STRANGER)}
    assert_refused(containers()[0], file, "wrong-firm", trusted)


def test_pinned_to_another_key() -> None:
    history: list[Update] = []
    container = activated(containers(), issue_to(containers(), history).file)[0]
    update = issue_to(activated(containers(), seal_update(history[0], VENDOR)), history).update
    file = seal_update(update, STRANGER)
    assert_refused(container, file, "vendor-key-changed", {FIRM: raw_public_key(STRANGER)})


def test_signed_by_two_of_whom_one_is_trusted() -> None:
    update = issue_to(containers(), []).update
    payload = msgspec.json.encode(update)
    file = seal(UPDATE_TYPE, payload, STRANGER, VENDOR)
    assert activate(containers()[0], file, TRUSTED).items == (item(),)


def test_parts_differ() -> None:
    update = issue_to(containers(), []).update
    for position in range(3):
        for change in ((item(quantity=6),), (), (item(), item(2))):
            parts = list(update.parts)
            parts[position] = msgspec.structs.replace(parts[position], items=change)
            file = seal_update(msgspec.structs.replace(update, parts=tuple(parts)), VENDOR)
            for container in containers():
                assert_refused(container, file, "parts-differ")


def test_another_payload_type() -> None:
    payload = msgspec.json.encode(issue_to(containers(), []).update)
    assert_refused(containers()[0], seal("application/json", payload, VENDOR), "ill-formed")
    assert_refused(containers()[0], make_request(containers()[0], FIRM, CONTAINER_KEYS[0]), "ill-formed")


def test_tampered_payload_and_signature() -> None:
    file = issue_to(containers(), []).file
    stranger = issue_to(containers(), [], Licence(product_code=1001, quantity=None), STRANGER).file
    own, foreign = msgspec.json.decode(file), msgspec.json.decode(stranger)
    for field in ("payload", "signatures"):
        mixed = own | {field: foreign[field]}
        mixed["signatures"][0]["keyid"] = own["signatures"][0]["keyid"]
        assert_refused(containers()[0], msgspec.json.encode(mixed), "tampered")


def test_items_of_another_firm_inside() -> None:
    update = issue_to(containers(), []).update
    foreign = msgspec.structs.replace(item(), firm_code=FIRM + 1)
    tree = msgspec.to_builtins(update)
    for part in tree["parts"]:
        part["items"] = [msgspec.to_builtins(foreign)]
    error = assert_refused(
        containers()[0], seal(UPDATE_TYPE, msgspec.json.encode(tree), VENDOR), "ill-formed"
    )
    assert "not of the firm" in error.reason


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_number_of_parts(keep: int) -> None:
    tree = msgspec.to_builtins(issue_to(containers(), []).update)
    tree["parts"] = tree["parts"][:keep]
    assert_refused(containers()[0], seal(UPDATE_TYPE, msgspec.json.encode(tree), VENDOR), "ill-formed")
    tree["parts"] = (tree["parts"] or [{}]) * 3
    assert_refused(containers()[0], seal(UPDATE_TYPE, msgspec.json.encode(tree), VENDOR), "ill-formed")


def test_too_many_items_with_those_of_other_firms() -> None:
    other_firm = FIRM + 1
    full = tuple(msgspec.structs.replace(item(n), firm_code=other_firm) for n in range(1, ITEMS_MAX + 1))
    container = msgspec.structs.replace(containers()[0], items=full)
    assert_refused(container, issue_to(containers(), []).file, "too-many-items")


def test_too_many_bytes_with_those_of_other_firms() -> None:
    """Three statements of containers must fit one journal entry, or none would be assembled any more."""
    assert 3 * ITEMS_BYTES < BODY_MAX
    large = dict.fromkeys(("name", "text", "customer"), "\U0001f512" * NAME_MAX)
    count = ITEMS_BYTES // (4 * NAME_MAX * len(large)) + 1
    other = tuple(msgspec.structs.replace(item(n), firm_code=FIRM + 1, **large) for n in range(1, count + 1))
    container = msgspec.structs.replace(containers()[0], items=other)
    assert_refused(container, issue_to(containers(), []).file, "too-many-items")


def test_check_for_is_what_activate_uses() -> None:
    issued = issue_to(containers(), [])
    update = open_update(issued.file, TRUSTED[FIRM])
    assert check_for(update, containers()[0]) == (item(),)


def test_request_tells_the_state() -> None:
    container = activated(containers(), issue_to(containers(), []).file)[0]
    request = open_request(make_request(container, FIRM, CONTAINER_KEYS[0]))
    assert (request.container, request.act_id, request.counter) == (container.serial, ACT_ID, 1)
    assert request.vendor_key == TRUSTED[FIRM].hex()
    with pytest.raises(BadKey):
        make_request(container, FIRM, CONTAINER_KEYS[1])
    with pytest.raises(BadItem):
        make_request(container, 5, CONTAINER_KEYS[0])


def test_limits_of_a_part() -> None:
    part = issue_to(containers(), []).update.parts[0]
    with pytest.raises(BadItem):
        Part(part.container, part.container_key, 0, part.items)
    with pytest.raises(BadKey):
        Part(part.container, part.container_key.upper() + "\n", 1, part.items)


@given(st.data())
def test_whatever_is_delivered_in_whatever_order_containers_do_not_diverge(data: st.DataObject) -> None:
    """Each gets the files in its own order, some twice, some never: equal counters mean equal items."""
    history: list[Update] = []
    files: list[bytes] = []
    reference = containers()
    for _ in range(data.draw(st.integers(1, 4))):
        files.append(
            issue_to(
                reference, history, Licence(product_code=data.draw(st.integers(1, 3)), quantity=None)
            ).file
        )
        reference = activated(reference, files[-1])
    by_counter: dict[int, tuple[object, ...]] = {}
    for new in containers():
        container = new
        for index in data.draw(st.lists(st.integers(0, len(files) - 1), max_size=10)):
            try:
                container = activate(container, files[index], TRUSTED)
            except ValueError:
                continue
        firm = container.firm(FIRM)
        counter = firm.counter if firm else 0
        assert by_counter.setdefault(counter, container.items) == container.items
