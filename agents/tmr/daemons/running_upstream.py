"""The running upstream: everything put together, from the store to the listening sockets."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from starlette.types import ASGIApp

from tmr.ledger import Ledger
from tmr.licensing import fingerprint
from tmr.net import fair_selector, framing
from tmr.net.connection_limits import ConnectionLimiter
from tmr.net.peer_requests import InTurns, PeerRequests
from tmr.net.server import Listener, PeerServer, tcp_listener
from tmr.net.tls import HTTP, Renewal, server_context
from tmr.quorum.acceptor import Acceptor
from tmr.quorum.durable import Durable
from tmr.quorum.formats import NewerFormat
from tmr.runtime import gc_tuning, logs, systemd
from tmr.runtime.clock import boottime, wall_ms
from tmr.runtime.clock_sync import synchronised
from tmr.runtime.logs import fields
from tmr.standalone.local_command_log import ObservedLedger
from tmr.standalone.network import NetworkServer
from tmr.standalone.network_app import create_app as network_app
from tmr.upstream import status
from tmr.upstream.acceptor_runner import SLOW_SYNC, AcceptorRunner
from tmr.upstream.admin_messages import Status
from tmr.upstream.app import answerer, create_app
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.disk_monitor import DiskMonitor
from tmr.upstream.fingerprint import machine_fingerprint
from tmr.upstream.metrics import Metrics
from tmr.upstream.own_container import OwnContainerValidator
from tmr.upstream.recorder import Recorder
from tmr.upstream.store import DAMAGED_FILE, DamagedRows, Store, StoreError
from tmr.upstream.twin_policy import TwinCertificatePolicy

if sys.platform != "win32":
    from tmr.net.server import unix_listener

log = logging.getLogger(__name__)


def run(settings: UpstreamConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises StoreError, NoFingerprint, CannotListen where it cannot start."""
    logs.setup()
    os.umask(0o077)
    fair_selector.run(_serve(settings))


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


def _load(store: Store, settings: UpstreamConfig) -> Durable:
    """Contents of the store; an upstream of three whose rows are damaged begins anew, as with a new disk."""
    try:
        return store.load()
    except DamagedRows as error:
        if settings.network:
            raise
        disk = store.renew(error.what)
        log.critical("the store is damaged", extra=fields(what=error.what, disk=disk, kept=DAMAGED_FILE))
        return store.load()


async def _serve(settings: UpstreamConfig) -> None:
    store = Store.open(Path(settings.state_dir), machine_fingerprint())
    durable = _load(store, settings)
    store.check_mode(durable.membership, network=settings.network)
    if not settings.network:
        store.check_owner(settings.name)
    fatal = _dying(store)
    container_store = ContainerStore.open(
        store, settings.name, settings.act_id, Path(settings.vendors), network=settings.network
    )
    ledger = ObservedLedger() if settings.network else Ledger()
    try:
        acceptor = Acceptor(
            durable,
            ledger,
            boottime(),
            settings.lease_ttl,
            generation=container_store.container.generation,
            validator=None
            if settings.network
            else OwnContainerValidator(ledger, settings.name, container_store.container.key),
            container=fingerprint(container_store.container.key),
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
    twins = TwinCertificatePolicy(metrics, settings.twins)
    requests = PeerRequests(lambda role: metrics.limited.labels(role).inc())
    room = ConnectionLimiter()
    metrics.add(room)
    spoken = (HTTP,) if settings.network else (framing.ALPN, HTTP)
    tls = server_context(settings.tls, room.handshake_failed, spoken)
    listeners = [
        *(tcp_listener(address, settings.listen_port, tls) for address in settings.addresses),
        *_admin_listeners(settings),
    ]

    def started() -> None:
        systemd.ready(f"container {container_store.container.serial}")
        log.info(
            "ready",
            extra=fields(
                name=settings.name,
                system=settings.system,
                mode=settings.mode,
                container=container_store.container.serial,
                address=",".join(settings.addresses),
                port=listeners[0].port,
                voting=acceptor.voting,
                promised=acceptor.promised,
                last_index=acceptor.log.last,
            ),
        )

    def read_status() -> Status:
        return status.read(settings.name, settings.system, runner, container_store, boottime(), alarms())

    recorder = Recorder(runner, store, ledger, container_store, settings.record_days)
    alarms, begin_stop = runner.alarms, runner.begin_stop
    app: ASGIApp
    if isinstance(ledger, ObservedLedger):
        network = NetworkServer(
            settings.name,
            runner,
            container_store,
            ledger,
            recorder,
            clock=boottime,
            wall_ms=wall_ms,
            fatal=fatal,
        )
        app = network_app(network, runner, container_store, metrics, read_status)
        alarms, begin_stop = network.alarms, network.begin_stop
    else:
        borrowings = Borrowings(runner, container_store, ledger)
        app = InTurns(
            create_app(runner, container_store, borrowings, recorder, metrics, read_status, twins), requests
        )
    server = PeerServer(
        app,
        listeners,
        settings.system,
        on_started=started,
        on_stopping=begin_stop,
        renewal=Renewal(settings.tls, tls),
        room=room,
        answerer=None if settings.network else answerer(runner, twins, metrics, requests),
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
