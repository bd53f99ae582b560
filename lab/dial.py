# SPDX-License-Identifier: Apache-2.0
"""ProxyCommand of ssh: connect from inside a network namespace, hand the socket to ssh, and leave.

    dial.py NAMESPACE HOST PORT

Run with ProxyUseFdpass, so that no process stands between ssh and the machine afterwards (ssh_config(5)).
Imports nothing of the package: it starts for every connection.
"""

import array
import ctypes
import os
import socket
import sys

_CLONE_NEWNET = 0x40000000
_TIMEOUT_S = 10.0


def main() -> None:
    namespace, host, port = sys.argv[1:4]
    try:
        descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    except OSError as error:
        sys.exit(f"lab: network namespace {namespace}: {error.strerror}: is the lab up, and are you root?")
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        sys.exit(f"lab: network namespace {namespace}: {os.strerror(ctypes.get_errno())}: run as root")
    try:
        connection = socket.create_connection((host, int(port)), _TIMEOUT_S)
    except OSError as error:
        sys.exit(f"lab: {host} port {port}: {error}")
    connection.settimeout(None)
    ssh = socket.socket(fileno=sys.stdout.fileno())
    ssh.sendmsg(
        [b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [connection.fileno()]).tobytes())]
    )


if __name__ == "__main__":
    main()
