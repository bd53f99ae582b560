# SPDX-License-Identifier: Apache-2.0
"""`/etc/tmr/upstream.toml`."""

import ipaddress
from pathlib import Path
from typing import Final

import msgspec

from tmr.api.deployment import DEPLOYMENTS, Deployment, DeploymentName
from tmr.licensing import BadItem
from tmr.licensing.statement import check_name
from tmr.net.addresses import places
from tmr.net.tls import TlsFiles
from tmr.runtime.config import ConfigError, load

DEFAULT: Final = Path("/etc/tmr/upstream.toml")
TTL_MIN: Final = 0.5
TTL_MAX: Final = 60.0
RECORD_DAYS_MAX: Final = 36_500
DISK_RESERVE_MAX: Final = 2**20


class UpstreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream.

    `mode`: name of the deployment. `port`: without it, the deployment's. `lease_ttl`: seconds, the longest
    lease that it grants; the same on all machines. `system`: the TMR system's name, the trust domain of its
    certificates. `vendors`: directory with the public key of each trusted vendor as FIRMCODE.pem. `act_id`:
    CmActId that the three containers share. `record_days`: how long lines of the licence tracking record
    are kept. `disk_reserve`: MiB of the store's file system that are to be free; below, it says that it is
    short of space. 0: it does not look. `clock_sync`: a time source is to keep this machine's clock, and it
    is an alarm when none does. `twins`: by name, the addresses from which a twin asks; without it, from
    anywhere.
    """

    name: str
    system: str
    act_id: str
    listen: str | tuple[str, ...]
    tls: TlsFiles
    mode: DeploymentName = "tmr"
    port: int | msgspec.UnsetType = msgspec.UNSET
    admin_socket: str = "/run/tmr-upstream/admin.sock"
    state_dir: str = "/var/lib/tmr-upstream"
    lease_ttl: float = 2.0
    vendors: str = "/etc/tmr/vendors"
    record_days: int = 400
    disk_reserve: int = 256
    clock_sync: bool = False
    twins: dict[str, tuple[str, ...]] = {}

    @property
    def deployment(self) -> Deployment:
        """The kind of system that it is of."""
        return DEPLOYMENTS[self.mode]

    @property
    def listen_port(self) -> int:
        """The port to listen on."""
        if self.port is not msgspec.UNSET:
            return self.port
        return self.deployment.port

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses to listen on."""
        return (self.listen,) if isinstance(self.listen, str) else self.listen

    def mistakes(self) -> list[str]:
        """Mistakes, each a sentence that names the key."""
        found = []
        for key in ("name", "act_id"):
            try:
                check_name(key, getattr(self, key))
            except BadItem as error:
                found.append(f"{key} = {getattr(self, key)!r} is no name; {error.remedy}")
        whose = self.deployment.listens
        if not self.addresses:
            found.append(f"listen is empty; give this machine's address {whose}")
        for address in self.addresses:
            try:
                ipaddress.ip_address(address)
            except ValueError:
                found.append(f"listen = {address!r} is no IP address; give this machine's address {whose}")
        for twin, addresses in self.twins.items():
            try:
                places(addresses)
            except ValueError as error:
                found.append(f"twins.{twin} = {list(addresses)}: {error}; give the twin's back addresses")
            if not addresses:
                found.append(f"twins.{twin} is empty; give the twin's back addresses, or leave twins out")
        if not 0 <= self.listen_port <= 65_535:
            found.append(f"port = {self.port} is outside 0 to 65535")
        if not TTL_MIN <= self.lease_ttl <= TTL_MAX:
            found.append(f"lease_ttl = {self.lease_ttl:g} is outside {TTL_MIN:g} to {TTL_MAX:g} seconds")
        if not 1 <= self.record_days <= RECORD_DAYS_MAX:
            found.append(f"record_days = {self.record_days} is outside 1 to {RECORD_DAYS_MAX} days")
        if not 0 <= self.disk_reserve <= DISK_RESERVE_MAX:
            found.append(f"disk_reserve = {self.disk_reserve} is outside 0 to {DISK_RESERVE_MAX} MiB")
        for key in ("state_dir", "vendors"):
            if not Path(getattr(self, key)).is_dir():
                found.append(f"{key} = {getattr(self, key)!r} is no directory; create it or correct {key}")
        return found or self.tls.problems()


def parse(path: Path) -> UpstreamConfig:
    """The configuration in the TOML file at `path`, its values unchecked. Raises ConfigError."""
    return load(path, UpstreamConfig)


def read(path: Path) -> UpstreamConfig:
    """The checked configuration in the TOML file at `path`. Raises ConfigError."""
    config = parse(path)
    mistakes = config.mistakes()
    if mistakes:
        raise ConfigError(f"{path}: {'; '.join(mistakes)}")
    return config
