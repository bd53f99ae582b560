# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers, read strictly: the reader of every licence file.

Refused: too many bytes, bytes that are no UTF-8, a name twice in one object, numbers that are no integers
of at most 20 digits, deep nesting, unknown fields. Many readers take the last of two equal names, some the
first, and so two of them could see two different licences in one file.
"""

import json
from typing import Any, Final, NoReturn, TypeVar

import msgspec

DIGITS_MAX: Final = 20
_T = TypeVar("_T")


class IllFormed(ValueError):
    """Not the JSON that was expected; the text says why and is safe to print. Callers turn it into theirs."""


class OtherSpelling(IllFormed):
    """Another spelling than the one that a file may have: somebody changed it."""


def read_json(data: bytes, kind: type[_T], size_max: int) -> _T:
    """The `kind` that the bytes spell. Raises `IllFormed` and nothing else."""
    if len(data) > size_max:
        raise IllFormed(f"it has {len(data)} bytes, more than {size_max}")
    try:
        tree = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
        return msgspec.convert(tree, kind)
    except RecursionError:
        raise IllFormed("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise IllFormed(not_json(error)) from None
    except (
        ValueError
    ) as error:  # UnicodeDecodeError, JSONDecodeError, msgspec.ValidationError and the hooks' own
        raise IllFormed(printable(str(error))) from None


def not_json(error: json.JSONDecodeError) -> str:
    """Place at which a text stops being JSON, for people."""
    if not error.doc.strip():
        return "it is empty"
    return f"it is no JSON from line {error.lineno}, column {error.colno} on"


def printable(text: str) -> str:
    """At most 200 characters of `text`, in ASCII with escapes: safe for a terminal and a log."""
    return text[:200].encode("unicode_escape").decode("ascii")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return result


def _integer(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:20]} is no integer")
