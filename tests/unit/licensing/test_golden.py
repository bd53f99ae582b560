# SPDX-License-Identifier: Apache-2.0
"""Files from before Product Items had all their options: still read, and still written the same.

`golden/` was made by the code before: two updates for the containers of `system.py` (an Editor; an unlimited
licence with an Expiration Time), then the first container, its statement and its request.
"""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    Container,
    Issued,
    Licence,
    ProductItem,
    SignedStatement,
    Statement,
    Update,
    activate,
    make_request,
    open_request,
    open_statement,
    open_update,
    sign,
)
from tmr.licensing.container import digest
from tmr.licensing.items import packed
from tmr.licensing.update import seal_update

from .strategies import items
from .system import CONTAINER_KEYS, FIRM, NOW_MS, TRUSTED, VENDOR, activated, containers, issue_to

GOLDEN = Path(__file__).parent / "golden"
UPDATES = [(GOLDEN / f"update-{number}.json").read_bytes() for number in (1, 2)]
CONTAINER = bytes.fromhex((GOLDEN / "container.hex").read_text())
STATEMENT = bytes.fromhex((GOLDEN / "statement.hex").read_text())
REQUEST = (GOLDEN / "request.json").read_bytes()
DIGEST = "697b85ebf24b22bfef7de43d513fa9463b9114b80a00463e3adbb52d2b5aec92"


def issued_anew() -> list[Issued]:
    history: list[Update] = []
    system, found = containers(), []
    for licence in (
        Licence(product_code=1001, quantity=5, name="Editor"),
        Licence(product_code=7, quantity=None, expiration_ms=1_900_000_000_000),
    ):
        found.append(issue_to(system, history, licence))
        system = activated(system, found[-1].file)
    return found


def test_updates_are_accepted_and_lead_to_the_same_container() -> None:
    container = containers()[0]
    for file in UPDATES:
        container = activate(container, file, TRUSTED)
    former = msgspec.msgpack.decode(CONTAINER, type=Container)
    for field in ("serial", "act_id", "key", "generation", "items"):
        assert getattr(former, field) == getattr(container, field)
    for field in ("firm_code", "counter", "update_id", "vendor_key"):
        assert [getattr(f, field) for f in former.firms] == [getattr(f, field) for f in container.firms]


def test_a_container_of_before_takes_the_next_update() -> None:
    former = msgspec.msgpack.decode(CONTAINER, type=Container)
    history = [open_update(file, TRUSTED[FIRM]) for file in UPDATES]
    system = containers()
    for file in UPDATES:
        system = activated(system, file)
    issued = issue_to(
        [former, *system[1:]], history, Licence(product_code=9, quantity=1, units=10, text="new")
    )
    assert {each.items for each in activated([former, *system[1:]], issued.file)} == {
        issued.update.parts[0].items
    }


def test_updates_are_written_the_same() -> None:
    assert [issued.file for issued in issued_anew()] == UPDATES


def test_statement_and_digest_are_the_same() -> None:
    container = msgspec.msgpack.decode(CONTAINER, type=Container)
    assert digest(container.items) == DIGEST
    signed = msgspec.msgpack.decode(STATEMENT, type=SignedStatement)
    assert open_statement(signed, container.key) == container.statement("up1")
    assert sign(container.statement("up1"), CONTAINER_KEYS[0]) == signed


def test_request_is_the_same() -> None:
    container = msgspec.msgpack.decode(CONTAINER, type=Container)
    assert make_request(container, FIRM, CONTAINER_KEYS[0]) == REQUEST
    assert open_request(REQUEST).items_digest == DIGEST


class FormerItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A Product Item as it was."""

    firm_code: int
    product_code: int
    tmr_id: int | None
    quantity: int | None
    expiration_ms: int | None
    name: str = ""


@given(items())
def test_an_item_without_new_options_is_spelt_as_before(item: ProductItem) -> None:
    fields = FormerItem.__struct_fields__
    plain = ProductItem(**{field: getattr(item, field) for field in fields})
    former = FormerItem(**{field: getattr(item, field) for field in fields})
    assert msgspec.json.encode(plain) == msgspec.json.encode(former)
    assert packed(plain) == packed(former) == msgspec.msgpack.encode(former)
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(former), type=ProductItem) == plain


@given(st.lists(items(st.just(FIRM)), max_size=4, unique_by=lambda item: item.key))
def test_containers_and_statements_with_every_option_travel(found: list[ProductItem]) -> None:
    container = msgspec.structs.replace(containers()[0], items=tuple(sorted(found, key=lambda i: i.key)))
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(container), type=Container) == container
    signed = sign(container.statement("up1"), CONTAINER_KEYS[0])
    assert open_statement(signed, container.key) == Statement(
        "up1", container.serial, container.act_id, 0, tuple(found)
    )


@given(st.booleans(), st.data())
def test_updates_with_every_option_travel(network: bool, data: st.DataObject) -> None:
    kind = items(st.just(FIRM), st.just(network))
    unique = (lambda item: item.key) if network else (lambda item: item.tmr_id)
    found = data.draw(st.lists(kind, min_size=1, max_size=4, unique_by=unique))
    former = issue_to(containers()[:1] if network else containers(), [], network=network).update
    parts = tuple(msgspec.structs.replace(part, items=tuple(found)) for part in former.parts)
    update = msgspec.structs.replace(former, parts=parts, issued_ms=NOW_MS)
    file = seal_update(update, VENDOR)
    assert open_update(file, TRUSTED[FIRM]) == update
    container = activate(containers()[0], file, TRUSTED)
    assert container.items == tuple(sorted(found, key=lambda item: item.key))


@pytest.mark.parametrize("field", sorted(set(ProductItem.__struct_fields__) - set(Licence.__struct_fields__)))
def test_a_licence_has_every_option(field: str) -> None:
    assert field in {"firm_code", "tmr_id"}
