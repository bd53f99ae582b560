# SPDX-License-Identifier: Apache-2.0
"""Parameters of the command line that a parser reads: times, periods, Feature Maps, idempotency keys."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click

from tmr.api.fields import IDEMPOTENCY_KEY
from tmr.licensing.spelling import features, moment, period


def key(text: str) -> str:
    """An idempotency key."""
    if not re.fullmatch(IDEMPOTENCY_KEY, text):
        raise ValueError("write 8 to 128 of A-Z a-z 0-9 . _ ~ -")
    return text


class ParsedParameter(click.ParamType):  # type: ignore[type-arg]
    """A parameter that one of these parsers reads."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; a mistake is told with its remedy."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


PERIOD: Final = ParsedParameter("period", period)
KEY: Final = ParsedParameter("key", key)
FEATURES: Final = ParsedParameter("bits", features)
TIME: Final = ParsedParameter(
    "time", lambda text: datetime.fromtimestamp(moment(text, end=False) / 1000, UTC)
)
