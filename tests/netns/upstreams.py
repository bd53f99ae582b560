# SPDX-License-Identifier: Apache-2.0
"""A small TLS server that receives lease releases, and looks on arrival whether the VIP is still up."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from tests.netns.world import Namespace


class Will:
    """One POST as it arrived."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes, sender: str, vip_up: bool) -> None:
        self.path, self.headers, self.body, self.sender, self.vip_up = path, headers, body, sender, vip_up


class Upstream:
    """Listens in `space` at `address`; answers will number n with `statuses[n]`, or the last of them."""

    def __init__(
        self,
        space: Namespace,
        address: str,
        certificate: str,
        key: str,
        ca: str,
        vip_up: Callable[[], bool],
        statuses: tuple[int, ...] = (200,),
    ) -> None:
        self.releases: list[Will] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
        releases = self.releases

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_POST(self) -> None:
                up = vip_up()
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert isinstance(self.connection, ssl.SSLSocket)
                peer: Any = self.connection.getpeercert()
                names = [value for kind, value in peer["subjectAltName"] if kind == "URI"]
                status = statuses[min(len(releases), len(statuses) - 1)]
                releases.append(Will(self.path, dict(self.headers), body, str(names[0]), up))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                return

        def listen() -> socket.socket:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, 0))
            sock.listen()
            return sock

        listener = space.inside(listen)
        self.target = f"{address}:{listener.getsockname()[1]}"
        self._server = HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = context.wrap_socket(listener, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
