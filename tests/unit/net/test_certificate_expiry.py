# SPDX-License-Identifier: Apache-2.0
"""Alarms about certificates that end: which stand at what time."""

from hypothesis import given
from hypothesis import strategies as st

from tmr.net.certificate_expiry import (
    DAY,
    ENDED,
    FILES,
    FULL_LIFE,
    STAGES,
    CertificateState,
    File,
    Validity,
    alarm_of,
    lead,
    objection,
    stage,
)

BORN = 1_800_000_000.0

lives = st.integers(60, 864_000_000)
files = st.sampled_from(FILES)
moments = st.integers(round(BORN) - 2_600_000, round(BORN) + 950_000_000)


def living(life: float | None, file: File = "certificate") -> Validity:
    return Validity(file, "the certificate of twin tmr1", BORN, None if life is None else BORN + life)


validities = st.builds(
    lambda file, begins, life: Validity(file, f"{file} {begins:g}", begins, begins + life),
    files,
    moments,
    lives,
)
sets = st.lists(validities, max_size=5)


def test_a_year_has_alarms_at_60_30_and_7_days() -> None:
    year = living(397 * DAY)
    for before, expected in ((61, None), (60, 60), (31, 60), (30, 30), (8, 30), (7, 7), (0.1, 7), (0, ENDED)):
        assert stage(year, BORN + (397 - before) * DAY) == expected, before


def test_certificates_of_a_day_have_no_alarm_while_two_thirds_are_not_over() -> None:
    day = living(DAY)
    assert stage(day, BORN + DAY * 0.7) is None
    assert stage(day, BORN + DAY * 0.76) == 60
    assert stage(day, BORN + DAY * 0.99) == 7


@given(lives, moments, moments)
def test_stages_only_come_nearer(life: float, one: float, other: float) -> None:
    first, second = (stage(living(life), at) for at in sorted((one, other)))
    assert first is None or (second is not None and second <= first)


@given(lives, files, moments)
def test_there_is_an_alarm_exactly_before_the_begin_and_from_the_first_stage_on(
    life: float, file: File, now: float
) -> None:
    one = living(life, file)
    assert one.ends is not None
    expected = now < one.begins or now >= one.ends or one.ends - now <= lead(one, STAGES[0])
    assert bool(alarm_of(one, now)) is expected
    assert CertificateState((one,)).alarms(now) == ([alarm_of(one, now)] if expected else [])


@given(st.integers(60, round(FULL_LIFE)), st.sampled_from(STAGES))
def test_what_lives_short_has_its_stages_in_proportion(life: float, days: int) -> None:
    assert 0 < lead(living(life), days) <= life / 4 + 0.001
    assert lead(living(FULL_LIFE), days) == lead(living(10 * FULL_LIFE), days) == days * DAY


@given(moments)
def test_what_never_ends_has_no_stage(now: float) -> None:
    assert stage(living(None), now) is None


@given(sets, sets, moments)
def test_what_is_valid_is_given_up_only_for_what_is_valid(
    new: list[Validity], used: list[Validity], now: float
) -> None:
    def good(some: list[Validity]) -> bool:
        cas = [one for one in some if one.file == "ca"]
        return (not cas or any(one.holds(now) for one in cas)) and all(
            one.holds(now) for one in some if one.file != "ca"
        )

    has_ca = any(one.file == "ca" for one in used)
    assert bool(objection(new, used, now)) is (has_ca and good(used) and not good(new))


def test_the_words() -> None:
    year = living(397 * DAY)
    said = alarm_of(year, BORN + 350 * DAY)
    assert said == (
        "the certificate of twin tmr1 ends on 2028-02-16 08:00 UTC; then no peer accepts it: renew it: "
        "site.yml --tags pki"
    )
    assert "begins on 2027-01-15 08:00 UTC only" in alarm_of(year, BORN - 1)
    assert "ended on" in alarm_of(year, BORN + 398 * DAY)
    state = CertificateState((year,), "tls.key = 'x' cannot be read")
    assert state.alarms(BORN) == ["tls.key = 'x' cannot be read"]
    assert state.ends("certificate") == BORN + 397 * DAY
    assert state.ends("crl") is None
