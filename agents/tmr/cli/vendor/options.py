# SPDX-License-Identifier: Apache-2.0
"""Options of `tmr vendor` that set Product Item Options: those of the table in `tmr.licensing.options`."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tmr.licensing.options import CODE_MAX, OPTIONS, Fields, Option
from tmr.licensing.spelling import whole

_F = TypeVar("_F", bound=Callable[..., object])

PRODUCT: Final = Option(
    title="Product Code",
    name="product",
    parse=lambda text: {"product_code": whole(text, 0, CODE_MAX)},
    metavar="CODE",
    help="Product Code.",
    fixed=True,
)


def changeable(table: Mapping[str, Option]) -> tuple[Option, ...]:
    """The options of the table that a command can change: what names a licence never changes."""
    return tuple(option for option in table.values() if option.name and not option.fixed)


CHANGEABLE: Final = changeable(OPTIONS)
OF_AN_ITEM: Final = (PRODUCT, OPTIONS["reference"], *CHANGEABLE)


def with_options(*options: Option) -> Callable[[_F], _F]:
    """Give a command these options. Each arrives as the fields it sets, or None where it is not given."""

    def decorate(command: _F) -> _F:
        for option in reversed(options):
            names = [f"--{name}" for name in (option.name, *option.aliases)]
            if option.flag:
                names = [f"--{option.name}/--no-{option.name}"]
            command = click.option(
                *names,
                option.parameter,
                callback=_callback(option),
                metavar=None if option.flag else option.metavar,
                help=option.help,
                default=None,
            )(command)
        return command

    return decorate


def read_option(option: Option, text: str, directory: Path = Path()) -> Fields:
    """The fields that the option sets. `@FILE` is below `directory`. Raises ValueError."""
    if option.file and text.startswith("@"):
        path = directory / text[1:]
        try:
            with path.open("rb") as file:
                text = file.read((option.longest or 0) + 1).hex()
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    fields = option.parse(text)
    now = datetime.now(UTC).timestamp() * 1000
    if option.future and any(value is not None and value <= now for value in fields.values()):
        raise ValueError("this is past: the licence would be expired from the start")
    return fields


def _callback(option: Option) -> Callable[[click.Context, click.Parameter, Any], Fields | None]:
    def call(_: click.Context, __: click.Parameter, value: Any) -> Fields | None:
        if value is None:
            return None
        try:
            return read_option(option, str(value).lower() if option.flag else value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None

    return call


def gathered(given: Mapping[str, Fields | None]) -> Fields:
    """The fields that the options given set."""
    return {field: value for fields in given.values() if fields for field, value in fields.items()}
