# SPDX-License-Identifier: Apache-2.0
"""Bytes from strangers: every reader raises its own documented error, and nothing else."""

import base64
import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    BadRequest,
    Licence,
    UpdateRefused,
    activate,
    make_request,
    open_request,
    open_update,
    raw_public_key,
)
from tmr.licensing.dsse import ENVELOPE_MAX, read_envelope, seal
from tmr.licensing.request import REQUEST_TYPE
from tmr.licensing.strict_json import IllFormed, read_json
from tmr.licensing.update import UPDATE_TYPE

from .system import CONTAINER_KEYS, FIRM, TRUSTED, VENDOR, containers, issue_to

SYSTEM = containers()
EVERY_OPTION = Licence(
    product_code=1001,
    quantity=5,
    expiration_ms=2_000_000_000_000,
    name="Editor",
    units=1,
    activation_ms=1,
    usage_s=1,
    maintenance_start_ms=1,
    maintenance_end_ms=2,
    borrow_s=1,
    borrow_seats=1,
    feature_map=1,
    text="text",
    customer="customer",
    user_data=b"data",
)
UPDATE_FILE = issue_to(SYSTEM, [], EVERY_OPTION).file
UPDATE = json.loads(read_envelope(UPDATE_FILE).payload)
REQUEST_FILE = make_request(SYSTEM[0], FIRM, CONTAINER_KEYS[0])
REQUEST = json.loads(read_envelope(REQUEST_FILE).payload)

Tree = dict[str, object]
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([10**4000, "130-1"])
)
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)


def encoded(tree: object) -> bytes:
    """JSON as Python writes it: with NaN, lone surrogates, and huge integers."""
    try:
        return json.dumps(tree).encode()
    except ValueError:  # Python itself refuses to write more than 4300 digits
        return b"0"


def spoilt(tree: Tree) -> st.SearchStrategy[bytes]:
    """The tree with one thing changed somewhere: a value replaced, removed, or added."""

    def places(node: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
        found = [path]
        if isinstance(node, dict):
            found += [p for name, inner in node.items() for p in places(inner, (*path, name))]
        elif isinstance(node, list):
            found += [p for index, inner in enumerate(node) for p in places(inner, (*path, index))]
        return found

    def change(path: tuple[str | int, ...], how: str, value: object) -> bytes:
        if not path:
            return encoded(value)
        changed = json.loads(json.dumps(tree))
        node = changed
        for step in path[:-1]:
            node = node[step]
        if how == "remove":
            del node[path[-1]]
        elif how == "add" and isinstance(node, dict):
            node[str(value)] = value
        else:
            node[path[-1]] = value
        return encoded(changed)

    return st.builds(
        change, st.sampled_from(places(tree)), st.sampled_from(["replace", "remove", "add"]), trees
    )


HOSTILE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"[" * 20_000 + b"]" * 20_000,
    b"9" * 100_000,
    b"-" + b"9" * 4301,
    b"1e999999",
    b"NaN",
    b"\xff\xfe\x00",
    b'"\xed\xa0\x80"',
    b"\xef\xbb\xbf{}",
    b'{"\\ud800":1}',
    b'{"a":1,"a":2}',
    b"\0" * 1000,
]
wild = st.binary(max_size=400) | st.sampled_from(HOSTILE) | trees.map(encoded)


