"""`/etc/tmr/upstream.toml`."""

import ipaddress
from pathlib import Path
from typing import Final

import msgspec

from tmr.licensing import BadItem
from tmr.licensing.statement import check_name
from tmr.rim.config import ConfigError, load
from tmr.rim.tls import TlsFiles

DEFAULT: Final = Path("/etc/tmr/upstream.toml")
TTL_MIN: Final = 0.5
TTL_MAX: Final = 60.0
RECORD_DAYS_MAX: Final = 36_500


class UpstreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One upstream. `lease_ttl`: seconds, the longest lease that it grants; the same on all machines.

    `system`: the TMR system's name, the trust domain of its certificates. `vendors`: directory with the
    public key of each trusted vendor as FIRMCODE.pem. `act_id`: CmActId that the three containers share.
    `record_days`: how long lines of the licence tracking record are kept.
    """

    name: str
    system: str
    act_id: str
    listen: str
    tls: TlsFiles
    port: int = 22351
    admin_socket: str = "/run/tmr-upstream/admin.sock"
    state_dir: str = "/var/lib/tmr-upstream"
    lease_ttl: float = 2.0
    vendors: str = "/etc/tmr/vendors"
    record_days: int = 400

    def mistakes(self) -> list[str]:
        """What is wrong, each a sentence that names the key."""
        found = []
        for key in ("name", "act_id"):
            try:
                check_name(key, getattr(self, key))
            except BadItem as error:
                found.append(f"{key} = {getattr(self, key)!r} is no name; {error.remedy}")
        try:
            ipaddress.ip_address(self.listen)
        except ValueError:
            found.append(f"listen = {self.listen!r} is no IP address; give this machine's back address")
        if not 0 <= self.port <= 65_535:
            found.append(f"port = {self.port} is outside 0 to 65535")
        if not TTL_MIN <= self.lease_ttl <= TTL_MAX:
            found.append(f"lease_ttl = {self.lease_ttl:g} is outside {TTL_MIN:g} to {TTL_MAX:g} seconds")
        if not 1 <= self.record_days <= RECORD_DAYS_MAX:
            found.append(f"record_days = {self.record_days} is outside 1 to {RECORD_DAYS_MAX} days")
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
