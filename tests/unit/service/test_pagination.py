# SPDX-License-Identifier: Apache-2.0
"""Long lists come in pages: each entry once, whatever begins and ends meanwhile."""

from hypothesis import given
from hypothesis import strategies as st

from tmr.service.pagination import Cursor, Page

NAMES = st.text("0123456789abcdef", min_size=1, max_size=4)
LISTS = st.lists(st.builds(Cursor, st.integers(0, 6), NAMES), unique=True).map(
    lambda marks: sorted(marks, key=lambda mark: mark.time_ms)
)


def page(
    sessions: list[Cursor], queue: list[Cursor], limit: int, after: str | None
) -> tuple[list[Cursor], str | None]:
    found = Page(limit, after)
    shown = [*found.take("s", sessions, lambda mark: mark), *found.take("q", queue, lambda mark: mark)]
    return shown, found.next


def pages(sessions: list[Cursor], queue: list[Cursor], limit: int) -> list[Cursor]:
    shown, after = page(sessions, queue, limit, None)
    found = list(shown)
    while after is not None:
        assert len(shown) == limit, "only the last page may be short"
        shown, after = page(sessions, queue, limit, after)
        assert shown, "there was more"
        found += shown
    return found


@given(LISTS, LISTS, st.integers(1, 7))
def test_the_pages_together_are_the_lists(sessions: list[Cursor], queue: list[Cursor], limit: int) -> None:
    assert pages(sessions, queue, limit) == sorted(sessions) + sorted(queue)


@given(LISTS, st.integers(1, 5), st.data())
def test_what_ends_between_two_pages_takes_nothing_else_away(
    sessions: list[Cursor], limit: int, data: st.DataObject
) -> None:
    shown, after = page(sessions, [], limit, None)
    ended = set(data.draw(st.lists(st.sampled_from(sessions)))) if sessions else set()
    left = [mark for mark in sessions if mark not in ended]
    found = list(shown)
    while after is not None:
        shown, after = page(left, [], limit, after)
        found += shown
    assert [mark for mark in found if mark not in ended] == sorted(left)
    assert len(found) == len(set(found))
