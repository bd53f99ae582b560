import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmr.licensing import BadSerial, Kind, Serial, container_serial, virtual_serial
from tmr.licensing.serial import MASKS, NUMBER_MAX


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1-7", Kind.CM_DONGLE),
        ("2-1234567", Kind.CM_DONGLE),
        ("3-0", Kind.CM_DONGLE),
        ("128-5", Kind.CM_ACT_LICENSE),
        ("129-5", Kind.CM_ACT_LICENSE),
        ("130-1234567", Kind.CM_ACT_LICENSE_UNIVERSAL),
        ("131-4294967295", Kind.TMR_VIRTUAL),
        ("140-9", Kind.CM_CLOUD_CONTAINER),
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


def test_derived_serials_are_fixed_for_ever() -> None:
    # a change here would rename every container in the field
    assert str(container_serial(bytes(32))) == "130-3869582238"
    assert str(virtual_serial("lab-4f3a0c119d2b7e58")) == "131-4001922990"
