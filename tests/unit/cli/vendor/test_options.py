# SPDX-License-Identifier: Apache-2.0
"""Product Item Options as people write them, on the command line and in a file, and as they are shown."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.licensing.strategies import items
from tests.unit.licensing.system import FIRM, containers, key_of
from tmr.api.deployment import NETWORK, TMR
from tmr.cli.vendor.commands import vendor
from tmr.cli.vendor.item_file import read_items
from tmr.cli.vendor.options import CHANGEABLE, OF_AN_ITEM
from tmr.cli.vendor.show import describe_item, describe_options
from tmr.licensing import Container, Licence, ProductItem, activate, make_request, public_key_from_pem
from tmr.licensing.spelling import SECONDS_MAX, exact_period, moment, period


def ms(*parts: int) -> int:
    """Unix milliseconds of a time in UTC."""
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc,arg-type]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(vendor, [str(argument) for argument in arguments])


class VendorSite:
    """Files of a vendor, and a system whose containers take what it issues."""

    def __init__(self, where: Path, network: bool = False) -> None:
        self.where, self.network = where, network
        self.home = where / "vendor"
        self.system: list[Container] = containers()[: 1 if network else 3]
        self.number = 0
        assert run("init", "--firm", FIRM, "--dir", self.home).exit_code == 0

    def call(self, command: str, *options: object) -> Result:
        """Run a command that issues, by new request files."""
        self.number += 1
        self.out = self.where / f"update-{self.number}.json"
        arguments: list[object] = [command, "--dir", self.home, "--out", self.out]
        for container in self.system:
            path = self.where / f"{container.serial}.request"
            path.write_bytes(make_request(container, FIRM, key_of(container)))
            arguments += ["--request", path]
        return run(*arguments, *(["--network"] if self.network else []), *options)

    def does(self, command: str, *options: object) -> str:
        """The same, and activate the update; what was told."""
        result = self.call(command, *options)
        assert result.exit_code == 0, result.output
        trusted = {FIRM: public_key_from_pem((self.home / f"{FIRM}.pem").read_bytes())}
        self.system = [
            activate(container, self.out.read_bytes(), trusted, deployment=NETWORK if self.network else TMR)
            for container in self.system
        ]
        return result.output

    def fails(self, command: str, *options: object) -> str:
        """The same, where it is refused; nothing is on record."""
        before = len(list((self.home / "issued").iterdir()))
        result = self.call(command, *options)
        assert result.exit_code in (1, 2), result.output
        assert isinstance(result.exception, SystemExit)
        assert len(list((self.home / "issued").iterdir())) == before
        assert not self.out.exists()
        return " ".join(result.output.split())

    @property
    def items(self) -> tuple[ProductItem, ...]:
        """What each container holds."""
        (found,) = {container.items for container in self.system}
        return found


@pytest.fixture
def site(tmp_path: Path) -> VendorSite:
    return VendorSite(tmp_path)


@pytest.fixture
def network(tmp_path: Path) -> VendorSite:
    return VendorSite(tmp_path, network=True)


EVERY_OPTION: dict[str, Any] = {
    "product": 1001,
    "quantity": 5,
    "name": "Editor",
    "units": 1000,
    "activation": "2026-01-01",
    "expires": "2999-12-31",
    "usage-period": "30d",
    "maintenance": "2026-01-01..2026-12-31",
    "borrow": "14d",
    "borrow-seats": 2,
    "features": "0,3,5",
    "text": "Editor of texts",
    "customer": "Ada Ltd, Turin",
    "user-data": "00ff10",
    "linger": "10min",
}
ITEM = ProductItem(
    FIRM,
    1001,
    1,
    quantity=5,
    expiration_ms=ms(3000, 1, 1),
    name="Editor",
    units=1000,
    activation_ms=ms(2026, 1, 1),
    usage_s=30 * 86_400,
    maintenance_start_ms=ms(2026, 1, 1),
    maintenance_end_ms=ms(2027, 1, 1),
    borrow_s=14 * 86_400,
    borrow_seats=2,
    feature_map=0x29,
    text="Editor of texts",
    customer="Ada Ltd, Turin",
    user_data=b"\x00\xff\x10",
    linger_s=600,
)
SHOWN = (
    "6000010:1001 TMR-Id 1, quantity 5, expires 3000-01-01T00:00:00+00:00, Editor",
    "1000 units issued in all",
    "valid from 2026-01-01T00:00:00+00:00",
    "30d from the first use on",
    "versions released from 2026-01-01T00:00:00+00:00 before 2027-01-01T00:00:00+00:00",
    "at most 2w, 2 seats at a time",
    "0x00000029, bits 0, 3, 5",
    "Editor of texts",
    "Ada Ltd, Turin",
    "3 bytes, 00ff10",
)


def as_arguments(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def test_issue_with_every_option(site: VendorSite) -> None:
    told = site.does("issue", *as_arguments(EVERY_OPTION))
    assert site.items == (ITEM,)
    shown = run("show", site.out, "--key", site.home / f"{FIRM}.pem").output
    for text in SHOWN:
        assert text in told
        assert text in shown


def test_an_emergency_licence(site: VendorSite) -> None:
    told = site.does("issue", "--product", 1, "--quantity", 3, "--emergency", "--usage-period", "12h")
    assert site.items[0].emergency
    assert site.items[0].usage_s == 12 * 3600
    assert "no ordinary licence" in told
    assert "without a Usage Period" in site.fails("issue", "--product", 1, "--quantity", 3, "--emergency")


def test_seats_of_named_users_that_linger(site: VendorSite) -> None:
    licence = ("issue", "--product", 1, "--linger", "1h", "--named-user", "--quantity")
    told = site.does(*licence, 3)
    assert (site.items[0].linger_s, site.items[0].named_user) == (3600, True)
    assert "a seat is kept for 1h" in told
    assert "a seat is a person's" in told
    assert "seats are not counted" in site.fails(*licence, "unlimited")


def test_user_data_of_a_file(site: VendorSite) -> None:
    (site.where / "data").write_bytes(b"config\n")
    site.does("issue", "--product", 1, "--quantity", 1, "--user-data", f"@{site.where / 'data'}")
    assert site.items[0].user_data == b"config\n"
    (site.where / "data").write_bytes(bytes(256))
    for value, told in (
        (f"@{site.where / 'data'}", "at most 255 bytes"),
        (f"@{site.where / 'none'}", "No such file"),
        (f"@{site.where}", "cannot be read"),
        ("00" * 256, "at most 255 bytes"),
        ("0g", "hexadecimal"),
        ("000", "hexadecimal"),
    ):
        assert told in site.fails("issue", "--product", 1, "--quantity", 1, "--user-data", value)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("units", "0", "from 1 to"),
        ("units", "+5", "whole number"),
        ("activation", "yesterday", "YYYY-MM-DD"),
        ("activation", "2026-02-30", "YYYY-MM-DD"),
        ("activation", "2026-01-01T25:00", "YYYY-MM-DD"),
        ("activation", "1900-01-01", "from 1971"),
        ("activation", "3000-01-01", "not before its Expiration Time"),
        ("expiration", "2020-01-01", "past"),
        ("usage-period", "30", "30d or 12h"),
        ("usage-period", "0d", "30d or 12h"),
        ("usage-period", "1000000d", "hundred years"),
        ("usage-period", "1.5h", "30d or 12h"),
        ("maintenance", "2026-01-01", "START..END"),
        ("maintenance", "..", "START..END"),
        ("maintenance", "2026-01-02..2026-01-01", "ends before it starts"),
        ("borrow", "fortnight", "30d or 12h"),
        ("borrow-seats", "6", "License Quantity of 5"),
        ("borrow-seats", "0", "from 1 to"),
        ("features", "32", "0 to 31"),
        ("features", "0x123456789", "0 to 31"),
        ("features", "1,,2", "0 to 31"),
        ("text", "x" * 257, "Shorten"),
        ("customer", "a\x1b[2J", "control character"),
        ("reference", "1", "leave the reference out"),
        ("reference", "-1", "whole number"),
    ],
)
def test_what_is_refused(site: VendorSite, option: str, value: str, told: str) -> None:
    options = [f"--{name}={value}" for name, value in EVERY_OPTION.items() if name != option]
    assert told.lower() in site.fails("issue", *options, f"--{option}={value}").lower()


def test_one_of_options_and_file(site: VendorSite) -> None:
    (site.where / "items.toml").write_text("[[item]]\nproduct = 1\nquantity = 1\n")
    assert "stand in the file" in site.fails("issue", "--items", site.where / "items.toml", "--text", "x")
    assert "--product" in site.fails("issue", "--quantity", 1)
    assert "--quantity" in site.fails("issue", "--product", 1)


# -- a file of items ---------------------------------------------------------------------------------------

TOML = """
[[item]]
product = 1001
quantity = 5
name = "Editor"
units = 1000
activation = 2026-01-01
expires = 2999-12-31
usage-period = "30d"
maintenance = "2026-01-01..2026-12-31"
borrow = "14d"
borrow-seats = 2
features = [0, 3, 5]
text = "Editor of texts"
customer = "Ada Ltd, Turin"
user-data = "@data"
linger = "10min"

