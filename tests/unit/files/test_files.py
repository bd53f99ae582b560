# SPDX-License-Identifier: Apache-2.0
"""Directories that are synced; anything else is an error."""

from pathlib import Path

import pytest

from tmr.files import sync_directory


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"")])
def test_what_is_no_directory_is_an_error(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "name")
    sync_directory(tmp_path)
    with pytest.raises(OSError, match="name"):
        sync_directory(tmp_path / "name")
