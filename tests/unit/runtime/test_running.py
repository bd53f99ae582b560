# SPDX-License-Identifier: Apache-2.0
"""A daemon describes its release and its files for a deployment."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from tmr.runtime import running


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "server.toml"
    path.write_text("name = 'tmr1'\n")
    return path


def test_release_and_files_as_they_are_now(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = tmp_path / "tmr-server.service"
    unit.write_text("[Unit]\n")
    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{directory}:/run/other")
    monkeypatch.setenv("TMR_UNIT_FILE", str(unit))
    monkeypatch.setattr(sys, "prefix", "/opt/tmr/releases/0.1.0-abc-py3.11")
    running.describe(config)
    found = json.loads((directory / running.FILE).read_text())
    assert found["release"] == "0.1.0-abc-py3.11"
    assert found["pid"] == os.getpid()
    assert found["files"] == {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in (config, unit)
    }


def test_without_systemd_nothing_is_written(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    before = sorted(tmp_path.iterdir())
    running.describe(config)
    assert sorted(tmp_path.iterdir()) == before


def test_a_directory_that_cannot_be_written_stops_nothing(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "none"))
    running.describe(config, tmp_path / "missing.toml")
    assert "cannot write what runs" in caplog.text
