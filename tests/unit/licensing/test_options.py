# SPDX-License-Identifier: Apache-2.0
"""Option table: an entry more is an option that is checked, read, shown and answered like all others."""

from typing import Annotated, Any, get_args, get_type_hints

import click
import msgspec
import pytest
from click.testing import CliRunner
from pydantic import AwareDatetime
from rich.console import Console

from tmr.api.licences import Item
from tmr.cli.render.licence_tables import details
from tmr.cli.vendor.options import changeable, gathered, with_options
from tmr.cli.vendor.show import describe_options
from tmr.licensing import BadItem, LicenceKey
from tmr.licensing.checks import check_option
from tmr.licensing.options import OPTIONS, ItemOptions, Option, options_of
from tmr.licensing.spelling import whole
from tmr.service.container_view import members

KEY = LicenceKey(6000010, 201, 1)


class Extended(ItemOptions, frozen=True, kw_only=True, omit_defaults=True):
    """The table with one entry more."""

    max_version: Annotated[
        int | None,
        Option(
            title="Max Version",
            range=(1, 999),
            name="max-version",
            parse=lambda text: {"max_version": whole(text, 1, 999)},
            metavar="N",
            help="Max Version: newer programs are refused.",
            show=lambda item: f"up to {item.max_version}" if item.max_version else "",
        ),
    ] = None


class ExtendedItem(Item):
    """The answer of the client API with its member."""

    max_version: int | None = None


TABLE = options_of(Extended)
LICENCE = Extended(quantity=5, expiration_ms=None, max_version=7)


def test_the_table_has_one_entry_more() -> None:
    assert set(TABLE) - set(OPTIONS) == {"max_version"}


@pytest.mark.parametrize("value", [0, 1000, True, "7"])
def test_its_bounds_are_checked(value: object) -> None:
    check_option(TABLE["max_version"], 7, KEY)
    with pytest.raises(BadItem, match="Max Version of 6000010:201 TMR-Id 1"):
        check_option(TABLE["max_version"], value, KEY)


def test_it_is_in_a_licence_file() -> None:
    file = msgspec.json.encode(LICENCE)
    assert file == b'{"quantity":5,"expiration_ms":null,"max_version":7}'
    assert msgspec.json.decode(file, type=Extended) == LICENCE


def test_it_is_an_option_of_the_command_line() -> None:
    found: dict[str, Any] = {}

    @click.command()
    @with_options(*changeable(TABLE))
    def change(**given: Any) -> None:
        found.update(gathered(given))

    told = CliRunner().invoke(change, ["--help"]).output
    assert "--max-version N" in told
    assert "newer programs are refused" in told
    assert CliRunner().invoke(change, ["--max-version", "7", "--quantity", "5"]).exit_code == 0
    assert found == {"max_version": 7, "quantity": 5}
    refused = CliRunner().invoke(change, ["--max-version", "1000"])
    assert (refused.exit_code, "from 1 to 999" in refused.output) == (2, True)


def test_it_is_shown_with_a_licence_file() -> None:
    assert describe_options(LICENCE, TABLE) == [("Max Version", "up to 7")]


def test_it_is_answered_and_listed_with_the_licence() -> None:
    answered = members(LICENCE, TABLE)
    assert answered["max_version"] == 7
    item = ExtendedItem(
        firm_code=6000010, product_code=201, tmr_id=1, in_use=0, exclusive=False, constituents=(), **answered
    )
    console = Console(width=80)
    with console.capture() as shown:
        for line in details([item], TABLE):
            console.print(line)
    assert "Max Version  7" in shown.get()


def test_every_option_has_its_member_in_the_client_api() -> None:
    fields = Item.model_fields
    for field, option in OPTIONS.items():
        member = fields[option.member or field]
        times = AwareDatetime in get_args(member.annotation)
        assert times == field.endswith("_ms"), field


def test_every_field_of_the_class_is_an_entry() -> None:
    assert list(OPTIONS) == list(get_type_hints(ItemOptions)) == list(ItemOptions.__struct_fields__)
    written = [option.name for option in OPTIONS.values() if option.name]
    assert len(set(written)) == len(written)
