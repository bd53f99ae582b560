"""From the prober's log to the pause that a client saw."""

from __future__ import annotations

from demo.gaps import Answer, gap_ms, read

MS = 1_000_000


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    assert read(["1 tmr1\n", "2 tmr1\n", "30"]) == [Answer(1, "tmr1"), Answer(2, "tmr1")]


def test_the_pause_is_between_the_two_twins() -> None:
    answers = [Answer(ms * MS, "tmr1") for ms in (0, 10, 60, 70)]  # a slow answer before is no takeover
    answers += [Answer(ms * MS, "tmr2") for ms in (250, 260, 900)]
    assert gap_ms(answers, 65 * MS, "tmr2") == 180


def test_an_earlier_term_of_the_successor_does_not_count() -> None:
    answers = [Answer(0, "tmr2"), Answer(10 * MS, "tmr1"), Answer(20 * MS, "tmr1")]
    assert gap_ms(answers, 15 * MS, "tmr2") is None
    answers.append(Answer(420 * MS, "tmr2"))
    assert gap_ms(answers, 15 * MS, "tmr2") == 400
