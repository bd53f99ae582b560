# SPDX-License-Identifier: Apache-2.0
from itertools import permutations
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    BadItem,
    Incomplete,
    Merged,
    MergedLicence,
    ProductItem,
    Statement,
    merge,
    merge_plain,
)

from .strategies import options
from .system import ACT_ID, FIRM, item


def stated(number: int, *items: ProductItem, act_id: str = ACT_ID) -> Statement:
    return Statement(f"up{number}", f"130-{number}", act_id, 0, items)


def test_three_identical() -> None:
    merged = merge([stated(1, item()), stated(2, item()), stated(3, item())])
    assert merged == Merged((MergedLicence(item(), ("up1", "up2", "up3")),))
    assert merged.licences[0].alarms == ()


def test_two_identical_and_one_away() -> None:
    merged = merge([stated(1, item()), stated(3, item())])
    assert merged == Merged((MergedLicence(item(), ("up1", "up3")),))


def test_two_identical_and_one_without_it() -> None:
    merged = merge([stated(1, item()), stated(2), stated(3, item())])
    assert merged == Merged((MergedLicence(item(), ("up1", "up3"), (), ("up2",)),))


def test_two_identical_and_one_different_count_and_raise_an_alarm() -> None:
    for changed in (item(quantity=6), item(quantity=None), item(name="editor")):
        merged = merge([stated(1, changed), stated(2, item()), stated(3, item())])
        assert merged == Merged((MergedLicence(item(), ("up2", "up3"), ("up1",)),))
        assert merged.licences[0].alarms == (
            "up1 holds a different constituent of 6000010:1001 TMR-Id 1 than up2 and up3",
        )


@given(options(), options(), st.integers(0, 2))
def test_constituents_that_differ_in_any_option_never_count_together(
    some: dict[str, Any], other: dict[str, Any], place: int
) -> None:
    same = ProductItem(firm_code=FIRM, product_code=1, tmr_id=1, **some)
    for field in ProductItem.__struct_fields__:
        if field not in other:
            continue
        try:
            changed = msgspec.structs.replace(same, **{field: other[field]})
        except BadItem:
            continue  # contradicts the other options
        held = [same, same, same]
        held[place] = changed
        merged = merge(stated(number, each) for number, each in enumerate(held, start=1))
        assert [licence.item for licence in merged.licences] == [same]
        differing = () if changed == same else (f"up{place + 1}",)
        assert merged.licences[0].differing == differing
        assert len(merged.alarms) == len(differing)
        two = merge([stated(1, same), stated(2, changed)])
        assert bool(two.licences) == (changed == same)


def test_one_alone_yields_nothing() -> None:
    key = item().key
    assert merge([stated(2, item())]) == Merged((), (Incomplete(key, ("up2",)),))
    assert merge([stated(1), stated(2, item())]) == Merged((), (Incomplete(key, ("up2",), ("up1",)),))
    assert merge([]) == Merged()


def test_all_different_yield_nothing() -> None:
    merged = merge([stated(n, item(quantity=n)) for n in (1, 2, 3)])
    assert merged == Merged((), (Incomplete(item().key, ("up1", "up2", "up3")),))
    assert merged.incomplete[0].differ
    assert merged.alarms == (
        "up1 and up2 and up3 hold different constituents of 6000010:1001 TMR-Id 1, no two of them identical: "
        "it is not served",
    )


def test_two_different_and_one_away_yield_nothing() -> None:
    merged = merge([stated(1, item()), stated(3, item(quantity=6))])
    assert merged.licences == ()
    assert len(merged.alarms) == 1


def test_one_constituent_missing_is_no_alarm() -> None:
    assert merge([stated(1, item()), stated(2), stated(3, item())]).alarms == ()
    assert merge([stated(1, item()), stated(2)]).alarms == ()