def reads_request(data: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        open_request(data)
    assert str(caught.value).isprintable()


def reads_update(data: bytes) -> None:
    container = SYSTEM[0]
    before = msgspec.msgpack.encode(container)
    with pytest.raises(UpdateRefused) as caught:
        open_update(data, TRUSTED[FIRM])
    assert str(caught.value).isprintable()
    with pytest.raises(UpdateRefused) as caught:
        activate(container, data, TRUSTED)
    assert str(caught.value).isprintable()
    assert msgspec.msgpack.encode(container) == before


READERS = [reads_request, reads_update]


@pytest.mark.parametrize("reads", READERS)
@given(wild)
def test_wild_bytes(reads: Callable[[bytes], None], data: bytes) -> None:
    reads(data)


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_payload_rightly_signed(hostile: bytes) -> None:
    reads_update(seal(UPDATE_TYPE, hostile, VENDOR))
    reads_request(seal(REQUEST_TYPE, hostile, CONTAINER_KEYS[0]))


@given(spoilt(UPDATE))
def test_spoilt_update_rightly_signed(payload: bytes) -> None:
    """The vendor signs nonsense: it is refused, or it is an update that says what it says."""
    file = seal(UPDATE_TYPE, payload, VENDOR)
    try:
        update = open_update(file, raw_public_key(VENDOR))
        activate(SYSTEM[0], file, TRUSTED)
    except UpdateRefused as error:
        assert str(error).isprintable()
    else:
        assert json.loads(msgspec.json.encode(update)) == json.loads(payload) | {
            "parts": json.loads(msgspec.json.encode(update.parts))
        }


@given(spoilt(REQUEST))
def test_spoilt_request_rightly_signed(payload: bytes) -> None:
    try:
        request = open_request(seal(REQUEST_TYPE, payload, CONTAINER_KEYS[0]))
    except BadRequest as error:
        assert str(error).isprintable()
    else:
        assert json.loads(msgspec.json.encode(request)) == json.loads(payload)


@given(spoilt(json.loads(UPDATE_FILE)))
def test_spoilt_envelope(file: bytes) -> None:
    try:
        envelope = read_envelope(file)
    except IllFormed as error:
        assert str(error).isprintable()
    else:
        if envelope.signed_by(TRUSTED[FIRM]):
            assert envelope.payload == read_envelope(UPDATE_FILE).payload


@pytest.mark.parametrize(("file", "reads"), [(REQUEST_FILE, reads_request), (UPDATE_FILE, reads_update)])
def test_every_flipped_bit(file: bytes, reads: Callable[[bytes], None]) -> None:
    for position in range(len(file)):
        for bit in range(8) if position % 7 == 0 else (position % 8,):
            changed = bytearray(file)
            changed[position] ^= 1 << bit
            reads(bytes(changed))


def changed(file: bytes) -> st.SearchStrategy[bytes]:
    """The file with some of its bytes replaced by others."""
    cut = st.tuples(st.integers(0, len(file)), st.integers(0, 40), st.binary(max_size=20))
    return cut.map(lambda c: file[: c[0]] + c[2] + file[c[0] + c[1] :]).filter(lambda data: data != file)


@given(changed(REQUEST_FILE), changed(UPDATE_FILE))
def test_changed_bytes(request_file: bytes, update_file: bytes) -> None:
    """Refused, or nothing but the space between the tokens of JSON was changed."""
    for data, original, reads in (
        (request_file, REQUEST_FILE, reads_request),
        (update_file, UPDATE_FILE, reads_update),
    ):
        try:
            same = read_envelope(data) == read_envelope(original)
        except IllFormed:
            same = False
        if not same:
            reads(data)


@pytest.mark.parametrize(
    ("plain", "odd"),
    [
        (b'"format":1', b'"format":1.0'),
        (b'"format":1', b'"format":true'),
        (b'"format":1', b'"format":1,"format":1'),
        (b'"format":1', b'"format":1,"extra":1'),
        (b'"format":1', b'"format":2'),
    ],
)
def test_one_meaning_of_json(plain: bytes, odd: bytes) -> None:
    """What two readers could read differently, and what this version does not know."""
    for file, kind, key, reads in (
        (UPDATE_FILE, UPDATE_TYPE, VENDOR, reads_update),
        (REQUEST_FILE, REQUEST_TYPE, CONTAINER_KEYS[0], reads_request),
    ):
        payload = read_envelope(file).payload
        assert plain in payload
        reads(seal(kind, payload.replace(plain, odd), key))


def test_a_request_of_another_type() -> None:
    reads_request(seal(UPDATE_TYPE, read_envelope(REQUEST_FILE).payload, CONTAINER_KEYS[0]))


def test_too_large() -> None:
    reads_update(b" " * ENVELOPE_MAX + UPDATE_FILE)
    reads_request(seal(REQUEST_TYPE, b" " * 5000 + json.dumps(REQUEST).encode(), CONTAINER_KEYS[0]))


@pytest.mark.parametrize("count", [0, 9])
def test_number_of_signatures(count: int) -> None:
    tree = json.loads(UPDATE_FILE)
    tree["signatures"] *= count
    reads_update(json.dumps(tree).encode())


@pytest.mark.parametrize("change", ["urlsafe", "unpadded", "newline", "trailing bits"])
def test_one_spelling_of_base64(change: str) -> None:
    tree = json.loads(UPDATE_FILE)
    text = base64.b64encode(b"\xfb\xff\xfe\x00").decode()
    tree["payload"] = {
        "urlsafe": text.replace("+", "-").replace("/", "_"),
        "unpadded": text.rstrip("="),
        "newline": text + "\n",
        "trailing bits": text.replace("A==", "B=="),
    }[change]
    assert tree["payload"] != text
    with pytest.raises(IllFormed, match="payload"):
        read_envelope(json.dumps(tree).encode())


@given(wild)
def test_read_json_raises_ill_formed_only(data: bytes) -> None:
    try:
        read_json(data, dict, 1_000_000)
    except IllFormed as error:
        assert str(error).isprintable()
