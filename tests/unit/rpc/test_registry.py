# SPDX-License-Identifier: Apache-2.0
"""The registry of calls: types, routes, documents and handlers agree."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from tmr.ledger import commands, outcomes
from tmr.quorum import messages as quorum_messages
from tmr.quorum.messages import Request
from tmr.rpc import messages, record_messages
from tmr.rpc.messages import Query, ReadContainer
from tmr.rpc.registry import BY_MESSAGE, RPCS, Rpc, Transport, decode_message, encode

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "upstream.md").read_text()
ROW = re.compile(
    r"^\| `POST (?P<route>[^`]+)` \| twin \| `(?P<message>\w+)` → (?P<replies>(`\w+`(, )?)+)", re.MULTILINE
)


def test_the_documented_calls_are_those_of_the_registry() -> None:
    rows = {
        (row["route"], row["message"], *sorted(re.findall(r"\w+", row["replies"])))
        for row in ROW.finditer(REFERENCE)
    }
    assert rows == {
        (rpc.route, rpc.message.__name__, *sorted(reply.__name__ for reply in rpc.replies)) for rpc in RPCS
    }


def test_each_message_and_each_route_has_one_entry() -> None:
    assert len(BY_MESSAGE) == len({rpc.route for rpc in RPCS}) == len(RPCS)
    assert set(typing.get_args(Request)) <= set(BY_MESSAGE)
    assert set(Query.__subclasses__()) <= set(BY_MESSAGE)


@pytest.mark.parametrize("rpc", [rpc for rpc in RPCS if issubclass(rpc.message, Query)])
def test_replies_are_those_of_the_message_type(rpc: Rpc) -> None:
    (base,) = rpc.message.__orig_bases__  # type: ignore[attr-defined]
    (reply,) = typing.get_args(base)
    assert rpc.replies == (typing.get_args(reply) or (reply,))


def test_a_call_fails_at_half_of_the_lease_unless_it_takes_longer() -> None:
    for rpc in RPCS:
        assert rpc.patience(60.0) >= 30.0
        if rpc.transport is Transport.FRAMES:
            assert rpc.patience(2.0) == 1.0


def test_a_message_is_told_by_its_tag() -> None:
    assert decode_message(encode(ReadContainer())) == ReadContainer()


def classes(module: ModuleType) -> Iterator[type[msgspec.Struct]]:
    """The tagged structs that a module defines."""
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and value.__module__ == module.__name__
            and issubclass(value, msgspec.Struct)
        ):
            yield from [value] if value.__struct_config__.tag is not None else []


@pytest.mark.parametrize("module", [quorum_messages, messages, record_messages, commands, outcomes])
def test_a_tag_is_the_name_of_its_class(module: ModuleType) -> None:
    tags = {one.__name__: one.__struct_config__.tag for one in classes(module)}
    assert tags
    assert tags == {name: re.sub(r"(?<=.)(?=[A-Z])", "-", name).lower() for name in tags}
