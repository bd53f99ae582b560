# SPDX-License-Identifier: Apache-2.0
"""Composition root of an upstream: one of the three replicas of a TMR system, which twins ask."""

import logging

from tmr.daemons import store_server
from tmr.ledger import Ledger
from tmr.net import framing
from tmr.net.peer_requests import InTurns, PeerRequests
from tmr.net.tls import HTTP
from tmr.quorum.durable import Durable
from tmr.runtime.logs import fields
from tmr.upstream.app import create_app
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.dispatch import Dispatch
from tmr.upstream.own_container import OwnContainerValidator
from tmr.upstream.store import Store
from tmr.upstream.store_errors import DamagedRows
from tmr.upstream.store_schema import DAMAGED_FILE
from tmr.upstream.twin_policy import TwinCertificatePolicy

log = logging.getLogger(__name__)


def run(settings: UpstreamConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises StoreError, NoFingerprint, CannotListen where it cannot start."""
    store_server.run(_serve(settings))


def _load(store: Store) -> Durable:
    """Contents of the store. Where rows are damaged it begins anew, as with a new disk."""
    try:
        return store.load()
    except DamagedRows as error:
        replica_id = store.renew(error.what)
        log.critical(
            "the store is damaged", extra=fields(what=error.what, replica_id=replica_id, kept=DAMAGED_FILE)
        )
        return store.load()


async def _serve(settings: UpstreamConfig) -> None:
    store = store_server.open_store(settings)
    durable = _load(store)
    store.check_deployment(durable.membership, settings.deployment)
    store.check_owner(settings.name)
    ledger = Ledger(settings.deployment)

    def validator(container_store: ContainerStore) -> OwnContainerValidator:
        return OwnContainerValidator(ledger, settings.name, container_store.container.key)

    parts = store_server.assemble(settings, store, durable, ledger, validator)
    runner, metrics = parts.runner, parts.metrics
    twins = TwinCertificatePolicy(metrics, settings.twins)
    requests = PeerRequests(lambda role: metrics.limited.labels(role).inc())
    borrowings = Borrowings(runner, parts.container_store, ledger)
    dispatch = Dispatch(runner, parts.container_store, borrowings, parts.recorder, metrics, twins)
    app = create_app(
        runner,
        parts.container_store,
        dispatch,
        parts.recorder,
        metrics,
        lambda: parts.status(runner.alarms()),
        twins,
    )
    await store_server.serve(
        parts,
        InTurns(app, requests),
        (framing.ALPN, HTTP),
        begin_stop=runner.begin_stop,
        answerer=dispatch.answerer(requests),
    )
