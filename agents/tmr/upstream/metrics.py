# SPDX-License-Identifier: Apache-2.0
"""Metrics of an upstream, in Prometheus' text format."""

import math
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tmr.upstream.admin_messages import Status

_SYNC_BUCKETS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters that live here, and gauges read from a `Status` at each scrape."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.messages = Counter(
            "tmr_upstream_messages", "Messages answered.", ["message", "reply"], registry=self._registry
        )
        self.refused = Counter(
            "tmr_upstream_refused", "Requests refused for the peer's role.", ["role"], registry=self._registry
        )
        self.limited = Counter(
            "tmr_upstream_limited",
            "Requests refused because their peer had too many under way.",
            ["role"],
            registry=self._registry,
        )
        self.misplaced = Counter(
            "tmr_upstream_misplaced",
            "Requests with a twin's certificate from an address that is not the twin's.",
            registry=self._registry,
        )
        self.activations = Counter(
            "tmr_upstream_activations",
            "Updates carried out or refused.",
            ["outcome"],
            registry=self._registry,
        )
        self._sync = Histogram(
            "tmr_upstream_sync_seconds",
            "Time to make one batch durable.",
            buckets=_SYNC_BUCKETS,
            registry=self._registry,
        )
        self._batch = Histogram(
            "tmr_upstream_batch_writes",
            "Writes made durable by one transaction.",
            buckets=_BATCH_BUCKETS,
            registry=self._registry,
        )

    def synced(self, seconds: float, writes: int) -> None:
        """A batch of `writes` took `seconds`."""
        self._sync.observe(seconds)
        self._batch.observe(writes)

    def add(self, collector: Collector) -> None:
        """Show what `collector` collects, too."""
        self._registry.register(collector)

    def show(self, read: Callable[[], Status]) -> None:
        """Show the gauges of what `read` returns."""
        self._registry.register(_Gauges(read))

    def text(self) -> bytes:
        """The whole document."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    def __init__(self, read: Callable[[], Status]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """The gauges of now."""
        status = self._read()
        for name, text, value in (
            ("voting", "1 while this upstream votes.", float(status.voting)),
            ("promised_epoch", "Highest epoch promised.", status.promised),
            ("journal_index", "Index of the last journal entry.", status.last_index),
            ("commit_index", "Index of the last committed entry known.", status.commit),
            (
                "lease_seconds",
                "Seconds until the granted lease ends; 0: none.",
                (status.lease_remaining_ms or 0) / 1000,
            ),
            ("container_generation", "Changes of the container.", status.generation),
            ("container_items", "Product Items in the container.", status.items),
            ("alarms", "Alarms raised now.", len(status.alarms)),
            (
                "clock_synchronised",
                "1 while a time source keeps the machine's clock; NaN: not known.",
                math.nan if status.clock_synchronised is None else float(status.clock_synchronised),
            ),
            (
                "disk_free_bytes",
                "Left on the disk of the store; NaN: not known.",
                math.nan if status.free_bytes is None else status.free_bytes,
            ),
        ):
            yield GaugeMetricFamily(f"tmr_upstream_{name}", text, value=value)
