"""The reference names every route, configuration key, metric and command of the upstream."""

import argparse
import asyncio
from pathlib import Path

import pytest
from starlette.routing import Route

from tmr.ledger import Ledger
from tmr.quorum.acceptor import Acceptor
from tmr.rim.clock import boottime, wall_ms
from tmr.rim.tls import TlsFiles
from tmr.upstream import main, status
from tmr.upstream.app import create_app
from tmr.upstream.borrowings import Borrowings
from tmr.upstream.config import UpstreamConfig
from tmr.upstream.keeper import Keeper
from tmr.upstream.metrics import Metrics
from tmr.upstream.node import Node
from tmr.upstream.recorder import Recorder
from tmr.upstream.store import Store
from tmr.upstream.twins import Twins

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "upstream.md").read_text()


def test_routes_and_metrics_are_documented(tmp_path: Path) -> None:
    store = Store.open(tmp_path, "m")
    keeper = Keeper.open(store, "up1", "lab-1", tmp_path)
    ledger = Ledger()
    acceptor = Acceptor(store.load(), ledger, boottime(), 2.0)
    failures: list[BaseException] = []
    node = Node(acceptor, store, clock=boottime, wall_ms=wall_ms, fatal=failures.append)
    metrics = Metrics()
    recorder = Recorder(node, store, ledger, keeper, 400)
    app = create_app(
        node,
        keeper,
        Borrowings(node, keeper, ledger),
        recorder,
        metrics,
        lambda: status.read("up1", "lab", node, keeper, boottime()),
        Twins(metrics),
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
    asyncio.run(node.stop())
    assert failures == []


@pytest.mark.parametrize("key", [k for k in UpstreamConfig.__struct_fields__ if k != "tls"])
def test_keys_are_documented(key: str) -> None:
    assert f"| `{key}` |" in REFERENCE


def test_tls_keys_and_commands_are_documented() -> None:
    for key in TlsFiles.__struct_fields__:
        assert f"`tls.{key}`" in REFERENCE
    (commands,) = [a for a in main._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert commands.choices
    for command in commands.choices:
        assert f"tmr-upstream [--config FILE] {command}" in REFERENCE
