# SPDX-License-Identifier: Apache-2.0
"""Jinja filter `tmr_inventory_file_mistakes`: what is wrong with the files beside an inventory.

Vendors' keys that are none, or that are to stay secret; a CA that cannot be read, or of which a second would
be made. `check`, the first step itself, is a plain function: variables of the hosts in, sentences out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

Hosts: TypeAlias = Mapping[str, Mapping[str, Any]]
Groups: TypeAlias = Mapping[str, Sequence[str]]

GROUPS = ("upstreams", "twins", "network_servers", "clients")
NEEDED = ("inventory_dir", "tmr_pki_dir", "tmr_upstream_vendors", "tmr_client_vendors")
SECRETS = ("ca.key", "ca.crt", "crl.pem", "operator.key", "operator.crt", "act_id")

_VAULT = b"$ANSIBLE_VAULT"
_FIRM = re.compile(r"[0-9]{1,10}\.pem")


def check(hosts: Hosts, groups: Groups) -> list[str]:
    """Mistakes in the files of an inventory, none when they are right."""
    members = [host for group in GROUPS for host in groups.get(group, ()) if host in hosts]
    found = list(_authorities({host: _pki(hosts[host]) for host in members}))
    for directory in dict.fromkeys(filter(None, (_pki(hosts[host]) for host in members))):
        found += _readable(Path(directory))
    vendors = [one for host in members for one in _vendors(hosts[host])]
    for directory in dict.fromkeys(vendors):
        for path in sorted(Path(directory).glob("*.pem")):
            found += _vendor(path)
    return found


def _pki(variables: Mapping[str, Any]) -> str:
    beside = variables.get("inventory_dir")
    return str(variables.get("tmr_pki_dir") or (f"{beside}/.secrets/pki" if beside else ""))


def _vendors(variables: Mapping[str, Any]) -> list[str]:
    beside = variables.get("inventory_dir")
    given = variables.get("tmr_upstream_vendors") or (f"{beside}/vendors" if beside else "")
    return [str(one) for one in (given, variables.get("tmr_client_vendors")) if one]


def _authorities(directories: Mapping[str, str]) -> Iterator[str]:
    """Machines of one system trust one CA."""
    owners: dict[str, list[str]] = {}
    for host, directory in directories.items():
        owners.setdefault(directory, []).append(host)
    if len(owners) > 1:
        listed = "; ".join(
            f"{place or 'none'} for {', '.join(machines)}" for place, machines in owners.items()
        )
        yield (
            f"there would be {len(owners)} certification authorities, and machines would refuse one another:"
            f" {listed}. Put all machines into one inventory directory, or set tmr_pki_dir for all, in"
            " group_vars/all"
        )


def _readable(directory: Path) -> Iterator[str]:
    for name in SECRETS:
        path = directory / name
        if _head(path).startswith(_VAULT):
            yield (
                f"{path} is encrypted by ansible-vault, and certificates cannot be made with it; decrypt it"
                f" (ansible-vault decrypt {path}), and keep the directory on an encrypted disk instead"
            )


def _vendor(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    if b"PRIVATE KEY-----" in content:
        yield (
            f"{path} holds a private key, which everybody could read on the machines; put the vendor's public"
            " key there. If it is the vendor's own key, it is to be kept elsewhere"
        )
        return
    try:
        load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        yield f"{path} is no public key in PEM (BEGIN PUBLIC KEY); ask the vendor for the file"
        return
    if not _FIRM.fullmatch(path.name):
        yield f"{path} is of no firm: name it by the vendor's Firm Code, as 6000001.pem"


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError:
        return b""


def mistakes(hostvars: Mapping[str, Any], groups: Groups) -> list[str]:
    """The filter: `hostvars | tmr_inventory_file_mistakes(groups)`."""
    members = {host for group in GROUPS for host in groups.get(group, ())}
    hosts = {
        host: {name: hostvars[host][name] for name in NEEDED if name in hostvars[host]} for host in members
    }
    return check(hosts, groups)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions of the filters."""
        return {"tmr_inventory_file_mistakes": mistakes}
