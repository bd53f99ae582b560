# SPDX-License-Identifier: Apache-2.0
"""A front LAN of network namespaces, and the processes and observers on it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from pyroute2 import netns  # type: ignore[import-untyped]

VIP = "10.20.0.100"
VIP6 = "fd00:20::100"
PATIENCE_S = 10.0
ETH_P_ALL = 3
UNSERVED_PORT = 9
SOLICITED_AGAIN_S = 2.5
"""The kernel joins the group of solicitations for a new IPv6 address a moment after it has the address: the
first solicitation may be missed, and the client repeats it after 1 s.
"""
T = TypeVar("T")


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def until(condition: Callable[[], T], what: str, patience: float = PATIENCE_S) -> T:
    """The first true value of `condition`; fails when there is none within `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {patience} s in vain: {what}"
        time.sleep(0.002)


def ip(*arguments: str) -> str:
    done = subprocess.run(("ip", *arguments), check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Namespace:
    """One machine on the LAN: a network namespace with `eth0`."""

    def __init__(self, name: str) -> None:
        self.name = name
        ip("netns", "add", name)

    def inside(self, make: Callable[[], T]) -> T:
        """The result of `make` in a thread that lives in this namespace; sockets made there stay in it."""
        results: list[T] = []
        failures: list[BaseException] = []

        def run() -> None:
            try:
                netns.setns(self.name)
                results.append(make())
            except BaseException as error:  # handed to the caller below
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    def run(self, *command: str) -> str:
        return ip("netns", "exec", self.name, *command)

    def ip(self, *arguments: str) -> str:
        return ip("-n", self.name, *arguments)

    @property
    def mac(self) -> str:
        return str(json.loads(self.ip("-j", "link", "show", "eth0"))[0]["address"])

    def addresses(self) -> list[str]:
        """Every address of eth0, as ADDRESS/PREFIX, global ones only."""
        [link] = json.loads(self.ip("-j", "address", "show", "dev", "eth0"))
        return [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] == "global"]

    def has(self, address: str = VIP) -> bool:
        return any(found.split("/")[0] == address for found in self.addresses())

    def neighbour(self, address: str = VIP) -> str:
        """The MAC address that this machine has in its table for `address`, or nothing."""
        found = json.loads(self.ip("-j", "neighbour", "show", "to", address, "dev", "eth0") or "[]")
        return str(found[0].get("lladdr", "")) if found else ""

    def reaches(self, address: str = VIP) -> bool:
        """Somebody has `address`: its kernel refuses a connection to a port that nobody serves."""

        def knock() -> bool:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
                sock.settimeout(SOLICITED_AGAIN_S)
                try:
                    sock.connect((address, UNSERVED_PORT))
                except ConnectionRefusedError:
                    return True
                except OSError:
                    return False
            raise AssertionError(f"something listens on port {UNSERVED_PORT}")

        return self.inside(knock)


HOSTS = {"tmr1": 21, "tmr2": 22, "client": 31, "up1": 11}


class Lan:
    """Twins tmr1 and tmr2, a client, and an upstream, all on one bridge in a namespace of its own."""

    def __init__(self) -> None:
        self._prefix = f"tmrvip{os.getpid()}"
        self._names: list[str] = []
        self.hosts: dict[str, Namespace] = {}

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._destroy()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._destroy()

    def __getitem__(self, host: str) -> Namespace:
        return self.hosts[host]

    def _namespace(self, name: str) -> Namespace:
        self._names.append(f"{self._prefix}-{name}")
        return Namespace(self._names[-1])

    def _build(self) -> None:
        self.switch = self._namespace("sw")
        self.switch.ip("link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        self.switch.ip("link", "set", "br0", "up")
        for host, number in HOSTS.items():
            space = self.hosts[host] = self._namespace(host)
            space.ip("link", "add", "eth0", "type", "veth", "peer", "name", host, "netns", self.switch.name)
            self.switch.ip("link", "set", host, "master", "br0", "up")
            space.ip("link", "set", "lo", "up")
            space.ip("address", "add", f"10.20.0.{number}/24", "dev", "eth0")
            space.ip("address", "add", f"fd00:20::{number}/64", "dev", "eth0", "nodad")
            space.ip("link", "set", "eth0", "up")
            space.run("sysctl", "-qw", "net.ipv4.conf.eth0.arp_ignore=1", "net.ipv4.conf.eth0.arp_announce=2")
        for space in self.hosts.values():
            until(lambda s=space: "LOWER_UP" in s.ip("link", "show", "eth0"), "carrier")  # type: ignore[misc]

    def _destroy(self) -> None:
        # Every veth has an end in the switch's namespace: with it go all links.
        for name in reversed(self._names):
            subprocess.run(("ip", "netns", "delete", name), check=False, capture_output=True)

    def forward(self, host: str, works: bool) -> None:
        """The switch's port forwards, or nothing passes it, though the carrier stays."""
        self.switch.run("bridge", "link", "set", "dev", host, "state", "3" if works else "0")

    def cable(self, host: str, plugged: bool) -> None:
        self.switch.ip("link", "set", host, "up" if plugged else "down")


class Capture:
    """Frames that arrive at eth0 of a machine, with the time (CLOCK_BOOTTIME ns) of their arrival."""

    def __init__(self, space: Namespace, interface: str = "eth0") -> None:
        def make() -> socket.socket:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            sock.bind((interface, ETH_P_ALL))
            return sock

        self._socket = space.inside(make)
        self.frames: list[tuple[int, bytes]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            self.frames.append((boottime_ns(), data))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Process:
    """A child of the test, ended by its own id."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self.popen = subprocess.Popen(command, **options)

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.popen.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the process stops")

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE_S)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


class Commander(Process):
    """Stands where tmr-server stands: sends commands, collects reports."""

    def __init__(self, path: Path, user: int | None = None) -> None:
        script = Path(__file__).with_name("commander.py")
        super().__init__(
            [sys.executable, "-I", str(script), str(path), *([] if user is None else [str(user)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.reports: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.seen: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with contextlib.suppress(ValueError):  # closed by kill()
            for line in self.popen.stdout:
                self.reports.put(json.loads(line))
        self.reports.put(None)

    def send(self, data: bytes) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def hold(self, epoch: int, seconds: float = 2.0, release: bytes = b"release") -> int:
        """Sends `hold` for `seconds` from now; the deadline."""
        deadline = boottime_ns() + int(seconds * 1e9)
        text = base64.b64encode(release).decode()
        self.command(op="hold", epoch=epoch, deadline_ns=deadline, release=text)
        return deadline

    def drop(self, epoch: int) -> None:
        self.command(op="drop", epoch=epoch)

    def command(self, **command: object) -> None:
        self.send(json.dumps(command).encode() + b"\n")

    def expect(self, event: str | None, patience: float = PATIENCE_S) -> dict[str, Any]:
        """The next report of this kind (those before it are passed over); None waits for the end."""
        end = time.monotonic() + patience
        while True:
            try:
                report = self.reports.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {event} within {patience} s; seen: {self.seen}") from None
            if report is None:
                assert event is None, f"the connection ended before {event}; seen: {self.seen}"
                return {}
            self.seen.append(report)
            if report["event"] == event:
                return report

    def keep(self, epoch: int, seconds: float = 2.0) -> Renewal:
        return Renewal(self, epoch, seconds)


class Renewal:
    """Renews the lease every 0.3 s while the block runs."""

    def __init__(self, commander: Commander, epoch: int, seconds: float) -> None:
        self._commander, self._epoch, self._seconds = commander, epoch, seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the commander was killed
            while not self._end.wait(0.3):
                self._commander.hold(self._epoch, self._seconds)

    def __enter__(self) -> Self:
        self._commander.hold(self._epoch, self._seconds)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join(PATIENCE_S)


class Manager(Process):
    """The real tmr-vip in a machine, with its log, ready when made."""

    def __init__(self, space: Namespace, config: Path, path: Path, ready: bool = True) -> None:
        self.space, self.config, self.path = space, config, path
        self.log = config.with_suffix(".log")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = config.with_suffix(".notify")
        address.unlink(missing_ok=True)
        self._notify.bind(str(address))
        self._notify.settimeout(0.1)
        self.status: list[str] = []
        with self.log.open("ab") as log:
            super().__init__(
                self.command(space, config),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"},
            )
        if ready:
            self.until_notified("READY=1")

    @staticmethod
    def command(space: Namespace, config: Path, *more: str) -> list[str]:
        program = str(Path(sys.executable).with_name("tmr-vip"))
        return ["ip", "netns", "exec", space.name, program, "--config", str(config), *more]

    def until_notified(self, message: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while message not in self.status:
            with contextlib.suppress(TimeoutError):
                self.status += self._notify.recv(4096).decode().split("\n")
                continue
            ended = self.popen.poll() is not None
            assert not ended and time.monotonic() < end, f"no {message} from tmr-vip:\n{self.text()}"

    def text(self) -> str:
        return self.log.read_text()

    def until_logged(self, text: str) -> str:
        """The log once it contains `text`."""
        return until(lambda: found if text in (found := self.text()) else "", f"log: {text}")

    def terminate(self) -> int:
        self.signal(signal.SIGTERM)
        return self.popen.wait(PATIENCE_S)

    def kill(self) -> None:
        super().kill()
        self._notify.close()


@contextlib.contextmanager
def thawed(*processes: Process) -> Iterator[None]:
    """Whatever happens in the block, none of `processes` stays frozen."""
    try:
        yield
    finally:
        for process in processes:
            if process.popen.poll() is None:
                process.thaw()
