# SPDX-License-Identifier: Apache-2.0
"""The process tmr-server for service manager and operator: readiness, watchdog, exit status, mistakes."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from testbed.loopback import TTL, Machines, until


def run(config: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tmr.daemons.twin_server", "--config", str(config)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def test_a_mistake_in_the_file_is_named_and_nothing_starts(tmp_path: Path) -> None:
    config = tmp_path / "server.toml"
    config.write_text('name = "tmr1"\nsystm = "lab"\n')
    process = run(config)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "systm" in error
    assert "did you mean 'system'" in error
    assert "Traceback" not in error


def test_a_taken_port_is_named(machines: Machines) -> None:
    twin = machines.whole()
    process = run(twin.config)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 2
    assert f"127.0.0.1 port {twin.port}" in error
    assert "Traceback" not in error


def test_readiness_watchdog_and_stop_are_told(machines: Machines, tmp_path: Path) -> None:
    twin = machines.other(machines.whole())
    twin.kill()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        process = run(twin.config, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000")
        try:
            heard: list[str] = []

            def listen() -> str:
                heard.extend(manager.recv(4096).decode().splitlines())
                return " ".join(heard)

            until(lambda: "READY=1" in listen() and heard.count("WATCHDOG=1") >= 3, "it is ready and alive")
            assert any(line.startswith("STATUS=passive") for line in heard)
            process.send_signal(signal.SIGSTOP)
            manager.settimeout(3 * TTL)
            try:
                while True:
                    assert "WATCHDOG=1" in listen()
            except TimeoutError:
                pass  # frozen: the service manager would kill it
            process.send_signal(signal.SIGCONT)
            manager.settimeout(20)
            process.terminate()
            until(lambda: "STOPPING=1" in listen(), "it says that it stops")
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.communicate()
