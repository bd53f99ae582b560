# SPDX-License-Identifier: Apache-2.0
"""Composition root of `tmr-server --config /etc/tmr/server.toml`, the server of one twin."""

import argparse
import asyncio
import logging
import sys
from importlib.metadata import version
from pathlib import Path

from tmr.net.certificate_expiry import CertificateState
from tmr.net.connection_limits import ConnectionLimiter
from tmr.net.fair_selector import run
from tmr.net.renewal import Renewal
from tmr.net.server import CannotListen, PeerServer, tcp_listeners
from tmr.net.tls import server_context
from tmr.rpc.upstream_client import UpstreamLink, contexts
from tmr.runtime import gc_tuning, logs, running, systemd
from tmr.runtime.clock import boottime, wall_ms
from tmr.runtime.config import ConfigError
from tmr.runtime.logs import fields
from tmr.twin import config as configuration
from tmr.twin.accept_loss import accept
from tmr.twin.config import ServerConfig
from tmr.twin.http_app import create_app
from tmr.twin.twin_app import TwinApp

log = logging.getLogger(__name__)

KNOWN_PATIENCE = 3.0
"""Seconds that readiness waits for the upstreams: a twin without them is up all the same, and says why."""


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM. Exit status: 0 after an orderly stop, 1 internal error, 2 it cannot start."""
    parser = argparse.ArgumentParser(prog="tmr-server", description="The TMR agent of one twin.")
    parser.add_argument("--version", action="version", version=f"tmr-server {version('tmr')}")
    parser.add_argument("--config", type=Path, default=Path("/etc/tmr/server.toml"), help="TOML file")
    parser.add_argument(
        "--accept-loss",
        metavar="ID",
        help="give up what the alarm with this ID says is lost, and end; tmr-server must be stopped",
    )
    options = parser.parse_args(arguments)
    logs.setup()
    if options.accept_loss is None:
        running.describe(options.config)
    try:
        config = configuration.read(options.config)
        if options.accept_loss is not None:
            return accept(config.state_dir, options.accept_loss)
        return run(_serve(config))
    except (ConfigError, CannotListen) as error:
        logs.complain("tmr-server", str(error))
        return 2


async def _serve(config: ServerConfig) -> int:
    failures: list[BaseException] = []

    def fatal(error: BaseException) -> None:
        failures.append(error)
        log.critical("internal error", exc_info=error)
        server.should_exit = True
        server.stop()

    to_upstreams = contexts(config.tls, config.system)
    links = [
        UpstreamLink(
            upstream.name,
            upstream.address,
            upstream.port,
            to_upstreams,
            config.lease_ttl,
            config.source_for(upstream.address),
        )
        for upstream in config.upstreams
    ]
    agent = TwinApp(config, links, clock=boottime, wall_ms=wall_ms, fatal=fatal)
    room = ConnectionLimiter()
    agent.metrics.add(room)
    to_clients = server_context(config.tls, room.handshake_failed)

    def certificates_checked(state: CertificateState) -> None:
        agent.certificates = state

    renewal = Renewal(config.tls, to_clients, *to_upstreams, on_checked=certificates_checked)
    agent.metrics.add(renewal)
    ready: list[asyncio.Task[None]] = []

    async def become_ready() -> None:
        await agent.known(KNOWN_PATIENCE)
        systemd.ready(f"{agent.role()}")
        log.info("ready", extra=fields(name=config.name, system=config.system))

    renewing: list[asyncio.Task[None]] = []

    async def renew() -> None:
        for link in links:
            await link.renew()
        renewing[:-1] = []

    server = PeerServer(
        create_app(agent),
        tcp_listeners(config.listen, config.port, to_clients),
        config.system,
        on_started=lambda: ready.append(asyncio.get_running_loop().create_task(become_ready())),
        on_stopping=agent.begin_stop,
        healthy=lambda: agent.replicator.alive,
        renewal=renewal,
        on_renewed=lambda: renewing.append(asyncio.get_running_loop().create_task(renew())),
        room=room,
    )
    gc_tuning.settle()
    await server.serve()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
