# SPDX-License-Identifier: Apache-2.0
"""The commands that talk to the running upstream through its administration socket."""

import http.client
import socket
import sys
from pathlib import Path
from typing import Final

import msgspec

from tmr.api.deployment import DEPLOYMENTS
from tmr.upstream.admin_messages import Activated, Status

_TIMEOUT: Final = 30.0


class CommandFailed(Exception):
    """The command cannot be carried out; the text gives reason and remedy."""


class _Problem(msgspec.Struct):
    """Members of a `tmr.api.problem.Problem` that are shown; importing pydantic takes too long."""

    detail: str
    remedy: str


if sys.platform == "win32":

    def _connect(path: Path) -> socket.socket:
        raise CommandFailed(f"{path}: there is no administration socket on this platform")

else:

    def _connect(path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(str(path))
        except OSError as error:
            connection.close()
            if isinstance(error, FileNotFoundError | ConnectionRefusedError):
                raise CommandFailed(
                    f"{path}: nobody listens; the upstream does not run, or its runtime directory was "
                    "removed: systemctl restart tmr-upstream"
                ) from None
            raise CommandFailed(
                f"{path}: {error.strerror}; run this as root or as a member of the socket's group"
            ) from None
        return connection


def _ask(path: Path, method: str, target: str, body: bytes | None = None) -> bytes:
    connection = http.client.HTTPConnection("upstream")
    connection.sock = _connect(path)
    try:
        connection.request(method, target, body)
        response = connection.getresponse()
        status, content = response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise CommandFailed(
            f"{path}: the upstream does not answer ({error}); look why: journalctl -u tmr-upstream"
        ) from None
    finally:
        connection.close()
    if status == 200:
        return content
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except msgspec.MsgspecError:
        raise CommandFailed(f"the upstream answered with HTTP status {status}") from None
    raise CommandFailed(f"{problem.detail.rstrip('.')}\nremedy: {problem.remedy.rstrip('.')}")


def request(path: Path, firm_code: int) -> bytes:
    """The request file for one firm. Raises CommandFailed."""
    return _ask(path, "GET", f"/v1/requests/{firm_code}")


def activate(path: Path, update: Path) -> Activated:
    """Activate an update file. Raises CommandFailed, and nothing has changed."""
    try:
        body = update.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{update}: cannot be read: {error.strerror}") from None
    return msgspec.json.decode(_ask(path, "POST", "/v1/updates", body), type=Activated)


def status(path: Path) -> Status:
    """Status of the upstream. Raises CommandFailed."""
    return msgspec.json.decode(_ask(path, "GET", "/v1/status"), type=Status)


def describe_activation(activated: Activated) -> str:
    """One line for each Product Item of the firm."""
    lines = [
        f"{activated.container}: update {activated.update_id} of the firm {activated.firm_code} activated, "
        f"counter {activated.counter}"
    ]
    for change in activated.changes:
        item = change.item
        quantity = "unlimited" if item.quantity is None else f"quantity {item.quantity}"
        tmr = "without TMR-Id" if item.tmr_id is None else f"TMR-Id {item.tmr_id}"
        lines.append(f"  {change.change}: {item.firm_code}:{item.product_code} {tmr}, {quantity} {item.name}")
    return "\n".join(line.rstrip() for line in lines)


_CLOCK: Final = {
    True: "synchronised with a time source",
    False: "not synchronised with a time source",
    None: "the system does not say whether a time source keeps it",
}


def describe_status(status: Status) -> str:
    """A few lines for people."""
    if status.lease_holder is None:
        lease = "nobody"
    else:
        lease = f"{status.lease_holder} for {status.lease_remaining_ms} ms more"
    if status.voting:
        vote = "votes"
    elif status.membership is None:
        vote = "new: waits to be founded or admitted by the active twin"
    else:
        vote = "does not vote: waits to be brought up to date by the active twin"
    if DEPLOYMENTS[status.deployment].replicas == 1:
        name = f"network     {status.name}, version {status.version}, serves clients of {status.system} alone"
        lease = f"starts      {status.promised}"
    else:
        name = f"upstream    {status.name} of the system {status.system}, version {status.version}, {vote}"
        lease = f"lease       {lease}, epoch {status.promised}"
    lines = [
        name,
        f"container   {status.container}, {status.items} items, generation {status.generation}",
        f"fingerprint {status.fingerprint}",
        lease,
        f"journal     entry {status.last_index}, committed {status.commit}, applied {status.applied}, "
        f"founding {status.founding or 'none yet'}",
        f"store       {status.replica_id}, {status.syncs} transactions, last {status.sync_last_ms:g} ms, "
        f"longest {status.sync_longest_ms:g} ms",
        f"clock       {_CLOCK[status.clock_synchronised]}",
        f"certificate ends {status.certificate_ends or 'at a time that is not known'}",
    ]
    return "\n".join(lines + [f"ALARM       {alarm}" for alarm in status.alarms])
