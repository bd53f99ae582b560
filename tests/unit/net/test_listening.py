# SPDX-License-Identifier: Apache-2.0
"""Listening on a machine whose kernel has no IPv6, played by a process that may open no such socket."""

import subprocess
import sys

SCRIPT = """
import errno, socket, ssl
made = socket.socket.__init__
def without(self, family=-1, *rest, **more):
    if family == socket.AF_INET6:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
    made(self, family, *rest, **more)
socket.socket.__init__ = without
from tmr.net.server import CannotListen, tcp_listeners
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
print(*[one.sock.getsockname()[0] for one in tcp_listeners(("0.0.0.0", "::"), 0, tls)])
for addresses in (("::",), ("127.0.0.1", "fd00::1")):
    try:
        tcp_listeners(addresses, 0, tls)
    except CannotListen as error:
        print(error)
"""


def test_a_kernel_without_ipv6_has_the_other_addresses_and_names_one_that_is_meant() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "0.0.0.0",  # noqa: S104
        "cannot listen on :: port 0: Address family not supported by protocol",
        "cannot listen on fd00::1 port 0: Address family not supported by protocol",
    ]
