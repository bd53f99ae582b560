# SPDX-License-Identifier: Apache-2.0
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import (
    BadSerial,
    Kind,
    Part,
    Request,
    Serial,
    SerialUse,
    Statement,
    container_serial,
    make_request,
    open_request,
    virtual_serial,
)
from tmr.licensing.serial import MASKS, NUMBER_MAX

from .system import ACT_ID, CONTAINER_KEYS, FIRM, containers


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1-7", Kind.CM_DONGLE),
        ("2-1234567", Kind.CM_DONGLE),
        ("3-0", Kind.CM_DONGLE),
        ("127-5", Kind.CM_ACT_LICENSE),
        ("128-5", Kind.CM_ACT_LICENSE),
        ("129-5", Kind.CM_ACT_LICENSE),
        ("130-1234567", Kind.CM_ACT_LICENSE_UNIVERSAL),
        ("131-4294967295", Kind.TMR_VIRTUAL),
        ("140-9", Kind.CM_CLOUD_CONTAINER),
        ("140-560129638-1439315497", Kind.CM_CLOUD_CONTAINER),
    ],
)
def test_mask_tells_the_kind(text: str, kind: Kind) -> None:
    serial = Serial.parse(text)
    assert serial.kind is kind
    assert str(serial) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "ill-formed"),
        ("130", "ill-formed"),
        ("130-", "ill-formed"),
        ("130-01", "ill-formed"),
        ("0130-1", "ill-formed"),
        ("130-1\n", "ill-formed"),
        (" 130-1", "ill-formed"),
        ("130--1", "ill-formed"),
        ("\u0661\u0663\u0660-\u0661", "ill-formed"),  # digits, but not ASCII
        ("130-99999999999", "ill-formed"),
        ("130-4294967296", "out-of-range"),
        ("140-1-4294967296", "out-of-range"),
        ("140-1-", "ill-formed"),
        ("140-1-01", "ill-formed"),
        ("140-1-2-3", "ill-formed"),
        ("130-1-2", "ill-formed"),
        ("4-1", "unknown-mask"),
        ("999-1", "unknown-mask"),
    ],
)
def test_what_is_no_serial(text: str, code: str) -> None:
    with pytest.raises(BadSerial) as caught:
        Serial.parse(text)
    assert caught.value.code == code
    assert caught.value.remedy


@given(st.text())
def test_parse_raises_bad_serial_only(text: str) -> None:
    try:
        serial = Serial.parse(text)
    except BadSerial:
        return
    assert str(serial) == text


@given(st.sampled_from(sorted(MASKS)), st.integers(0, NUMBER_MAX))
def test_round_trip(mask: int, number: int) -> None:
    serial = Serial(mask, number)
    assert Serial.parse(str(serial)) == serial


@given(st.integers(0, NUMBER_MAX), st.integers(0, NUMBER_MAX))
def test_round_trip_of_three_parts(number: int, second: int) -> None:
    serial = Serial(140, number, second)
    assert Serial.parse(str(serial)) == serial


def test_derived_serials_are_fixed_for_ever() -> None:
    # a change here would rename every container in the field
    assert str(container_serial(bytes(32))) == "130-3869582238"
    assert str(virtual_serial("lab-4f3a0c119d2b7e58")) == "131-4001922990"


@pytest.mark.parametrize(
    ("place", "mask", "told"),
    [
        (SerialUse.LICENCE_FILE, 130, None),
        (SerialUse.NETWORK_SERVER, 130, None),
        (SerialUse.TMR_SERVER, 131, None),
        *((place, mask, "tools of its maker") for place in SerialUse for mask in (1, 2, 3)),
        *((place, mask, "no Universal Firm Code") for place in SerialUse for mask in (127, 128, 129)),
        *((place, 140, "maker's service") for place in SerialUse),
        (SerialUse.LICENCE_FILE, 131, "holds nothing itself"),
        (SerialUse.NETWORK_SERVER, 131, "only a TMR server"),
        (SerialUse.TMR_SERVER, 130, "clients see the virtual container"),
    ],
)
def test_each_place_takes_its_kind(place: SerialUse, mask: int, told: str | None) -> None:
    serial = Serial(mask, 7)
    if told is None:
        assert serial.check(place) is serial
        return
    with pytest.raises(BadSerial, match=told) as caught:
        serial.check(place)
    assert caught.value.code == "wrong-kind"
    assert f"serial {mask}-7: a {serial.kind}" in caught.value.reason
    assert ("131-" if place is SerialUse.TMR_SERVER else "130-") in caught.value.remedy


def test_every_mask_is_judged_for_every_place() -> None:
    for mask in MASKS:
        taken = []
        for place in SerialUse:
            try:
                taken.append(Serial(mask, 1).check(place) and place)
            except BadSerial as error:
                assert error.code == "wrong-kind"
        wanted = {130: [SerialUse.LICENCE_FILE, SerialUse.NETWORK_SERVER], 131: [SerialUse.TMR_SERVER]}
        assert taken == wanted.get(mask, [])


@pytest.mark.parametrize("mask", sorted(set(MASKS) - {130}))
def test_licence_files_of_other_kinds_of_container_are_refused(mask: int) -> None:
    request = open_request(make_request(containers()[0], FIRM, CONTAINER_KEYS[0]))
    serial = f"{mask}-7"
    with pytest.raises(BadSerial, match="does not belong to a request, an update or a statement"):
        Statement("up1", serial, ACT_ID, 0)
    with pytest.raises(BadSerial, match="does not belong"):
        Part(serial, request.container_key, 1, ())
    with pytest.raises(msgspec.ValidationError, match="does not belong"):
        msgspec.convert(msgspec.to_builtins(request) | {"container": serial}, Request)
