# SPDX-License-Identifier: Apache-2.0
"""Files of items: several licences and their options, in TOML or JSON."""

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import click
import msgspec

from tmr.cli.vendor.options import OF_AN_ITEM, read_option
from tmr.licensing import ENVELOPE_MAX, BadItem, Licence, ProductItem
from tmr.licensing.items import ITEMS_MAX
from tmr.licensing.options import CODE_MAX, NONE, Fields
from tmr.licensing.strict_json import IllFormed, printable, read_json


def read_items(path: Path) -> list[Licence]:
    """The licences in a file of items, TOML or (`.json`) JSON. Raises `click.ClickException`."""
    with path.open("rb") as file:
        data = file.read(ENVELOPE_MAX + 1)
    try:
        if path.suffix == ".json":
            tree = read_json(data, dict, ENVELOPE_MAX)
        elif len(data) > ENVELOPE_MAX:
            raise IllFormed(f"it has more than {ENVELOPE_MAX} bytes")
        else:
            tree = tomllib.loads(data.decode())
    except RecursionError:
        raise click.ClickException(
            f"{path}: it is nested too deeply. Write one [[item]] for each licence."
        ) from None
    except ValueError as error:  # IllFormed, UnicodeDecodeError, TOMLDecodeError
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise click.ClickException(f"{path} is no {kind}: {printable(str(error))}.") from None
    items = tree.get("item")
    if set(tree) != {"item"} or not isinstance(items, list) or not items:
        raise click.ClickException(
            f"{path} does not hold a list named item alone. Write one [[item]] for each licence, and its "
            "options below."
        )
    if len(items) > ITEMS_MAX:
        raise click.ClickException(f"{path} holds {len(items)} items. A container takes at most {ITEMS_MAX}.")
    return [_item(f"{path}: item {number}", item, path.parent) for number, item in enumerate(items, start=1)]


def _item(where: str, tree: object, directory: Path) -> Licence:
    if not isinstance(tree, dict):
        raise click.ClickException(f"{where} has no members. Write product, quantity and its options.")
    product = tree.get("product")
    if isinstance(product, int | str):
        where += f" (product {printable(str(product)[:20])})"
    known = {name: option for option in OF_AN_ITEM for name in (option.name, *option.aliases)}
    fields: Fields = {}
    for member, value in tree.items():
        option = known.get(member)
        if option is None:
            raise click.ClickException(
                f"{where}: there is no option {printable(member)}. Known are {', '.join(known)}."
            )
        try:
            fields |= read_option(option, _text(value), directory)
        except ValueError as error:
            raise click.ClickException(f"{where}: {member}: {error}.") from None
    for member, field in (("product", "product_code"), ("quantity", "quantity")):
        if field not in fields:
            raise click.ClickException(f"{where}: {member} is missing. Add {member} = … to it.")
    try:
        # what no option says alone: limits of texts, options that contradict one another
        ProductItem(firm_code=CODE_MAX, tmr_id=None, **msgspec.structs.asdict(Licence(**fields)))
    except BadItem as error:
        reason = error.reason.replace(f"{CODE_MAX}:", "product ")
        raise click.ClickException(
            f"{where}: {reason}. {error.remedy[:1].upper()}{error.remedy[1:]}."
        ) from None
    return Licence(**fields)


def _text(value: object) -> str:
    """A value of TOML or JSON as it would be written on the command line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) < 2**64:
        return str(value)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return value.isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list) and all(type(each) is int and 0 <= each < 100 for each in value):
        return ",".join(map(str, value)) or NONE
    raise ValueError("this is no text, whole number, date, true or false, or list of bits")
