# SPDX-License-Identifier: Apache-2.0
"""The anchor on a twin's disk: whole or absent, and lowered by an operator's command alone."""

import asyncio
from pathlib import Path

import pytest

from tmr.quorum.anchor import Anchor, AnchorMismatch
from tmr.twin.accept_loss import UNSEEN_EPOCHS, accept, describe, units_lost
from tmr.twin.anchor_file import AnchorDocument, AnchorFile, AnchorWriter

ANCHOR = Anchor(6, 120, 1_800_000_000_000, b"sum")
UPSTREAMS = ("up1", "up2", "up3")


def objection() -> AnchorMismatch:
    return AnchorMismatch(ANCHOR, "short", {0: (4, 80), 1: (4, 78)}, 0.0)


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    assert AnchorFile(tmp_path).read() is None
    kept = AnchorDocument(ANCHOR, {"6000010:1:1": 7})
    AnchorFile(tmp_path).write(kept)
    assert AnchorFile(tmp_path).read() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["anchor"]


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 100])
def test_a_damaged_file_is_no_anchor_and_an_alarm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "anchor").write_bytes(content)
    file = AnchorFile(tmp_path)
    assert file.read() is None
    assert str(tmp_path / "anchor") in file.problem
    file.write(AnchorDocument(ANCHOR))
    assert not file.problem
    assert AnchorFile(tmp_path).read() == AnchorDocument(ANCHOR)


def test_a_directory_that_cannot_be_written_is_an_alarm_and_no_end(tmp_path: Path) -> None:
    file = AnchorFile(tmp_path / "absent")
    file.write(AnchorDocument(ANCHOR))
    assert "absent" in file.problem


def test_the_alarm_says_what_is_missing_where_and_what_can_be_done() -> None:
    text = describe(objection(), UPSTREAMS, 1_800_000_060_000, units_lost({"a": 7, "b": 1}, {"a": 2, "b": 1}))
    assert "entry 120 of epoch 6 (2027-01-15 08:00:00 UTC)" in text
    assert "40 entries" in text
    assert "up1 ends with entry 80 of epoch 4; up2 ends with entry 78 of epoch 4" in text
    assert "up3 may have it" in text
    assert "5 of a" in text
    assert " of b" not in text
    assert "--accept-loss journal-6.120-4.80" in text


def test_an_operator_lowers_the_anchor_to_what_was_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    AnchorFile(tmp_path).write(AnchorDocument(ANCHOR, {"a": 7}))
    assert accept(str(tmp_path), objection().id) == 0
    assert "entry 80" in capsys.readouterr().out
    assert AnchorFile(tmp_path).read() == AnchorDocument(Anchor(4, 80, 0), used_up=6 + UNSEEN_EPOCHS)


def test_epochs_that_were_given_up_stay_used_up(tmp_path: Path) -> None:
    AnchorFile(tmp_path).write(AnchorDocument(ANCHOR, used_up=9_000))
    assert accept(str(tmp_path), objection().id) == 0
    assert AnchorFile(tmp_path).read() == AnchorDocument(Anchor(4, 80, 0), used_up=9_000)


@pytest.mark.parametrize("wanted", ["", "journal-6.120", "journal-6.121-4.80", "journal-7.120-4.80"])
def test_the_loss_of_something_else_is_not_accepted(
    tmp_path: Path, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    AnchorFile(tmp_path).write(AnchorDocument(ANCHOR))
    assert accept(str(tmp_path), wanted) == 1
    assert "tmr status" in capsys.readouterr().err
    assert AnchorFile(tmp_path).read() == AnchorDocument(ANCHOR)


def test_without_an_anchor_there_is_nothing_to_accept(tmp_path: Path) -> None:
    assert accept(str(tmp_path), objection().id) == 1


FOUNDED = AnchorMismatch(
    Anchor(6, 120, 1_800_000_000_000, b"sum", "aa11"), "founded", {0: (2, 4), 2: (2, 5)}, 0.0, "bb22"
)


@pytest.mark.parametrize(
    ("found", "words", "wanted"),
    [
        (FOUNDED, "up1 and up3 are of another founding (bb22)", "founding-aa11-bb22"),
        (
            AnchorMismatch(FOUNDED.anchor, "new", {0: (0, 0), 1: (0, 0), 2: (0, 0)}, 0.0),
            "the stores of up1 and up2 and up3 are new",
            "founding-aa11-new",
        ),
    ],
)
def test_another_founding_is_an_alarm_and_accepted_by_name(
    tmp_path: Path, found: AnchorMismatch, words: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = describe(found, UPSTREAMS, 1_800_000_060_000, "")
    for told in (words, "the founding aa11, up to entry 120", "anew", f"--accept-loss {wanted}"):
        assert told in text
    file = AnchorFile(tmp_path)
    assert accept(str(tmp_path), wanted) == 1, "there is no anchor"
    file.write(AnchorDocument(Anchor(6, 120, 0, b"", "cc33")))
    assert accept(str(tmp_path), wanted) == 1
    assert "cc33" in capsys.readouterr().err
    file.write(AnchorDocument(FOUNDED.anchor, {"a": 7}))
    assert accept(str(tmp_path), wanted) == 0
    assert "is given up" in capsys.readouterr().out
    assert file.read() is None
    assert not file.problem


def test_a_loss_within_a_founding_keeps_the_founding(tmp_path: Path) -> None:
    AnchorFile(tmp_path).write(AnchorDocument(FOUNDED.anchor))
    assert accept(str(tmp_path), "journal-6.120-4.80") == 0
    kept = AnchorFile(tmp_path).read()
    assert kept is not None
    assert kept.anchor == Anchor(4, 80, 0, founding="aa11")


def test_what_could_not_be_written_is_written_once_it_can_be(tmp_path: Path) -> None:
    """Also where nothing new is committed meanwhile, and at an orderly stop."""
    (tmp_path / "anchor.new").mkdir()

    async def run() -> None:
        file = AnchorFile(tmp_path)
        writer = AnchorWriter(file, lambda: AnchorDocument(ANCHOR), None)
        await writer.at_once()
        assert "written" in file.problem
        (tmp_path / "anchor.new").rmdir()
        await writer.at_once()
        assert not file.problem

    asyncio.run(run())
    assert AnchorFile(tmp_path).read() == AnchorDocument(ANCHOR)
