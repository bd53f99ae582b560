# SPDX-License-Identifier: Apache-2.0
"""A whole TMR system as real processes on loopback: three tmr-upstream, two tmr-server, mutual TLS, disks.

Only the virtual address is missing: `VipPeer` stands for tmr-vip, and clients ask the twins' own ports.
"""

import contextlib
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from testbed.daemon import Daemon
from testbed.pki import System, make_system
from testbed.steps import StepFailed, check
from testbed.vip_peer import VipPeer
from tmr.licensing import Licence, Update, issue, open_request, public_key_to_pem, raw_public_key
from tmr.net.tls import TlsFiles

ACT_ID = "lab-0123456789abcdef"
FIRM = 6_000_010
UPSTREAMS = ("up1", "up2", "up3")
TWINS = ("tmr1", "tmr2")
TTL = 1.0
PATIENCE = 90.0

UPSTREAM_TOML = """
name = "{name}"
system = "lab"
listen = "127.0.0.1"
port = {port}
admin_socket = "{directory}/admin.sock"
state_dir = "{directory}/state"
lease_ttl = {ttl}
vendors = "{vendors}"
act_id = "{act_id}"
[tls]
certificate = "{tls.certificate}"
key = "{tls.key}"
ca = "{tls.ca}"
"""
SERVER_TOML = """
name = "{name}"
system = "lab"
listen = ["127.0.0.1"]
port = {port}
act_id = "{act_id}"
vip = ["192.0.2.100"]
vip_socket = "{directory}/vip.sock"
state_dir = "{directory}"
lease_ttl = {ttl}
twins = ["tmr1", "tmr2"]
[tls]
certificate = "{tls.certificate}"
key = "{tls.key}"
ca = "{tls.ca}"
"""
SERVER_UPSTREAM_TOML = """
[[upstreams]]
name = "{name}"
address = "127.0.0.1"
port = {port}
"""


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE, pause: float = 0.02) -> Any:
    """Wait until `condition()` holds; what it returned."""
    end = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience:g} s in vain: {what}")
        time.sleep(pause)
    return found


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def context(files: TlsFiles) -> ssl.SSLContext:
    """Of a client that trusts the system's CA alone."""
    made = ssl.create_default_context(cafile=files.ca)
    made.load_cert_chain(files.certificate, files.key)
    return made


class Upstream(Daemon):
    """One tmr-upstream."""

    def __init__(
        self, name: str, port: int, directory: Path, vendors: Path, tls: TlsFiles, ttl: float
    ) -> None:
        directory.mkdir()
        (directory / "state").mkdir(mode=0o700)
        config = directory / "upstream.toml"
        config.write_text(
            UPSTREAM_TOML.format(
                name=name, port=port, directory=directory, ttl=ttl, vendors=vendors, act_id=ACT_ID, tls=tls
            )
        )
        super().__init__("tmr.daemons.upstream", config)
        self.name = name
        self.port = port
        self._socket = directory / "admin.sock"

    def admin(self) -> httpx.Client:
        """Of the local operator."""
        transport = httpx.HTTPTransport(uds=str(self._socket))
        return httpx.Client(transport=transport, base_url="http://upstream", timeout=10)


class Twin(Daemon):
    """One tmr-server with its VIP manager's peer."""

    def __init__(
        self, name: str, port: int, directory: Path, tls: TlsFiles, upstreams: list[Upstream], ttl: float
    ) -> None:
        directory.mkdir()
        config = directory / "server.toml"
        text = SERVER_TOML.format(name=name, port=port, directory=directory, ttl=ttl, act_id=ACT_ID, tls=tls)
        text += "".join(SERVER_UPSTREAM_TOML.format(name=one.name, port=one.port) for one in upstreams)
        config.write_text(text)
        super().__init__("tmr.daemons.twin_server", config)
        self.name = name
        self.port = port
        self._tls = tls
        self._upstreams = upstreams
        self.vip = VipPeer(directory / "vip.sock", self._execute_release).start()

    def _execute_release(self, release: bytes) -> None:
        """Release the lease of a dead tmr-server, as tmr-vip does."""
        headers = {"Content-Type": "application/msgpack"}
        with httpx.Client(verify=context(self._tls), timeout=1) as client:
            for upstream in self._upstreams:
                with contextlib.suppress(httpx.HTTPError):
                    url = f"https://127.0.0.1:{upstream.port}/v1/lease/release"
                    client.post(url, content=release, headers=headers)


