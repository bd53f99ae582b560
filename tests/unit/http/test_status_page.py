# SPDX-License-Identifier: Apache-2.0
"""The status page: its colours can be read, and none is the only sign of anything."""

import re

import pytest

from tmr.api.status import HealthState
from tmr.http.status_page import page

TEXT = bytes(page().body).decode()
LEAST = 4.5
"""Contrast of text to what is behind it: WCAG 2.2, success criterion 1.4.3."""


def scheme(number: int) -> dict[str, str]:
    """Colours of one scheme, by name. 0: light, 1: dark."""
    block = re.findall(r":root \{(.*?)\}", TEXT, re.DOTALL)[number]
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]+)", block))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_can_be_read(number: int) -> None:
    colours = scheme(number)
    for ink in ("ink", "soft", "good", "warn", "bad"):
        for behind in ("back", "card"):
            found = contrast(colours[ink], colours[behind])
            assert found >= LEAST, f"{ink} on {behind}: {found:.2f}"


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000", "#ffffff") == 21
    assert round(contrast("#767676", "#fff"), 2) == 4.54


def test_each_health_has_a_style_and_its_word_is_shown() -> None:
    (styles,) = re.findall(r"const health = \{(.*?)\};", TEXT)
    assert set(re.findall(r"(\w+):", styles)) == set(HealthState)
    assert "mark(state, health[state])" in TEXT
    assert "badge.textContent = word" in TEXT
