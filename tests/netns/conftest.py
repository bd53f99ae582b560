# SPDX-License-Identifier: Apache-2.0
"""The LAN, fresh for every test."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.pki import Authority
from tests.netns.upstreams import Upstream
from tests.netns.world import HOSTS, VIP, Capture, Commander, Lan, Manager


def _reason() -> str:
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "sysctl"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = _reason()
    for item in items:
        if reason and "tests/netns/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason=reason))


class Front:
    """The LAN, and everything that was started on it; ended in reverse order."""

    def __init__(self, lan: Lan, directory: Path, stack: ExitStack) -> None:
        self.lan, self.directory, self._stack = lan, directory, stack
        self._authority = Authority(directory / "pki", "lab")
        self._twin = self._authority.issue("twin", "tmr1", addresses=["10.20.0.21"])
        self._upstream = self._authority.issue("upstream", "up1", addresses=["10.20.0.11"])
        self._targets = ["10.20.0.11:9"]

    def upstream(self, statuses: tuple[int, ...] = (200,)) -> Upstream:
        """A target of the release of the lease of managers that start after it."""
        files = self._upstream
        started = Upstream(
            self.lan["up1"],
            "10.20.0.11",
            files.certificate,
            files.key,
            files.ca,
            self.lan["tmr1"].has,
            statuses,
        )
        self._stack.callback(started.close)
        self._targets = [started.target]
        return started

    def config(
        self,
        host: str,
        addresses: tuple[str, ...] = (f"{VIP}/32",),
        peer_user: str = "root",
        socket: Path | None = None,
        watch: tuple[str, ...] = (),
    ) -> Path:
        path = self.directory / f"{host}.toml"
        path.write_text(
            f"""addresses = {list(addresses)!r}
interface = "eth0"
socket = "{socket or self.directory / f"{host}.sock"}"
peer_user = "{peer_user}"
[release]
targets = {self._targets!r}
path = "/v1/lease/release"
certificate = "{self._twin.certificate}"
key = "{self._twin.key}"
ca = "{self._twin.ca}"
"""
            + (f'[watch]\nsource = "10.20.0.{HOSTS[host]}"\ntargets = {list(watch)!r}\n' if watch else "")
        )
        return path

    def manager(
        self,
        host: str,
        addresses: tuple[str, ...] = (f"{VIP}/32",),
        peer_user: str = "root",
        path: Path | None = None,
        watch: tuple[str, ...] = (),
    ) -> Manager:
        path = path or self.directory / f"{host}.sock"
        started = Manager(self.lan[host], self.config(host, addresses, peer_user, path, watch), path)
        self._stack.callback(started.kill)
        return started

    def commander(self, manager: Manager, user: int | None = None) -> Commander:
        started = Commander(manager.path, user)
        self._stack.callback(started.kill)
        return started

    def capture(self, host: str) -> Capture:
        started = Capture(self.lan[host])
        self._stack.callback(started.close)
        return started


@pytest.fixture
def front() -> Iterator[Front]:
    # Not tmp_path, which no other user may enter: one test commands as another user.
    directory = Path(tempfile.mkdtemp(prefix="tmrvip"))
    directory.chmod(0o755)
    try:
        with Lan() as lan, ExitStack() as stack:
            yield Front(lan, directory, stack)
    finally:
        shutil.rmtree(directory)
