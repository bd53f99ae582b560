# SPDX-License-Identifier: Apache-2.0
"""`--version` of the daemons: that of the release which is installed."""

import importlib
import sys
from importlib.metadata import version

import pytest


@pytest.mark.parametrize(
    ("module", "program"),
    [("twin_server", "tmr-server"), ("upstream", "tmr-upstream"), ("vip", "tmr-vip")],
)
def test_a_daemon_tells_its_version(
    module: str, program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--version"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"tmr.daemons.{module}").main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{program} {version('tmr')}\n"
