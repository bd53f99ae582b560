# SPDX-License-Identifier: Apache-2.0
"""Metrics of the client API, in Prometheus' text format."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tmr.api.deployment import DEPLOYMENTS
from tmr.api.status import HealthState, Status
from tmr.ledger import BatchOutcome, Outcome, each

ROLES = ("active", "candidate", "passive")


class Metrics:
    """Counters that live here, and gauges read from a `Status` at each scrape."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "tmr_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self.commits = Counter("tmr_commits", "Journal entries applied.", registry=self._registry)
        self.commands = Counter(
            "tmr_commands", "Commands carried out; several may share an entry.", registry=self._registry
        )
        self.failovers = Counter(
            "tmr_failovers", "Times that this server became the active one.", registry=self._registry
        )
        self.pauses = Counter(
            "tmr_host_pauses",
            "Terms given up because this machine's clocks had stood still.",
            registry=self._registry,
        )
        self.shed = Counter(
            "tmr_requests_shed",
            "Requests turned away because there was too much to do.",
            ["priority"],
            registry=self._registry,
        )
        self.limited = Counter(
            "tmr_requests_limited",
            "Requests refused because their client exceeded its share.",
            ["reason"],
            registry=self._registry,
        )
        self.in_work = Gauge(
            "tmr_requests_in_work",
            "Requests that are not answered yet.",
            ["priority"],
            registry=self._registry,
        )
        self.waiting = Gauge("tmr_commands_waiting", "Commands not committed yet.", registry=self._registry)
        self.lag = Gauge(
            "tmr_loop_lag_seconds", "How late the server was at the last request.", registry=self._registry
        )

    def add(self, collector: Collector) -> None:
        """Show what `collector` collects, too."""
        self._registry.register(collector)

    def applied(self, outcome: Outcome | BatchOutcome | None) -> None:
        """Count an entry; None: it was one of the quorum's own."""
        self.commits.inc()
        if outcome is not None:
            self.commands.inc(len(each(outcome)))

    def text(self, status: Status) -> bytes:
        """The whole document."""
        return generate_latest(self._registry) + generate_latest(_registry_of(status))


class _Gauges(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """The gauges of one status."""
        status = self._status
        role = GaugeMetricFamily("tmr_role", "1 for the role that this server has.", labels=["role"])
        for name in ROLES:
            role.add_metric([name], float(status.role == name))
        yield role
        health = GaugeMetricFamily(
            "tmr_health", "1 for the health of the system, as this server knows it.", labels=["state"]
        )
        for state in HealthState:
            health.add_metric([state], float(status.health.state is state))
        yield health
        yield GaugeMetricFamily(
            "tmr_epoch", "Own term if active, else the last one seen.", value=status.epoch
        )
        yield GaugeMetricFamily(
            "tmr_lease_seconds",
            "Seconds until the lease ends unless it is renewed; 0: none.",
            value=(status.lease_remaining_ms or 0) / 1000,
        )
        yield GaugeMetricFamily("tmr_sessions", "Sessions held.", value=status.sessions)
        yield GaugeMetricFamily("tmr_commit_index", "Last committed journal index.", value=status.commit)
        yield GaugeMetricFamily(
            "tmr_time_in_doubt",
            "1 while certified time does not follow the clocks.",
            value=float(status.time_in_doubt is not None),
        )
        yield GaugeMetricFamily(
            "tmr_alarms", "Alarms in the status; none if and only if it is healthy.", value=len(status.alarms)
        )
        yield from self._licences()
        if DEPLOYMENTS[status.deployment].replicas > 1:  # a server without replicas tells it as an upstream
            yield from self._upstreams()

    def _licences(self) -> Iterable[Metric]:
        names = ["firm_code", "product_code", "tmr_id", "reference"]
        used = GaugeMetricFamily("tmr_seats_in_use", "Seats taken.", labels=names)
        seats = GaugeMetricFamily("tmr_seats", "License Quantity; +Inf: unlimited.", labels=names)
        votes = GaugeMetricFamily(
            "tmr_licence_votes",
            "Available, identical constituents; two are needed, one on a network licence server.",
            labels=names,
        )
        borrowed = GaugeMetricFamily("tmr_seats_borrowed", "Seats out of the network.", labels=names)
        waiting = GaugeMetricFamily(
            "tmr_waiting", "Requests that wait for a seat of the licence's product.", labels=names
        )
        units = GaugeMetricFamily("tmr_units_remaining", "Units that are left.", labels=names)
        emergency = GaugeMetricFamily(
            "tmr_emergency_in_use", "Seats taken of an emergency licence.", labels=names
        )
        for licence in self._status.licences:
            labels = [
                str(licence.firm_code),
                str(licence.product_code),
                "" if licence.tmr_id is None else str(licence.tmr_id),
                str(licence.reference),
            ]
            borrowed.add_metric(labels, licence.borrowed)
            waiting.add_metric(labels, licence.waiting)
            if licence.units_remaining is not None:
                units.add_metric(labels, licence.units_remaining)
            if licence.emergency:
                emergency.add_metric(labels, licence.in_use)
            used.add_metric(labels, licence.in_use)
            seats.add_metric(labels, float("inf") if licence.quantity is None else licence.quantity)
            votes.add_metric(labels, licence.votes)
        return used, seats, votes, borrowed, waiting, units, emergency

    def _upstreams(self) -> Iterable[Metric]:
        reachable = GaugeMetricFamily("tmr_upstream_reachable", "1 if it answers.", labels=["upstream"])
        voting = GaugeMetricFamily("tmr_upstream_voting", "1 if it votes.", labels=["upstream"])
        lag = GaugeMetricFamily("tmr_upstream_lag", "Journal entries that it is behind.", labels=["upstream"])
        clock = GaugeMetricFamily(
            "tmr_upstream_clock_synchronised", "1 if a time source keeps its clock.", labels=["upstream"]
        )
        for upstream in self._status.upstreams:
            reachable.add_metric([upstream.name], float(upstream.reachable))
            voting.add_metric([upstream.name], float(upstream.voting))
            if upstream.lag is not None:
                lag.add_metric([upstream.name], upstream.lag)
            if upstream.clock_synchronised is not None:
                clock.add_metric([upstream.name], float(upstream.clock_synchronised))
        return reachable, voting, lag, clock


def _registry_of(status: Status) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Gauges(status))
    return registry
