# SPDX-License-Identifier: Apache-2.0
"""Common parts of the daemons that keep a store: what stands around the store, and the sockets.

A composition root (`upstream_replica`, `network_server`) opens the store, decides what its kind of server
makes of it, and calls `serve` with the application.
"""

import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from starlette.types import ASGIApp

from tmr.ledger import Ledger
from tmr.licensing import fingerprint
from tmr.net import fair_selector
from tmr.net.connection_limits import ConnectionLimiter
from tmr.net.frame_server import Answerer
from tmr.net.renewal import Renewal
from tmr.net.server import Listener, PeerServer, tcp_listeners
from tmr.net.tls import server_context
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.entries import WriteValidator
from tmr.quorum.formats import NewerFormat
from tmr.runtime import gc_tuning, logs, systemd
from tmr.runtime.clock import boottime, wall_ms
from tmr.runtime.clock_sync import synchronised
from tmr.runtime.logs import fields
from tmr.upstream import status
from tmr.upstream.acceptor_runner import SLOW_SYNC, AcceptorRunner
from tmr.upstream.admin_messages import Status
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.disk_monitor import DiskMonitor
from tmr.upstream.fingerprint import machine_fingerprint
from tmr.upstream.metrics import Metrics
from tmr.upstream.recorder import Recorder
from tmr.upstream.store import Store
from tmr.upstream.store_errors import StoreError

if sys.platform != "win32":
    from tmr.net.server import unix_listener

log = logging.getLogger(__name__)


class StoreServer(NamedTuple):
    """Parts of a server with a store."""

    settings: UpstreamConfig
    store: Store
    container_store: ContainerStore
    runner: AcceptorRunner
    recorder: Recorder
    metrics: Metrics
    fatal: Callable[[BaseException], None]

    def status(self, alarms: Sequence[str]) -> Status:
        """The server as it is now, for its administration socket."""
        settings = self.settings
        return status.read(
            settings.name, settings.system, self.runner, self.container_store, boottime(), alarms
        )


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Run a composition root until SIGTERM or SIGINT."""
    logs.setup()
    os.umask(0o077)
    fair_selector.run(serving)


def open_store(settings: UpstreamConfig) -> Store:
    """The store of this machine. Raises StoreError, NoFingerprint."""
    return Store.open(Path(settings.state_dir), machine_fingerprint())


def _dying(store: Store) -> Callable[[BaseException], NoReturn]:
    """Ends the process when the store has failed."""

    def die(error: BaseException) -> NoReturn:
        store.suspect(error)
        _die(error)

    return die


def _die(error: BaseException) -> NoReturn:
    """Memory is ahead of the disk: answer nothing more, restart from what is durable."""
    log.critical("the store failed; ending at once", exc_info=error)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(1)


def assemble(
    settings: UpstreamConfig,
    store: Store,
    durable: Durable,
    ledger: Ledger,
    validator: Callable[[ContainerStore], WriteValidator] | None = None,
) -> StoreServer:
    """The parts around an open store, with what it has loaded. Raises StoreError.

    `validator`: makes what objects to writes that are not of the own container.
    """
    fatal = _dying(store)
    container_store = ContainerStore.open(
        store, settings.name, settings.act_id, Path(settings.vendors), deployment=settings.deployment
    )
    container = container_store.container
    try:
        acceptor = Acceptor(
            durable,
            ledger,
            boottime(),
            settings.lease_ttl,
            generation=container.generation,
            validator=None if validator is None else validator(container_store),
            container=fingerprint(container.key),
        )
    except NewerFormat as error:
        raise StoreError(f"{store.path}: {error}") from None
    except Exception as error:
        log.critical("the journal cannot be replayed", exc_info=error)
        raise store.damaged(f"its journal cannot be replayed: {error}") from None
    metrics = Metrics()

    def synced(seconds: float, writes: int) -> None:
        metrics.synced(seconds, writes)
        if seconds > SLOW_SYNC:
            log.warning("slow disk", extra=fields(seconds=f"{seconds:.3f}", writes=writes))

    acceptor.clock_sync = settings.clock_sync
    runner = AcceptorRunner(
        acceptor,
        store,
        clock=boottime,
        wall_ms=wall_ms,
        fatal=fatal,
        on_sync=synced,
        synchronised=synchronised,
    )
    recorder = Recorder(runner, store, ledger, container_store, settings.record_days)
    return StoreServer(settings, store, container_store, runner, recorder, metrics, fatal)


async def serve(
    parts: StoreServer,
    app: ASGIApp,
    protocols: Sequence[str],
    *,
    begin_stop: Callable[[], None],
    answerer: Answerer | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. `protocols`: spoken over TLS (ALPN). Raises CannotListen."""
    settings, runner = parts.settings, parts.runner
    room = ConnectionLimiter()
    parts.metrics.add(room)
    tls = server_context(settings.tls, room.handshake_failed, protocols)
    renewal = Renewal(settings.tls, tls, on_checked=runner.certificates_checked)
    parts.metrics.add(renewal)
    listeners = [
        *tcp_listeners(settings.addresses, settings.listen_port, tls),
        *_admin_listeners(settings),
    ]

    def started() -> None:
        acceptor, serial = runner.acceptor, parts.container_store.container.serial
        systemd.ready(f"container {serial}")
        log.info(
            "ready",
            extra=fields(
                name=settings.name,
                system=settings.system,
                mode=settings.mode,
                container=serial,
                address=",".join(settings.addresses),
                port=listeners[0].port,
                voting=acceptor.voting,
                promised=acceptor.promised,
                last_index=acceptor.log.last,
            ),
        )

    server = PeerServer(
        app,
        listeners,
        settings.system,
        on_started=started,
        on_stopping=begin_stop,
        renewal=renewal,
        room=room,
        answerer=answerer,
    )
    space = DiskMonitor(runner, Path(settings.state_dir), settings.disk_reserve)
    space.start()
    gc_tuning.settle()
    try:
        await server.serve()
    finally:
        await space.stop()
    log.info("stopped")


if sys.platform == "win32":

    def _admin_listeners(settings: UpstreamConfig) -> list[Listener]:
        log.warning("no administration socket on this platform", extra=fields(path=settings.admin_socket))
        return []

else:

    def _admin_listeners(settings: UpstreamConfig) -> list[Listener]:
        return [unix_listener(Path(settings.admin_socket))]
