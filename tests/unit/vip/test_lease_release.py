# SPDX-License-Identifier: Apache-2.0
"""Receivers of a lease release: upstreams whose certificate counts."""

import asyncio
import logging
from pathlib import Path

import pytest

from testbed.pki import System, make_system
from tests.support.serving import serving
from tmr.runtime.logs import KeyValueFormatter
from tmr.vip import lease_release
from tmr.vip.config import ConfigError, ReleaseConfig, Target


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("pki"))


def told(system: System, port: int, crl: Path | None) -> None:
    files = system.twin("tmr1")
    config = ReleaseConfig(
        (Target("127.0.0.1", port),),
        "/v1/lease/release",
        Path(files.certificate),
        Path(files.key),
        Path(files.ca),
        crl,
    )
    context = lease_release.tls_context(config)

    async def tell() -> None:
        await lease_release.send(config, context, b"release", lambda: False)
        # The daemon's loop goes on; this one must not end before its connections have.
        transports = list(vars(asyncio.get_running_loop())["_transports"].values())
        async with asyncio.timeout(20):
            while any(vars(one)["_sock"] is not None for one in transports):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    asyncio.run(tell())


def test_a_revoked_upstream_is_told_nothing(system: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(KeyValueFormatter(journal=True))
    up1 = system.upstream("up1")
    with serving(up1) as served:
        told(system, served.port, system.authority.crl(stem="empty"))
        assert "status 404" in caplog.text
        caplog.clear()
        told(system, served.port, system.authority.crl(up1, stem="full"))
    assert "certificate revoked" in caplog.text
    assert "status" not in caplog.text


@pytest.mark.parametrize("text", [None, "no list"])
def test_a_list_that_cannot_be_used_is_named(system: System, tmp_path: Path, text: str | None) -> None:
    crl = tmp_path / "crl.pem"
    if text is not None:
        crl.write_text(text)
    with pytest.raises(
        ConfigError, match=r"release\.crl: .*No such file|release: certificate, key, ca and crl"
    ):
        told(system, 1, crl)
