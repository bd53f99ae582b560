# SPDX-License-Identifier: Apache-2.0
"""Health of a system: the one definition that status, page, metrics, alarms and the `tmr` command share.

- healthy: licences are served; all upstreams vote, both twins could serve, every licence has its
  constituents, and no alarm stands.
- degraded: licences are served, and something of that is missing.
- down: licences are not served.

So a system is healthy if and only if it has no alarm. Pure: the facts are passed in.
"""

from collections.abc import Iterator

import msgspec

from tmr.api.licences import LicenceState
from tmr.api.status import Health, HealthReason, HealthState, LicenceStatus, UpstreamStatus
from tmr.licensing.redundancy import MAJORITY


class TakeOver(msgspec.Struct, frozen=True):
    """Readiness of the other twin to take over, as two upstreams tell."""

    name: str
    heard: bool
    hindrance: str = ""
    """Reason why it is not ready, for people; empty: it is, if it is heard."""


class HealthFacts(msgspec.Struct, frozen=True):
    """Facts of one server's status."""

    name: str
    """Of the server that knows them."""
    serves: bool
    """Licences are served now: by this server, or by the twin that holds the lease as two upstreams tell."""
    upstreams: tuple[UpstreamStatus, ...]
    licences: tuple[LicenceStatus, ...]
    alarms: tuple[str, ...]
    """Further alarms for an operator, each a sentence."""
    other: TakeOver | None = None
    """None: a network licence server, which is alone."""

    @property
    def counting(self) -> tuple[str, ...]:
        """Names of the upstreams that answer and vote."""
        return tuple(one.name for one in self.upstreams if one.reachable and one.voting)

    @property
    def majority(self) -> bool:
        """Enough upstreams count for a lease, and for what is told of the other twin."""
        return self.other is None or len(self.counting) >= MAJORITY


def health(facts: HealthFacts) -> Health:
    """Health that follows from the facts, with its reasons."""
    found = [*_not_served(facts), *_other_twin(facts), *_upstreams(facts), *_licences(facts)]
    found += [HealthReason(machine=facts.name, what=alarm) for alarm in facts.alarms]
    serving = HealthState.DEGRADED if found else HealthState.HEALTHY
    state = serving if facts.serves else HealthState.DOWN
    return Health(state=state, reasons=tuple(dict.fromkeys(found)))


def alarms(health: Health) -> tuple[str, ...]:
    """The reasons in words."""
    return tuple(reason.text for reason in health.reasons)


def _not_served(facts: HealthFacts) -> Iterator[HealthReason]:
    if facts.serves:
        return
    if facts.other is None:
        yield HealthReason(
            machine=facts.name,
            what=f"{facts.name} does not serve: it is starting, or its store failed",
            remedy="if this stays, look why: journalctl -u tmr-upstream",
        )
    elif not facts.majority:
        away = [one.name for one in facts.upstreams if one.name not in facts.counting]
        yield HealthReason(
            machine=facts.name,
            what=f"no twin serves, as far as {facts.name} knows: {len(facts.counting)} of "
            f"{len(facts.upstreams)} upstreams count ({', '.join(facts.counting) or 'none'}), "
            f"{MAJORITY} are needed",
            remedy=f"bring {' or '.join(away)} back",
        )
    else:
        yield HealthReason(
            machine=facts.name,
            what="no twin serves now",
            remedy="an election takes seconds; if this stays, look at the alarms of both twins",
        )


def _other_twin(facts: HealthFacts) -> Iterator[HealthReason]:
    other = facts.other
    if other is None or not facts.majority or (other.heard and not other.hindrance):
        return
    if other.heard:
        yield HealthReason(
            machine=other.name,
            what=f"{other.name} is not ready to serve: {other.hindrance}",
            remedy=f"look at the alarms of {other.name}",
        )
    else:
        yield HealthReason(
            machine=other.name,
            what=f"{other.name} is not heard by two upstreams: nobody could take over",
            remedy=f"start {other.name} and its tmr-server, or look at its back network",
        )


def _upstreams(facts: HealthFacts) -> Iterator[HealthReason]:
    for one in facts.upstreams:
        if not one.reachable:
            why = f": {one.last_error}" if one.last_error else ""
            yield HealthReason(
                machine=one.name,
                what=f"{one.name} does not answer{why}",
                remedy="start it, or look at its back network",
            )
        elif not one.voting:
            yield HealthReason(
                machine=one.name,
                what=f"{one.name} does not vote: it is catching up, or excluded",
                remedy="if this stays, look at its own alarms: tmr-upstream status",
            )


def _licences(facts: HealthFacts) -> Iterator[HealthReason]:
    """Licences that cannot be used, where enough upstreams count: constituents are lost."""
    lost = [one for one in facts.licences if one.state is LicenceState.UNAVAILABLE]
    if lost and facts.majority:
        first = lost[0]
        held = [part.upstream for part in first.constituents if part.state == "available"]
        yield HealthReason(
            machine=held[0] if held else facts.name,
            what=f"licences cannot be used, such as {first.label} ({len(lost)} in all): too few identical "
            f"constituents are available ({', '.join(held) or 'none'})",
            remedy="bring missing upstreams back, or have the vendor issue them to all containers",
        )
