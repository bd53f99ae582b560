# SPDX-License-Identifier: Apache-2.0
"""An export is believed only as it was made: every change is found, and where it is, is said."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.record import FIRM, attested, exported, lines, public_keys, span_of
from tmr.ledger import Head, link, unbroken
from tmr.ledger import export as form
from tmr.ledger.export import BadExport, Reader
from tmr.ledger.record import chain, decode_line

TRUTH = lines(12)
WRONG = lines(12, client="mallory")
ALL = public_keys(1, 2, 3)
REFERENCE = Path(__file__).parents[3] / "docs/reference/record.md"


def broken(file: list[bytes]) -> BadExport:
    with pytest.raises(BadExport) as caught:
        list(Reader(file))
    return caught.value


def counted(file: list[bytes], keys: dict[str, bytes] = ALL) -> list[str]:
    """Why each attestation does not count; empty: it does."""
    reader = Reader(file)
    list(reader)
    return [one.problem for one in reader.vouchers(keys)]


def test_a_file_as_it_was_made_holds() -> None:
    reader = Reader(exported(TRUTH[3:9], by=(1, 2, 3)))
    assert [line.seq for line in reader] == list(range(4, 10))
    assert reader.span == span_of(TRUTH[3:9])
    assert [(one.upstream, one.problem) for one in reader.vouchers(ALL)] == [
        ("up1", ""),
        ("up2", ""),
        ("up3", ""),
    ]


@given(
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.integers(0, 9)), min_size=1, max_size=6)
)
def test_whatever_texts_a_line_has_its_bytes_are_kept(texts: list[tuple[str, str, int]]) -> None:
    made, head = [], Head()
    for user, detail, units in texts:
        made += lines(1, after=head, user=user, detail=detail, units=units)
        head = Head(made[-1].seq, made[-1].hash)
    assert unbroken(made)
    found = list(Reader(b"".join(exported(made)).splitlines(keepends=True)))
    assert found == [decode_line(one.line) for one in made]


@given(data=st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    file = b"".join(exported(TRUTH[2:7]))
    at = data.draw(st.integers(0, len(file) - 2))
    changed = (
        file[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda b: b != file[at]))]) + file[at + 1 :]
    )
    try:
        problems = counted(changed.splitlines(keepends=True))
    except BadExport:
        return
    # What is left is a signature that does not hold, or bytes that mean the same.
    same = changed.splitlines()
    assert problems != ["", ""] or [line.strip() for line in same][1:-1] == file.splitlines()[1:-1]


@given(data=st.data())
def test_lines_left_out_doubled_or_moved_are_found(data: st.DataObject) -> None:
    file = exported(TRUTH)
    order = data.draw(
        st.permutations(range(len(file))) | st.lists(st.integers(0, len(file) - 1), max_size=20)
    )
    if order != list(range(len(file))):
        broken([file[n] for n in order])


def test_where_it_breaks_is_said() -> None:
    file = exported(TRUTH)
    gone = broken([*file[:5], *file[7:]])
    assert (gone.number, gone.reason) == (6, "line 7 of the record follows line 4: lines 5 to 6 are missing")
    assert "tmr tracking export" in gone.remedy
    changed = broken([*file[:5], file[5].replace(b"alice", b"carol"), *file[6:]])
    assert changed.number == 6
    assert "the hash of line 5 of the record does not hold" in changed.reason
    assert "everything up to line 4" in changed.reason
    cut = broken(file[:-1])
    assert (cut.number, cut.reason) == (len(file), "the end is missing: the file is cut off")
    assert "firm 6000011" in broken([file[0], form.body(lines(1, FIRM + 1)[0]), *file[2:]]).reason
    assert "follows the end" in broken([*file, file[1]]).reason


def test_a_forged_chain_is_not_vouched_for() -> None:
    """Anybody can make a chain that holds; nobody else can sign for the containers."""
    truth, forged = exported(TRUTH), exported(WRONG)
    end = json.loads(forged[-1])
    end["attestations"] = json.loads(truth[-1])["attestations"]
    assert (
        counted([*forged[:-1], json.dumps(end).encode()])
        == ["it vouches for something else than this file"] * 2
    )


def test_who_does_not_count() -> None:
    assert counted(exported(TRUTH), public_keys(1)) == ["", "the key of this container is not known"]
    assert counted(exported(TRUTH, by=(1, 1))) == ["", "this container has vouched already"]
    span = span_of(TRUTH)
    end = form.end(span, [attested(span, 1, container="130-1"), attested(span, 2, format=2)])
    assert counted([form.header(span), *map(form.body, TRUTH), end]) == [
        "the key of this container is not known",
        "format 2 is not known here",
    ]
    (serial,) = public_keys(1)
    (other,) = public_keys(2).values()
    (problem,) = counted(exported(TRUTH, by=(1,)), {serial: other})
    assert problem == "the key given is not that of this container"


def test_two_containers_of_two_systems_do_not_vouch_together() -> None:
    span = span_of(TRUTH)
    end = form.end(span, [attested(span, 1), attested(span, 2, act_id="other"), attested(span, 3)])
    assert counted([form.header(span), *map(form.body, TRUTH), end]) == [
        "",
        "this container is of another system",
        "",
    ]


def test_an_attestation_from_before_the_span_ended_does_not_count() -> None:
    span = span_of(TRUTH, from_ms=0, to_ms=50_000)
    end = form.end(span, [attested(span, 1, time_ms=49_999), attested(span, 2, time_ms=50_000)])
    early, late = counted([form.header(span), *map(form.body, TRUTH), end])
    assert "before the span ended" in early
    assert late == ""


def test_a_span_without_a_line_is_vouched_for_too() -> None:
    before = TRUTH[4].hash.hex()
    span = form.RecordSpan(FIRM, 6_500, 6_600, 6, before, 5, before, whole=True)
    file = [form.header(span), form.end(span, [attested(span, 1), attested(span, 2)])]
    assert counted(file) == ["", ""]


def test_lines_outside_the_span_are_found() -> None:
    assert "span" in broken(exported(TRUTH, from_ms=1_500)).reason
    assert "span" in broken(exported(TRUTH, to_ms=12_000)).reason


def test_the_example_of_the_reference_verifies_as_it_says() -> None:
    """With nothing but SHA-256 and the rule on the page."""
    text = REFERENCE.read_text()
    example = text.split("```json\n")[1].split("```")[0].splitlines()
    previous = bytes.fromhex(json.loads(example[0])["before"])
    for raw in example[1:-1]:
        data = raw.encode()[82:-1]
        assert json.loads(raw)["line"] == json.loads(data)
        previous = hashlib.sha256(previous + data).digest()
        assert previous.hex() == json.loads(raw)["hash"]
    assert json.loads(example[-1])["last_hash"] == previous.hex()


def test_a_chain_is_what_its_rule_says() -> None:
    first, second = TRUTH[:2]
    assert first.hash == hashlib.sha256(bytes(32) + first.line).digest()
    assert second.hash == link(first.hash, second.line)
    assert chain(Head(1, first.hash), decode_line(second.line)) == second
    assert not unbroken([])
    assert not unbroken([first, TRUTH[2]])
