# SPDX-License-Identifier: Apache-2.0
"""`accept.py PORT`, run on a twin: takes every TCP connection, and closes it. There is nothing behind it."""

from __future__ import annotations

import socket
import sys


def main() -> None:
    with socket.create_server(("0.0.0.0", int(sys.argv[1])), backlog=1024) as listener:  # noqa: S104
        while True:
            connection, _ = listener.accept()
            connection.close()


if __name__ == "__main__":
    main()
