# SPDX-License-Identifier: Apache-2.0
"""Detection of a replica that was rolled back: its confirmed position is kept, and compared with later ones.

Decision 12 has the reasons, and the cases that are not noticed.
"""

from collections.abc import Collection, Iterable

from tmr.quorum.entries import AckedPosition
from tmr.quorum.messages import ReplicaState


def missed(position: AckedPosition, state: ReplicaState) -> bool:
    """The replica shows less than it has confirmed."""
    known = position.replica_id == state.replica_id and state.term >= 0
    return known and position.missed_by(state.term, state.last_epoch, state.last_index)


def merged(
    one: Iterable[AckedPosition], other: Iterable[AckedPosition], replica_ids: Collection[str]
) -> tuple[AckedPosition, ...]:
    """Positions that both confirm about these replicas, in a fixed order."""
    found: dict[str, AckedPosition] = {}
    for position in (*one, *other):
        if position.replica_id in replica_ids:
            known = found.get(position.replica_id)
            found[position.replica_id] = position if known is None else known.joined(position)
    return tuple(found[replica_id] for replica_id in sorted(found))


class RollbackDetector:
    """Detector of replicas that were rolled back.

    It knows when it learned each position: an answer to an older question is no evidence.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[AckedPosition, float]] = {}
        self._excused = set[str]()
        """Disks that count in this term although they have less."""

    def learn(self, position: AckedPosition, now: float) -> None:
        """The replica has confirmed this."""
        known = self._known.get(position.replica_id)
        joined = position if known is None else known[0].joined(position)
        if known is None or joined != known[0]:
            self._known[position.replica_id] = (joined, now)

    def rolled_back(self, state: ReplicaState, sent_at: float) -> bool:
        """The answer to a question of `sent_at` shows less than was known when it was asked."""
        known = None if state.replica_id in self._excused else self._known.get(state.replica_id)
        return known is not None and sent_at >= known[1] and missed(known[0], state)

    def excuse(self, replica_id: str) -> None:
        """The term that begins was elected by all three: this replica counts in it as it is."""
        self._excused.add(replica_id)

    def term_committed(self) -> None:
        """A majority has all that the term adopted: what else the excused replicas had is given up."""
        for replica_id in self._excused:
            self._known.pop(replica_id, None)
        self._excused.clear()

    def term_ended(self) -> None:
        """Disks that were excused, and were not brought up to date, are not to be believed."""
        self._excused.clear()

    def of(self, replica_ids: Collection[str]) -> tuple[AckedPosition, ...]:
        """Positions known of these replicas."""
        return merged((position for position, _ in self._known.values()), (), replica_ids)