class Machines:
    """Everything; `directory` must have a short path, for Unix sockets lie in it. `ttl`: the lease's, s."""

    def __init__(self, directory: Path, ttl: float = TTL) -> None:
        self.pki: System = make_system(
            directory, "lab", upstreams=UPSTREAMS, twins=TWINS, clients=("alice", "bob"), operators=("olga",)
        )
        self.vendor_key = Ed25519PrivateKey.generate()
        vendors = directory / "vendors"
        vendors.mkdir()
        (vendors / f"{FIRM}.pem").write_bytes(public_key_to_pem(raw_public_key(self.vendor_key)))
        self._issued: list[Update] = []
        ports = free_ports(5)
        self.upstreams = [
            Upstream(name, port, directory / name, vendors, self.pki.upstream(name), ttl)
            for name, port in zip(UPSTREAMS, ports[:3], strict=True)
        ]
        self.twins = [
            Twin(name, port, directory / name, self.pki.twin(name), self.upstreams, ttl)
            for name, port in zip(TWINS, ports[3:], strict=True)
        ]
        self._clients: dict[tuple[int, str], httpx.Client] = {}

    def start(self) -> None:
        for daemon in (*self.upstreams, *self.twins):
            daemon.start()

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        for daemon in (*self.twins, *self.upstreams):
            daemon.kill()
        for twin in self.twins:
            twin.vip.stop()

    def whole(self) -> Twin:
        """Everything runs, all three upstreams vote, the passive twin could take over; the active twin."""
        for daemon in (*self.upstreams, *self.twins):
            if not daemon.running:
                daemon.start()
        until(lambda: all(self.status(twin) for twin in self.twins), "both twins answer")

        def complete() -> tuple[Twin, int] | None:
            """The active twin, and the entries that it knows to be committed."""
            twin = self.active_now()
            if twin is None or (status := self.status(twin)) is None:
                return None
            well = [one["reachable"] and one["voting"] and one["lag"] == 0 for one in status["upstreams"]]
            whole = all(well) and all(one["container"] for one in status["upstreams"])
            return (twin, status["commit"]) if whole else None

        def ready() -> Twin | None:
            """Had by the other what was committed a while ago: more may be committed all the time."""
            if (found := complete()) is None:
                return None
            twin, _ = found
            passive = self.status(self.other(twin))
            if passive is None or passive["commit"] < committed:
                return None
            return None if any("virtual address" in alarm for alarm in passive["alarms"]) else twin

        _, committed = until(complete, "all upstreams vote and one twin serves")
        active: Twin = until(ready, "the other twin could take over")
        return active

    def ready(self, twin: Twin) -> None:
        """Wait until the active twin has heard that this one could take over."""

        def heard() -> bool:
            active = self.active_now()
            status = None if active is None else self.status(active)
            reasons = [] if status is None else status["health"]["reasons"]
            return status is not None and all(one["machine"] != twin.name for one in reasons)

        until(heard, f"{twin.name} is ready to take over")

    def switch_over(self) -> Twin:
        """Have the active twin hand over, once the other one could take over; the one that hands over."""

        def handed_over() -> Twin | None:
            twin = self.active_now()
            if twin is None:
                return None
            answer = self.client(twin, "olga").post("/v1/operator/switchover")
            return twin if answer.status_code == 202 else None

        found: Twin = until(handed_over, "the active twin hands over")
        return found

    def other_serves(self, first: Twin) -> None:
        """Wait until the other twin serves after `first` handed over to it.

        Where the other one is too slow, `first` takes the next term: then it hands over once more.
        """

        def serves() -> bool:
            active = self.active_now()
            if active is first:
                self.client(first, "olga").post("/v1/operator/switchover")
            return active is self.other(first)

        until(serves, f"{self.other(first).name} serves", pause=0.1)

    # -- asking --------------------------------------------------------------------------------------------

    def client(self, twin: Twin, who: str = "alice") -> httpx.Client:
        """A client's connections to one twin."""
        found = self._clients.get((twin.port, who))
        if found is None:
            base = f"https://127.0.0.1:{twin.port}"
            found = httpx.Client(verify=self.client_context(who), base_url=base, timeout=10)
            self._clients[twin.port, who] = found
        return found

    def client_context(self, who: str) -> ssl.SSLContext:
        """Of alice and bob, who are clients, or olga, an operator."""
        return context(self.pki.operator(who) if who == "olga" else self.pki.client(who))

    def status_of(self, twin: Twin) -> dict[str, Any]:
        """Status of the twin."""
        if (status := self.status(twin)) is None:
            raise StepFailed(f"{twin.name} does not answer")
        return status

    def status(self, twin: Twin) -> dict[str, Any] | None:
        """Status of the twin; None if it does not answer."""
        try:
            answer = self.client(twin, "olga").get("/v1/status", timeout=1)
        except httpx.HTTPError:
            return None
        status: dict[str, Any] = answer.json()
        return status if answer.status_code == 200 else None

    def active_now(self) -> Twin | None:
        """The twin that serves, if one does."""
        for twin in self.twins:
            status = self.status(twin) if twin.running else None
            if status is not None and status["lease_remaining_ms"] is not None:
                return twin
        return None

    def active(self) -> Twin:
        """The twin that serves; waits for it."""
        found: Twin = until(self.active_now, "a twin serves")
        return found

    def other(self, twin: Twin) -> Twin:
        return self.twins[1 - self.twins.index(twin)]

    # -- licences ------------------------------------------------------------------------------------------

    def activate(self, *licences: Licence) -> None:
        """The vendor issues `licences`, and they are activated on all three upstreams."""
        self.take(self.issue(*licences), *self.upstreams)

    def take(self, file: bytes, *upstreams: Upstream) -> None:
        """The update is activated on these upstreams."""
        for upstream in upstreams:
            with upstream.admin() as admin:
                answer = admin.post("/v1/updates", content=file)
                check(answer.is_success, answer.text)

    def issue(self, *licences: Licence) -> bytes:
        """The vendor's next update, which issues `licences`."""
        with contextlib.ExitStack() as stack:
            admins = [stack.enter_context(upstream.admin()) for upstream in self.upstreams]
            requests = []
            for admin in admins:
                answer = admin.get(f"/v1/requests/{FIRM}")
                check(answer.status_code == 200, answer.text)
                requests.append(open_request(answer.content))
            issued = issue(
                self._issued,
                requests,
                licences,
                firm_code=FIRM,
                key=self.vendor_key,
                issued_ms=time.time_ns() // 1_000_000,
                update_id=uuid.uuid4().hex,
            )
            self._issued.append(issued.update)
            return issued.file

    def forget_issued(self) -> None:
        """The containers are new: the vendor begins anew with them."""
        self._issued.clear()

    def serve(self, product: int, quantity: int | None) -> Twin:
        """Have a licence of `product` activated and shown; the active twin."""
        twin = self.whole()
        self.activate(Licence(product_code=product, quantity=quantity))

        def shown() -> bool:
            status = self.status(twin) or {"licences": []}
            votes = {one["product_code"]: one["votes"] for one in status["licences"]}
            return votes.get(product) == 3

        until(shown, f"product {product} is shown with three constituents")
        return twin


def body(product: int, **members: Any) -> dict[str, Any]:
    """Of a request for a session."""
    return {"firm_code": FIRM, "product_code": product, "station": "cad-07", **members}


def key() -> dict[str, str]:
    """The header of a new request."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def logs(machines: Machines) -> Iterator[str]:
    """The last lines of every process, for a failed test."""
    for daemon in (*machines.upstreams, *machines.twins):
        lines = daemon.log.read_text().splitlines()[-25:]
        yield f"== {daemon.config.parent.name}\n" + "\n".join(lines)
