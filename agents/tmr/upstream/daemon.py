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
from tmr.quorum.acceptor import Acceptor, Durable
from tmr.quorum.formats import NewerFormat
from tmr.rim import fair_selector, frames, garbage, logs, notify
from tmr.rim.clock import boottime, wall_ms
from tmr.rim.clock_sync import synchronised
from tmr.rim.logs import fields
from tmr.rim.peer_requests import InTurns, PeerRequests
from tmr.rim.room import Room
from tmr.rim.serve import Listener, PeerServer, tcp_listener
from tmr.rim.tls import HTTP, Renewal, server_context
from tmr.upstream import status
from tmr.upstream.app import answerer, create_app
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.fingerprint import machine_fingerprint
from tmr.upstream.guard import OwnContainer
from tmr.upstream.keeper import Keeper
from tmr.upstream.local_kernel import ObservedLedger
from tmr.upstream.metrics import Metrics
from tmr.upstream.network import NetworkServer
from tmr.upstream.network_app import create_app as network_app
from tmr.upstream.node import SLOW_SYNC, Node
from tmr.upstream.recorder import Recorder
from tmr.upstream.space import Space
from tmr.upstream.store import DAMAGED_FILE, DamagedRows, Store, StoreError
from tmr.upstream.twins import Twins
from tmr.upstream.wire import Status

if sys.platform != "win32":
    from tmr.rim.serve import unix_listener

log = logging.getLogger(__name__)


def run(settings: UpstreamConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises StoreError, NoFingerprint, CannotListen where it cannot start."""
    logs.setup()
    os.umask(0o077)
    fair_selector.run(_serve(settings))


def _dying(store: Store) -> Callable[[BaseException], NoReturn]:
    """What ends the process when the store has failed."""

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
    """What the store holds; of three upstreams one whose rows are damaged begins anew, as with a new disk."""
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
    keeper = Keeper.open(
        store, settings.name, settings.act_id, Path(settings.vendors), network=settings.network
    )
    ledger = ObservedLedger() if settings.network else Ledger()
    try:
        acceptor = Acceptor(
            durable,
            ledger,
            boottime(),
            settings.lease_ttl,
            generation=keeper.container.generation,
            guard=None if settings.network else OwnContainer(ledger, settings.name, keeper.container.key),
            container=fingerprint(keeper.container.key),
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
    node = Node(
        acceptor,
        store,
        clock=boottime,
        wall_ms=wall_ms,
        fatal=fatal,
        on_sync=synced,
        synchronised=synchronised,
    )
    twins = Twins(metrics, settings.twins)
    requests = PeerRequests(lambda role: metrics.limited.labels(role).inc())
    room = Room()
    metrics.add(room)
    spoken = (HTTP,) if settings.network else (frames.ALPN, HTTP)
    tls = server_context(settings.tls, room.handshake_failed, spoken)
    listeners = [
        *(tcp_listener(address, settings.listen_port, tls) for address in settings.addresses),
        *_admin_listeners(settings),
    ]

    def started() -> None:
        notify.ready(f"container {keeper.container.serial}")
        log.info(
            "ready",
            extra=fields(
                name=settings.name,
                system=settings.system,
                mode=settings.mode,
                container=keeper.container.serial,
                address=",".join(settings.addresses),
                port=listeners[0].port,
                voting=acceptor.voting,
                promised=acceptor.promised,
                last_index=acceptor.log.last,
            ),
        )

    def read_status() -> Status:
        return status.read(settings.name, settings.system, node, keeper, boottime(), alarms())

    recorder = Recorder(node, store, ledger, keeper, settings.record_days)
    alarms, begin_stop = node.alarms, node.begin_stop
    app: ASGIApp
    if isinstance(ledger, ObservedLedger):
        network = NetworkServer(
            settings.name, node, keeper, ledger, recorder, clock=boottime, wall_ms=wall_ms, fatal=fatal
        )
        app = network_app(network, node, keeper, metrics, read_status)
        alarms, begin_stop = network.alarms, network.begin_stop
    else:
        borrowings = Borrowings(node, keeper, ledger)
        app = InTurns(create_app(node, keeper, borrowings, recorder, metrics, read_status, twins), requests)
    server = PeerServer(
        app,
        listeners,
        settings.system,
        on_started=started,
        on_stopping=begin_stop,
        renewal=Renewal(settings.tls, tls),
        room=room,
        answerer=None if settings.network else answerer(node, twins, metrics, requests),
    )
    space = Space(node, Path(settings.state_dir), settings.disk_reserve)
    space.start()
    garbage.settle()
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
