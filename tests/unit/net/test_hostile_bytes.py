# SPDX-License-Identifier: Apache-2.0
"""Found by fuzzing: what readers raised besides their own error."""

from pathlib import Path

import msgspec
import pytest

from tmr.api.errors import ConfigError as ClientConfigError
from tmr.client import config as client
from tmr.rpc.registry import RPCS, decode_message, decode_reply
from tmr.runtime.config import ConfigError
from tmr.upstream import config as upstream
from tmr.vip import config as vip

DEEP = b"\x82\xa4type\xa4look\xa3zzz" + b"\x91" * 200_000
NO_UTF8 = b"\x81\xa4type\xa1\xff"


@pytest.mark.parametrize("data", [DEEP, NO_UTF8, DEEP.replace(b"look", b"page")])
def test_messages_about_the_record(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_message(data)
    for rpc in RPCS:
        with pytest.raises(msgspec.DecodeError):
            decode_reply(rpc.message, data)


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "9" * 5_000], ids=["deep", "long"])
def test_configuration_files(tmp_path: Path, text: str) -> None:
    file = tmp_path / "one.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="not valid TOML"):
        upstream.read(file)
    with pytest.raises(vip.ConfigError, match="not TOML"):
        vip.load(file)
    with pytest.raises(ClientConfigError, match="not valid TOML"):
        client.load(file)
