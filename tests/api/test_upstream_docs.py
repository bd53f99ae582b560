# SPDX-License-Identifier: Apache-2.0
"""The reference names every route, configuration key, metric and command of the upstream."""

import argparse
import asyncio
from pathlib import Path

import pytest
from starlette.routing import Route

from tmr.daemons import upstream
from tmr.ledger import Ledger
from tmr.net.tls import TlsFiles
from tmr.quorum.acceptor import Acceptor
from tmr.runtime.clock import boottime, wall_ms
from tmr.upstream import status
from tmr.upstream.acceptor_runner import AcceptorRunner
from tmr.upstream.app import create_app
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.container_store import ContainerStore
from tmr.upstream.dispatch import Dispatch
from tmr.upstream.metrics import Metrics
from tmr.upstream.recorder import Recorder
from tmr.upstream.store import Store
from tmr.upstream.twin_policy import TwinCertificatePolicy

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "upstream.md").read_text()


def test_routes_and_metrics_are_documented(tmp_path: Path) -> None:
    store = Store.open(tmp_path, "m")
    container_store = ContainerStore.open(store, "up1", "lab-1", tmp_path)
    ledger = Ledger()
    acceptor = Acceptor(store.load(), ledger, boottime(), 2.0)
    failures: list[BaseException] = []
    runner = AcceptorRunner(acceptor, store, clock=boottime, wall_ms=wall_ms, fatal=failures.append)
    metrics = Metrics()
    twins = TwinCertificatePolicy(metrics)
    recorder = Recorder(runner, store, ledger, container_store, 400)
    app = create_app(
        runner,
        container_store,
        Dispatch(
            runner,
            container_store,
            Borrowings(runner, container_store, ledger),
            recorder,
            metrics,
            twins,
        ),
        recorder,
        metrics,
        lambda: status.read("up1", "lab", runner, container_store, boottime()),
        twins,
    )
    routes = [route for route in app.router.routes if isinstance(route, Route)]
    assert len(routes) > 10
    for route in routes:
        for method in (route.methods or set()) - {"HEAD"}:
            assert f"`{method} {route.path}`" in REFERENCE
    names = [line.split()[2] for line in metrics.text().decode().splitlines() if line.startswith("# TYPE")]
    assert len(names) > 10
    for name in names:
        if not name.endswith("_created"):
            assert f"`{name}" in REFERENCE
    asyncio.run(runner.stop())
    assert failures == []


@pytest.mark.parametrize("key", [k for k in UpstreamConfig.__struct_fields__ if k != "tls"])
def test_keys_are_documented(key: str) -> None:
    assert f"| `{key}` |" in REFERENCE


def test_tls_keys_and_commands_are_documented() -> None:
    for key in TlsFiles.__struct_fields__:
        assert f"`tls.{key}`" in REFERENCE
    (commands,) = [a for a in upstream._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert commands.choices
    for command in commands.choices:
        assert f"tmr-upstream [--config FILE] {command}" in REFERENCE
