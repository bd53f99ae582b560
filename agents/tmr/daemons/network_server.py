# SPDX-License-Identifier: Apache-2.0
"""Composition root of a network licence server: one store, which serves clients by itself."""

from tmr.daemons import store_server
from tmr.net.tls import HTTP
from tmr.runtime.clock import boottime, wall_ms
from tmr.standalone.local_command_log import ObservedLedger
from tmr.standalone.network import NetworkServer
from tmr.standalone.network_app import create_app
from tmr.upstream.config import UpstreamConfig


def run(settings: UpstreamConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises StoreError, NoFingerprint, CannotListen where it cannot start."""
    store_server.run(_serve(settings))


async def _serve(settings: UpstreamConfig) -> None:
    store = store_server.open_store(settings)
    durable = store.load()  # nobody else has what damaged rows lost
    store.check_deployment(durable.membership, settings.deployment)
    ledger = ObservedLedger()
    parts = store_server.assemble(settings, store, durable, ledger)
    server = NetworkServer(
        settings.name,
        parts.runner,
        parts.container_store,
        ledger,
        parts.recorder,
        clock=boottime,
        wall_ms=wall_ms,
        fatal=parts.fatal,
    )
    app = create_app(
        server, parts.runner, parts.container_store, parts.metrics, lambda: parts.status(server.alarms())
    )
    await store_server.serve(parts, app, (HTTP,), begin_stop=server.begin_stop)
