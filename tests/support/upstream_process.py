# SPDX-License-Identifier: Apache-2.0
"""One real upstream: its own process, files, sockets and certificates."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from testbed.pki import System
from tmr.rpc.upstream_client import UpstreamLink, contexts

ACT_ID = "lab-0123456789abcdef"
PATIENCE = 30.0


class UpstreamProcess:
    """`tmr-upstream` on a loopback port that the kernel chooses; nothing runs before `start`."""

    def __init__(
        self, directory: Path, system: System, name: str = "up1", *, ttl: float = 2.0, mode: str = "tmr"
    ) -> None:
        self.system = system
        self.name = name
        self.ttl = ttl
        self.mode = mode
        self.port = 0
        self.root = directory / name
        self.state = self.root / "state"
        self.vendors = self.root / "vendors"
        self.socket = self.root / "admin.sock"
        self.config = self.root / "upstream.toml"
        self.log = self.root / "log"
        self.crl: Path | None = None
        self.settings: dict[str, Any] = {}
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        for path in (self.root, self.state, self.vendors):
            path.mkdir(exist_ok=True)
        self.configure()

    def configure(self, **values: Any) -> None:
        """Write the configuration file; `values` add top-level keys, or replace them, as `settings` do."""
        files = self.system.upstream(self.name)
        settings = {
            "name": self.name,
            "system": self.system.name,
            "mode": self.mode,
            "listen": "127.0.0.1",
            "port": self.port,
            "admin_socket": str(self.socket),
            "state_dir": str(self.state),
            "lease_ttl": self.ttl,
            "vendors": str(self.vendors),
            "act_id": ACT_ID,
            **self.settings,
            **values,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        lines += [
            "[tls]",
            f'certificate = "{files.certificate}"',
            f'key = "{files.key}"',
            f'ca = "{files.ca}"',
        ]
        if self.crl is not None:
            lines.append(f'crl = "{self.crl}"')
        self.config.write_text("\n".join(lines) + "\n")

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `tmr-upstream --config … ARGUMENTS` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tmr.daemons.upstream", "--config", str(self.config), *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def spawn(self, *, file_limit: int | None = None, open_files: int | None = None) -> None:
        """Start without waiting. `file_limit`: bytes that any one file may have, as a disk that fills up.

        `open_files`: how many file descriptors it may have, as the unit's LimitNOFILE.
        """
        self.log.unlink(missing_ok=True)

        def limit() -> None:
            import resource

            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
            if open_files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tmr.daemons.upstream", "--config", str(self.config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONWARNINGS": "error", **self.environment},
                preexec_fn=limit,  # noqa: PLW1509
            )

    def start(self, *, file_limit: int | None = None, open_files: int | None = None) -> "UpstreamProcess":
        """Start and wait until it serves."""
        self.spawn(file_limit=file_limit, open_files=open_files)
        end = time.monotonic() + PATIENCE
        while not (ready := re.search(r"event=ready .*\bport=(\d+)", self.output())):
            assert self.process is not None
            assert self.process.poll() is None, f"ended while starting: {self.output()}"
            assert time.monotonic() < end, f"not ready in time: {self.output()}"
            time.sleep(0.01)
        self.port = int(ready[1])
        self.configure()
        return self

    def output(self) -> str:
        """What it has logged since its start."""
        return self.log.read_text() if self.log.exists() else ""

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> int:
        """An orderly stop; its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Leave nothing running."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def link(self, twin: str = "tmr1") -> UpstreamLink:
        """A twin's link to it."""
        tls = contexts(self.system.twin(twin), self.system.name)
        return UpstreamLink(self.name, "127.0.0.1", self.port, tls, self.ttl)