def test_one_tmr_id_on_two_products() -> None:
    merged = merge([stated(1, item()), stated(2, item()), stated(3, item(product_code=1002))])
    assert [(licence.item, licence.agreeing) for licence in merged.licences] == [(item(), ("up1", "up2"))]
    assert [lost.present for lost in merged.incomplete] == [("up3",)]
    assert merged.alarms == (
        "the TMR-Id 1 of the firm 6000010 is on more than one product: 1001 on up1, up2 and 1002 on up3",
    )
    within = merge([stated(n, item(), item(product_code=1002)) for n in (1, 2)])
    assert [licence.key.product_code for licence in within.licences] == [1001, 1002]
    assert len(within.alarms) == 1
    # TMR-Ids are the vendor's own: two firms number alike
    other = msgspec.structs.replace(item(), firm_code=FIRM + 1)
    assert merge([stated(n, item(), other) for n in (1, 2)]).alarms == ()


def test_another_tmr_id_is_another_licence() -> None:
    merged = merge([stated(1, item(1)), stated(2, item(2))])
    assert merged.licences == ()
    assert [lost.present for lost in merged.incomplete] == [("up1",), ("up2",)]


def test_plain_licences_never_merge() -> None:
    assert merge([stated(n, item(None)) for n in (1, 2, 3)]) == Merged()


def test_a_network_licence_server_serves_its_plain_licences_alone() -> None:
    plain = [item(None), msgspec.structs.replace(item(None), reference=1)]
    merged = merge_plain(stated(1, item(1), *plain))
    assert [licence.item for licence in merged.licences] == plain
    assert merged.incomplete == ()


def test_a_copied_container_counts_once() -> None:
    copy = Statement("up2", "130-1", ACT_ID, 0, (item(),))
    merged = merge([stated(1, item()), copy])
    assert merged.licences == ()
    assert merged.incomplete == (Incomplete(item().key, ("up1",)),)
    assert [(r.upstream, r.container) for r in merged.rejected] == [("up2", "130-1")]
    assert merged.alarms == (
        "the container 130-1 of up2 does not count: another upstream states the same container: it was "
        "copied, or two share a serial by chance",
    )


def test_two_of_three_containers_with_one_serial() -> None:
    copies = [stated(1, item()), Statement("up2", "130-1", ACT_ID, 0, (item(),)), stated(3, item())]
    merged = merge(copies)
    assert merged.licences[0].agreeing == ("up1", "up3")
    assert len(merged.alarms) == 1


def test_one_upstream_counts_once() -> None:
    second = Statement("up1", "130-9", ACT_ID, 0, (item(),))
    merged = merge([stated(1, item()), second])
    assert merged.licences == ()
    assert len(merged.rejected) == 1


def test_another_system_does_not_count() -> None:
    merged = merge([stated(1, item()), stated(2, item(), act_id="other")])
    assert merged.licences == ()
    foreign = merge(
        [stated(1, item()), stated(2, item(), act_id="other"), stated(3, item(), act_id="other")], ACT_ID
    )
    assert foreign.licences == ()
    assert foreign.incomplete == (Incomplete(item().key, ("up1",)),)
    assert [r.upstream for r in foreign.rejected] == ["up2", "up3"]


statements = st.lists(
    st.builds(
        lambda number, container, act_id, quantities: Statement(
            f"up{number}",
            f"130-{container}",
            act_id,
            0,
            tuple(item(n, quantity=q) for n, q in enumerate(quantities, 1) if q),
        ),
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from([ACT_ID, "other"]),
        st.lists(st.integers(0, 2), max_size=3),
    ),
    max_size=4,
)


@given(statements)
def test_promises(given_statements: list[Statement]) -> None:
    merged = merge(given_statements)
    # the order of the statements does not matter, and the result travels
    assert all(merge(arrangement) == merged for arrangement in permutations(given_statements))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(merged), type=Merged) == merged
    for licence in merged.licences:
        holders = [s for s in given_statements if licence.item in s.items and s.upstream in licence.agreeing]
        assert len({s.upstream for s in holders}) >= 2
        assert len({s.container for s in holders}) >= 2
        assert not set(licence.agreeing) & set(licence.differing)
        assert not set(licence.missing) & {*licence.agreeing, *licence.differing}
    assert not {licence.key for licence in merged.licences} & {lost.key for lost in merged.incomplete}