[[item]]
product = 1002
quantity = "unlimited"
emergency = true
usage-period = "3d"
activation = 2026-01-01T12:30:00Z
"""


def test_a_file_of_items(site: VendorSite) -> None:
    (site.where / "data").write_bytes(b"\x00\xff\x10")
    (site.where / "items.toml").write_text(TOML)
    site.does("issue", "--items", site.where / "items.toml")
    first, second = site.items
    assert first == ITEM
    assert (second.tmr_id, second.quantity, second.emergency) == (2, None, True)
    assert second.activation_ms == ms(2026, 1, 1, 12, 30)
    assert len(list((site.home / "issued").iterdir())) == 1


def test_json_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"item": [EVERY_OPTION, EVERY_OPTION | {"features": [0, 3, 5]}]}))
    first, second = read_items(path)
    assert first == second
    assert (
        ProductItem(firm_code=FIRM, tmr_id=1, **{f: getattr(first, f) for f in first.__struct_fields__})
        == ITEM
    )


def test_twelve_products_with_one_update(site: VendorSite) -> None:
    (site.where / "items.toml").write_text(
        "\n".join(f"[[item]]\nproduct = {1000 + n}\nquantity = {10 * n}\n" for n in range(1, 13))
    )
    told = site.does("issue", "--items", site.where / "items.toml")
    assert [i.tmr_id for i in site.items] == list(range(1, 13))
    assert told.count("Issued ") == 12


ONE = "[[item]]\nproduct=1\nquantity=1\n"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.toml", "", "one [[item]] for each"),
        ("a.toml", "item = []", "one [[item]] for each"),
        ("a.toml", f"{ONE}[[items]]", "one [[item]] for each"),
        ("a.toml", "item = [1]", "item 1 has no members"),
        ("a.toml", "[[item]]\nproduct = ", "is no TOML"),
        ("a.toml", "[[item]]\nproduct=1\nproduct=2\n", "is no TOML"),
        ("a.toml", "a = " + "[" * 20_000, "is no TOML|nested"),
        ("a.toml", "[[item]]\nproduct=1\n", "item 1 (product 1): quantity is missing. Add quantity"),
        ("a.toml", "[[item]]\nquantity=1\n", "item 1: product is missing. Add product"),
        ("a.toml", f"{ONE}[[item]]\nproduct=2\nquantity=0\n", "item 2 (product 2): quantity: give a whole"),
        ("a.toml", f"{ONE}colour='red'", "item 1 (product 1): there is no option colour. Known are product,"),
        ("a.toml", f"{ONE}usage-period='30x'\n", "item 1 (product 1): usage-period: write a number"),
        ("a.toml", f"{ONE}borrow-seats=1\n", "item 1 (product 1): product 1 has seats to borrow"),
        ("a.toml", "[[item]]\nproduct=1\nquantity=1.5\n", "quantity: this is no text"),
        ("a.toml", f"{ONE}features=[40]\n", "features: write bits from 0 to 31"),
        ("a.toml", f"{ONE}emergency='yes'\n", "emergency: write true or false"),
        ("a.toml", f"{ONE}name=\"a\\u001bb\"\n", "control character"),
        ("a.json", '{"item": [{"product": 1, "quantity": NaN}]}', "is no JSON"),
        ("a.json", '{"item": [{"product": 1, "product": 2, "quantity": 1}]}', "is no JSON"),
        ("a.json", "[]", "is no JSON"),
        ("a.json", '{"item": [{"product": null, "quantity": 1}]}', "product: this is no text"),
    ],
)  # fmt: skip
def test_mistakes_in_a_file_of_items(site: VendorSite, name: str, text: str, told: str) -> None:
    path = site.where / name
    path.write_text(text)
    message = site.fails("issue", "--items", path)
    assert str(path) in message
    assert any(each in message for each in told.split("|")), message
    assert message.isprintable()


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([option.name for option in OF_AN_ITEM]) | st.text(), inner, max_size=4
        )
    ),
)


@given(
    st.dictionaries(st.just("item"), st.lists(trees, max_size=3)) | trees, st.sampled_from(["json", "toml"])
)
def test_rubbish_in_a_file_of_items_is_told(
    tmp_path_factory: pytest.TempPathFactory, tree: object, kind: str
) -> None:
    path = tmp_path_factory.mktemp("items") / f"items.{kind}"
    path.write_text(json.dumps(tree), "utf-8", "surrogatepass")
    try:
        found = read_items(path)
    except click.ClickException as error:
        assert error.message.endswith(".")
        assert error.message.isprintable()
    else:
        assert all(isinstance(licence, Licence) for licence in found)


# -- change, refill, remove --------------------------------------------------------------------------------


def test_change_refill_remove(site: VendorSite) -> None:
    site.does("issue", *as_arguments(EVERY_OPTION))
    site.does("issue", "--product", 1002, "--quantity", 1)
    told = site.does("change", "--tmr-id", 1, "--quantity", 9, "--expires", "never", "--borrow", "none")
    assert "Changed 6000010:1001 TMR-Id 1, quantity 9, never expires" in told
    (first, second) = site.items
    assert (first.quantity, first.expiration_ms, first.borrow_s, first.borrow_seats) == (9, None, None, None)
    assert (first.units, first.text) == (1000, "Editor of texts")
    assert "1500 units" in site.does("refill", "--tmr-id", 1, "--units", "+500")
    assert site.items[0].units == 1500
    assert "Removed 6000010:1002 TMR-Id 2" in site.does("remove", "--tmr-id", 2)
    assert second not in site.items
    site.does("remove", "--tmr-id", 1, "--product", 1001)
    assert site.items == ()
    assert "none: all items of the firm are removed" in run("show", site.out).output


def test_none_takes_every_option_away(site: VendorSite) -> None:
    site.does("issue", *as_arguments(EVERY_OPTION))
    gone = [
        "activation",
        "expires",
        "usage-period",
        "maintenance",
        "borrow",
        "features",
        "user-data",
        "linger",
    ]
    options = [word for name in gone for word in (f"--{name}", "none")]
    site.does("change", "--tmr-id", 1, *options, "--text", "", "--customer", "", "--name", "")
    assert site.items == (ProductItem(FIRM, 1001, 1, quantity=5, expiration_ms=None, units=1000),)


def test_what_change_refill_and_remove_refuse(site: VendorSite) -> None:
    site.does("issue", *as_arguments(EVERY_OPTION))
    site.does("issue", "--product", 1002, "--quantity", 1)
    assert "which licence" in site.fails("change", "--quantity", 1)
    assert "Nothing is changed" in site.fails("change", "--tmr-id", 1)
    assert "1000 units issued in all" in site.fails("change", "--tmr-id", 1, "--units", 999)
    assert "has no licence TMR-Id 3" in site.fails("remove", "--tmr-id", 3)
    assert "no licence product 1001 reference 0" in site.fails("remove", "--product", 1001)
    assert "no Unit Counter" in site.fails("refill", "--tmr-id", 2, "--units", "+5")
    for units in ("0", "-5", "+", "many"):
        assert "+500" in site.fails("refill", "--tmr-id", 1, "--units", units)
    assert "not before its Expiration Time" in site.fails(
        "change", "--tmr-id", 1, "--activation", "3001-01-01"
    )


def test_a_network_licence_server(network: VendorSite) -> None:
    told = network.does("issue", "--product", 1001, "--quantity", 5, "--units", 10)
    assert "Issued 6000010:1001, quantity 5" in told
    assert "Product Item Reference 1" in network.fails("issue", "--product", 1001, "--quantity", 2)
    network.does("issue", "--product", 1001, "--quantity", 2, "--reference", 1)
    network.does("refill", "--product", 1001, "--units", 5)
    network.does("change", "--product", 1001, "--reference", 1, "--quantity", 7)
    assert [(i.tmr_id, i.reference, i.quantity, i.units) for i in network.items] == [
        (None, 0, 5, 15),
        (None, 1, 7, None),
    ]
    network.does("reissue")
    shown = run("show", network.out).output
    assert "for the network licence server lab-" in shown
    assert "6000010:1001 reference 1, quantity 7" in shown
    network.does("remove", "--product", 1001, "--reference", 1)
    assert len(network.items) == 1
    network.network = False
    assert "three" in network.fails("reissue")


def test_network_takes_one_request(site: VendorSite) -> None:
    assert "one container" in site.fails("issue", "--network", "--product", 1, "--quantity", 1)


# -- words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "end", "wanted"),
    [
        ("2026-12-31", False, (2026, 12, 31)),
        ("2026-12-31", True, (2027, 1, 1)),
        ("2028-02-29", True, (2028, 3, 1)),
        ("2026-12-31T18:30", True, (2026, 12, 31, 18, 30)),
        ("2026-12-31T18:30:15Z", False, (2026, 12, 31, 18, 30, 15)),
    ],
)
def test_moments(text: str, end: bool, wanted: tuple[int, ...]) -> None:
    assert moment(text, end=end) == ms(*wanted)


@given(st.integers(1, SECONDS_MAX))
def test_periods_are_read_as_they_are_written(seconds: int) -> None:
    assert period(exact_period(seconds)) == seconds


@given(st.text() | st.from_regex(r"[0-9x.,T:+-]*", fullmatch=True))
def test_parsers_raise_value_errors_only(text: str) -> None:
    for option in OF_AN_ITEM:
        parse: Callable[[str], dict[str, Any]] = option.parse
        try:
            fields = parse(text)
        except ValueError as error:
            assert str(error)
        else:
            assert set(fields) <= set(ProductItem.__struct_fields__)


def test_every_option_of_an_item_can_be_written() -> None:
    parse = {option.name: option.parse for option in OF_AN_ITEM}
    written = {field for name, text in EVERY_OPTION.items() for field in parse[name](str(text))}
    named = {"firm_code", "tmr_id", "reference", "emergency", "named_user"}
    assert written | named == set(ProductItem.__struct_fields__)
    assert {o.name for o in CHANGEABLE} - set(EVERY_OPTION) == {"emergency", "named-user"}


@given(items())
def test_every_option_that_is_set_is_shown(item: ProductItem) -> None:
    shown = dict(describe_options(item))
    assert ("Unit Counter" in shown) == (item.units is not None)
    assert ("Activation Time" in shown) == (item.activation_ms is not None)
    assert ("Usage Period" in shown) == (item.usage_s is not None)
    assert ("Maintenance Period" in shown) == (
        item.maintenance_start_ms is not None or item.maintenance_end_ms is not None
    )
    assert ("Emergency" in shown) == item.emergency
    assert ("Borrowing" in shown) == (item.borrow_s is not None)
    assert ("Linger Time" in shown) == (item.linger_s is not None)
    assert ("Named User" in shown) == item.named_user
    assert ("Feature Map" in shown) == bool(item.feature_map)
    assert shown.get("Text", "") == item.text
    assert shown.get("Customer Owned License Information", "") == item.customer
    assert ("User Data" in shown) == bool(item.user_data)
    assert str(item.key) in describe_item(item)
