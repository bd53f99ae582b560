# SPDX-License-Identifier: Apache-2.0
"""A process that commands tmr-vip: standard input to the Unix socket, and the socket to standard output.

Run as `python commander.py SOCKET [UID]`, so that a test can kill or freeze it as it would tmr-server.
"""

import os
import socket
import sys
import threading


def main() -> None:
    if len(sys.argv) > 2:
        os.setgroups([])
        os.setresuid(*[int(sys.argv[2])] * 3)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(sys.argv[1])

    def upward() -> None:
        while data := os.read(0, 65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    threading.Thread(target=upward, daemon=True).start()
    while data := connection.recv(65536):
        os.write(1, data)


if __name__ == "__main__":
    main()
