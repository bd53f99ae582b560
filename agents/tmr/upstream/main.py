"""`tmr-upstream --config FILE`: run the upstream; with a command, talk to the one that runs."""

import argparse
import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.rim import logs, notify
from tmr.rim.clock import boottime, wall_ms
from tmr.rim.config import ConfigError
from tmr.rim.logs import fields
from tmr.rim.serve import CannotListen, Listener, PeerServer, tcp_listener
from tmr.rim.tls import Renewal, server_context
from tmr.upstream import admin, config, status
from tmr.upstream.app import create_app
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.fingerprint import NoFingerprint, machine_fingerprint
from tmr.upstream.keeper import Keeper
from tmr.upstream.metrics import Metrics
from tmr.upstream.node import SLOW_SYNC, Node
from tmr.upstream.store import Store, StoreError

if sys.platform != "win32":
    from tmr.rim.serve import unix_listener

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 refused or failed, 2 it cannot start."""
    options = _parser().parse_args(arguments)
    try:
        if options.command is not None:
            return _command(options)
        logs.setup()
        os.umask(0o077)
        return asyncio.run(_serve(config.read(options.config)))
    except (ConfigError, CannotListen, StoreError, NoFingerprint) as error:
        return _complain(str(error), 2)
    except admin.CommandFailed as error:
        return _complain(str(error), 1)


def _complain(text: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"tmr-upstream: {text}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tmr-upstream", description="One upstream of a TMR system. Without a command: run it."
    )
    parser.add_argument("--config", type=Path, default=config.DEFAULT, help="TOML file (%(default)s)")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    request = commands.add_parser("request", help="print the container's request file for one firm")
    request.add_argument("--firm", type=int, required=True, metavar="FIRMCODE", help="the vendor's Firm Code")
    activate = commands.add_parser("activate", help="activate a vendor's update file")
    activate.add_argument("file", type=Path, metavar="FILE")
    show = commands.add_parser("status", help="show how the upstream is")
    show.add_argument("--json", action="store_true", help="for programs")
    return parser


def _command(options: argparse.Namespace) -> int:
    socket = Path(config.parse(options.config).admin_socket)
    match options.command:
        case "request":
            text = admin.request(socket, options.firm).decode()
        case "activate":
            text = admin.describe_activation(admin.activate(socket, options.file))
        case _:
            found = admin.status(socket)
            text = msgspec.json.encode(found).decode() if options.json else admin.describe_status(found)
    sys.stdout.write(f"{text}\n")
    return 0


def _die(error: BaseException) -> NoReturn:
    """Memory is ahead of the disk: answer nothing more, restart from what is durable."""
    log.critical("the store failed; ending at once", exc_info=error)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(1)


async def _serve(settings: UpstreamConfig) -> int:
    store = Store.open(Path(settings.state_dir), machine_fingerprint())
    keeper = Keeper.open(store, settings.name, settings.act_id, Path(settings.vendors))
    acceptor = Acceptor(
        store.load(), Ledger(), boottime(), settings.lease_ttl, generation=keeper.container.generation
    )
    metrics = Metrics()

    def synced(seconds: float, writes: int) -> None:
        metrics.synced(seconds, writes)
        if seconds > SLOW_SYNC:
            log.warning("slow disk", extra=fields(seconds=f"{seconds:.3f}", writes=writes))

    node = Node(acceptor, store, clock=boottime, wall_ms=wall_ms, fatal=_die, on_sync=synced)
    tls = server_context(settings.tls)
    listeners = [tcp_listener(settings.listen, settings.port, tls), *_admin_listeners(settings)]

    def started() -> None:
        notify.ready(f"container {keeper.container.serial}")
        log.info(
            "ready",
            extra=fields(
                name=settings.name,
                system=settings.system,
                container=keeper.container.serial,
                address=settings.listen,
                port=listeners[0].port,
                voting=acceptor.voting,
                promised=acceptor.promised,
                last_index=acceptor.log.last,
            ),
        )

    server = PeerServer(
        create_app(
            node,
            keeper,
            metrics,
            lambda: status.read(settings.name, settings.system, node, keeper, boottime()),
        ),
        listeners,
        settings.system,
        on_started=started,
        on_stopping=node.begin_stop,
        renewal=Renewal(settings.tls, tls),
    )
    await server.serve()
    log.info("stopped")
    return 0


if sys.platform == "win32":

    def _admin_listeners(settings: UpstreamConfig) -> list[Listener]:
        log.warning("no administration socket on this platform", extra=fields(path=settings.admin_socket))
        return []

else:

    def _admin_listeners(settings: UpstreamConfig) -> list[Listener]:
        return [unix_listener(Path(settings.admin_socket))]


if __name__ == "__main__":
    sys.exit(main())
