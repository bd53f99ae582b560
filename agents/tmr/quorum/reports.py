# SPDX-License-Identifier: Apache-2.0
"""Reports of the twins about themselves, as one replica keeps them in memory.

Each twin reports its state, and gets the last report of the other twin. Nothing in the protocol depends on
it.
"""

from typing import NamedTuple

from tmr.quorum.entries import ProposerId
from tmr.quorum.messages import ReplicaState, Report, Reported
from tmr.quorum.recent_twins import RecentTwins


class ReceivedReport(NamedTuple):
    """A twin's last report, and its age in milliseconds."""

    report: Report
    age_ms: int


class Reports:
    """The last report of each twin since this replica started."""

    def __init__(self) -> None:
        self._heard = RecentTwins[tuple[Report, float]]()

    def note(self, report: Report, now: float) -> None:
        """The report came at `now`, in seconds of the replica's clock. The two twins heard last are kept."""
        self._heard.note(report.owner.name, (report, now))

    def of_other(self, twin: str, now: float) -> ReceivedReport | None:
        """The newest report of another twin than `twin`; None: no other twin was ever heard."""
        for name, (report, at) in self._heard.newest_first():
            if name != twin:
                return ReceivedReport(report, max(0, round((now - at) * 1000)))
        return None

    def reply(self, owner: ProposerId, state: ReplicaState, now: float) -> Reported:
        """Report on the other twin for `owner`."""
        other = self.of_other(owner.name, now)
        if other is None:
            return Reported(state, owner, 0, None)
        said = other.report
        return Reported(
            state=state,
            owner=owner,
            front=said.front,
            age_ms=other.age_ms,
            twin=said.owner.name,
            ready=said.ready,
            reason=said.reason,
        )
