# SPDX-License-Identifier: Apache-2.0
"""`/etc/tmr/server.toml`."""

from ipaddress import ip_address
from pathlib import Path
from typing import Final

import msgspec

from tmr.net.tls import TlsFiles
from tmr.runtime.config import ConfigError, load

TTL_MIN: Final = 0.5
TTL_MAX: Final = 60.0


class UpstreamAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Address on which one upstream listens; `name` is the name in its certificate."""

    name: str
    address: str
    port: int = 22351


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A twin. `vip`: where clients are referred to; `lease_ttl`: seconds, the same on all machines.

    `state_dir`: where the anchor is kept. `source`: the own address to ask the upstreams from, of each
    kind that they have; upstreams answer a twin only at the addresses that they know of it.
    """

    name: str
    system: str
    act_id: str
    twins: tuple[str, str]
    vip: tuple[str, ...]
    upstreams: tuple[UpstreamAddress, UpstreamAddress, UpstreamAddress]
    tls: TlsFiles
    listen: tuple[str, ...] = ("0.0.0.0", "::")  # noqa: S104
    port: int = 22350
    vip_socket: str = "/run/tmr-vip/vip.sock"
    lease_ttl: float = 2.0
    state_dir: str = "/var/lib/tmr-server"
    source: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """0 or 1: keeps the epochs of the two twins apart."""
        return self.twins.index(self.name)

    @property
    def peer(self) -> str:
        """Name of the other twin."""
        return self.twins[1 - self.rank]

    def source_for(self, address: str) -> str | None:
        """Own address to ask the upstream at `address` from; None: the system chooses."""
        return next((one for one in self.source if (":" in one) == (":" in address)), None)

    def mistakes(self) -> list[str]:
        """Mistakes, each a sentence that names the key."""
        found = []
        if self.name not in self.twins:
            found.append(f"name = {self.name!r} is not one of twins = {list(self.twins)}; correct one")
        if self.twins[0] == self.twins[1]:
            found.append(f"twins names {self.twins[0]!r} twice; name the two TMR servers")
        for key in ("name", "address"):
            values = [getattr(upstream, key) for upstream in self.upstreams]
            if key == "address":
                values = [f"{upstream.address} port {upstream.port}" for upstream in self.upstreams]
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                found.append(f"two of upstreams have the {key} {twice}; a TMR system has three")
        if not TTL_MIN <= self.lease_ttl <= TTL_MAX:
            found.append(f"lease_ttl = {self.lease_ttl:g} is outside {TTL_MIN:g} to {TTL_MAX:g} seconds")
        if not self.listen:
            found.append('listen is empty; use ["0.0.0.0", "::"] to listen on every address')
        if not self.vip:
            found.append("vip is empty; name the virtual address that clients use")
        for address in self.source:
            try:
                ip_address(address)
            except ValueError:
                found.append(f"source = {address!r} is no IP address; give this machine's own back address")
        return found or self.tls.problems()


def read(path: Path) -> ServerConfig:
    """The configuration in the TOML file at `path`. Raises ConfigError."""
    config = load(path, ServerConfig)
    mistakes = config.mistakes()
    if mistakes:
        raise ConfigError(f"{path}: {'; '.join(mistakes)}")
    return config
