# SPDX-License-Identifier: Apache-2.0
"""Configuration of tmr-vip: TOML in, checked values out. Every error names the key and the remedy."""

import tomllib
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import msgspec

Address: TypeAlias = IPv4Address | IPv6Address

_LONGEST_SOCKET_PATH = 107  # bytes of sun_path, without its terminator
_LONGEST_INTERFACE_NAME = 15  # IFNAMSIZ, without its terminator


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and the remedy."""


class Target(msgspec.Struct, frozen=True):
    """Upstream that gets the release of the lease on failure."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ReleaseTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[release]` as written: files are PEM, targets are ADDRESS:PORT, `source` own addresses."""

    targets: list[str]
    path: str
    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None
    source: list[str] = []


class WatchTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[watch]` as written: IPv4 addresses on the front network."""

    source: str
    targets: list[str]


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as written."""

    addresses: list[str]
    interface: str
    socket: Path
    peer_user: str
    release: ReleaseTable
    watch: WatchTable | None = None


class ReleaseConfig(msgspec.Struct, frozen=True):
    """Receivers of the release of the lease on failure of tmr-server, and the files that prove who sends
    it.
    """

    targets: tuple[Target, ...]
    path: str
    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None
    source: tuple[str, ...] = ()
    """Own addresses to send it from; empty: the system chooses."""


class WatchConfig(msgspec.Struct, frozen=True):
    """Machines whose answers show that the front network works, and this machine's own address there."""

    source: IPv4Address
    targets: tuple[IPv4Address, ...]


class Config(msgspec.Struct, frozen=True):
    """The checked configuration."""

    addresses: tuple[Address, ...]
    interface: str
    socket: Path
    peer_user: str
    release: ReleaseConfig
    watch: WatchConfig | None = None


def load(path: Path) -> Config:
    """Read and check the file at `path`; raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{path}: cannot be read ({reason}); give the right --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text ({error.reason}); write it anew") from error
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(text: str) -> Config:
    """Check the text of a configuration file; raises ConfigError."""
    try:
        document = msgspec.convert(tomllib.loads(text), Document, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{error}; compare the keys with the documentation of vip.toml") from error
    except (ValueError, RecursionError) as error:  # tomllib's own is a ValueError; so are numbers too long
        raise ConfigError(f"not TOML: {error}; correct that line") from error
    addresses = _addresses(document.addresses)
    return Config(
        addresses=addresses,
        interface=_interface(document.interface),
        socket=_socket(document.socket),
        peer_user=document.peer_user,
        release=_release(document.release),
        watch=None if document.watch is None else _watch(document.watch, addresses),
    )


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"{kind} from {value!r}")


def _addresses(texts: list[str]) -> tuple[Address, ...]:
    if not texts:
        raise ConfigError('addresses: none given; write for example addresses = ["10.20.0.100/32"]')
    found: list[Address] = []
    for text in texts:
        address = _address(text)
        if address in found:
            raise ConfigError(f"addresses: {address} stands there twice; remove one")
        found.append(address)
    return tuple(found)


def _address(text: str) -> Address:
    try:
        interface: IPv4Interface | IPv6Interface = ip_interface(text)
    except ValueError as error:
        raise ConfigError(f"addresses: {text!r} is no IP address; write ADDRESS/32 or ADDRESS/128") from error
    address = interface.ip
    if interface.network.prefixlen != address.max_prefixlen:
        raise ConfigError(
            f"addresses: {text!r} has a network; write {address}/{address.max_prefixlen}, since the route"
            " to the network belongs to the interface's own address and must not vanish with the VIP"
        )
    if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
        raise ConfigError(
            f"addresses: {address} cannot be reached by clients; choose one of the front network"
        )
    return address


def _interface(name: str) -> str:
    if not 0 < len(name) <= _LONGEST_INTERFACE_NAME or "/" in name or any(c.isspace() for c in name):
        raise ConfigError(f"interface: {name!r} is no interface name; see `ip link`")
    return name


def _socket(path: Path) -> Path:
    if not path.is_absolute():
        raise ConfigError(f"socket: {str(path)!r} is relative; write the whole path")
    if len(bytes(path)) > _LONGEST_SOCKET_PATH:
        raise ConfigError(f"socket: longer than {_LONGEST_SOCKET_PATH} bytes; choose a shorter path")
    return path


def _release(table: ReleaseTable) -> ReleaseConfig:
    targets = tuple(_target(text) for text in table.targets)
    if not targets:
        raise ConfigError("release.targets: none given; list every upstream as ADDRESS:PORT")
    if len(set(targets)) != len(targets):
        raise ConfigError("release.targets: one stands there twice; list every upstream once")
    if not table.path.startswith("/") or any(not "!" <= c <= "~" for c in table.path):
        raise ConfigError(
            f"release.path: {table.path!r} is no path of a URL; write for example /v1/lease/release"
        )
    for key in ("certificate", "key", "ca", "crl"):
        file = getattr(table, key)
        if file is not None and not PurePosixPath(file).is_absolute():
            raise ConfigError(f"release.{key}: {str(file)!r} is relative; write the whole path")
    for address in table.source:
        try:
            ip_address(address)
        except ValueError:
            raise ConfigError(
                f"release.source: {address!r} is no IP address; give this machine's own back address"
            ) from None
    return ReleaseConfig(
        targets, table.path, table.certificate, table.key, table.ca, table.crl, tuple(table.source)
    )


def _watch(table: WatchTable, addresses: tuple[Address, ...]) -> WatchConfig:
    source = _watched(table.source, "watch.source")
    targets = tuple(_watched(text, "watch.targets") for text in table.targets)
    if not targets:
        raise ConfigError(
            "watch.targets: none given; list the gateway and the other twin, or leave [watch] out"
        )
    if len(set(targets)) != len(targets):
        raise ConfigError("watch.targets: one stands there twice; list every machine once")
    for target in targets:
        if target == source or target in addresses:
            raise ConfigError(
                f"watch.targets: {target} is this machine's own, or virtual; list other machines"
            )
    return WatchConfig(source, targets)


def _watched(text: str, key: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {text!r} is no IPv4 address; write for example 10.20.0.1") from error


def _target(text: str) -> Target:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    try:
        address = ip_address(host)
    except ValueError:
        colon = ""
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"release.targets: {text!r} is not ADDRESS:PORT; write 10.30.0.11:22351 or [fd00:30::11]:22351"
            " (an address, not a name: no look-up may delay a lease release)"
        )
    return Target(str(address), int(port))
