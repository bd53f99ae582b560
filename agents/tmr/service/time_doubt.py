# SPDX-License-Identifier: Apache-2.0
"""Certified time that does not follow the clocks: the alarm, and the operator who accepts what they show."""

import logging

from tmr.api.operations import TimeAccepted, TimeRequest
from tmr.ledger import AcceptTime
from tmr.licensing.spelling import instant, milliseconds, written_time
from tmr.net.identity import Identity
from tmr.quorum.consensus_clock import ACCEPTED_MS
from tmr.runtime.logs import fields
from tmr.service.guard import RequestGuard
from tmr.service.problems import problem

log = logging.getLogger(__name__)


class TimeDoubt:
    """State of certified time as an operator sees it, and the acceptance of a jump."""

    def __init__(self, guard: RequestGuard) -> None:
        self._guard = guard
        self._told = False

    def alarms(self) -> list[str]:
        """Alarms of time in doubt: what the clocks show, what that means, and what to do."""
        return self._alarms(self._guard.command_log.certified_ms())

    def _alarms(self, time_ms: int) -> list[str]:
        shown = self._guard.command_log.time_waits
        if shown is None:
            return []
        days = (shown - time_ms) / 86_400_000
        deployment = self._guard.view.deployment
        return [
            f"{deployment.clocks} {written_time(shown)}, {days:.1f} days after what the journal knows "
            f"({written_time(time_ms)}), and {deployment.unsynchronised}: "
            "sessions that are held go on; new ones, units and borrowings are refused. If that is the time: "
            f"`tmr accept-time {instant(shown):%Y-%m-%dT%H:%MZ}` as an operator. If not: `chronyc tracking` "
            "on each upstream, set the clocks right, and this ends by itself"
        ]

    def look(self, time_ms: int) -> None:
        """Have the log told when the doubt begins, and when it ends. `time_ms`: certified time, just read."""
        alarms = self._alarms(time_ms)
        if bool(alarms) == self._told:
            return
        self._told = bool(alarms)
        if alarms:
            log.error("the time is in doubt", extra=fields(alarm=alarms[0]))
        else:
            log.warning("the time is known again", extra=fields(time=written_time(time_ms)))

    async def accept(self, peer: Identity, asked: TimeRequest) -> TimeAccepted:
        """Accept the time that the clocks show, if it is near `asked`. Raises ProblemError."""
        guard, command_log = self._guard, self._guard.command_log
        guard.check()
        before_ms, wanted = command_log.certified_ms(), milliseconds(asked.time) or 0
        shown = command_log.time_waits
        now = before_ms if shown is None else shown
        if abs(now - wanted) > ACCEPTED_MS:
            whose = "Certified time is" if shown is None else "The clocks show"
            raise problem(
                "time-refused",
                f"{whose} {written_time(now)}, not {written_time(wanted)}.",
                remedy=None if shown is not None else "Nothing waits to be accepted: see `tmr status`.",
            )
        changed = command_log.accept_time(wanted)
        if changed:
            await guard.outcome(command_log.submit(AcceptTime(before_ms, str(peer))))
            log.warning(
                "time accepted",
                extra=fields(before=written_time(before_ms), time=written_time(now), operator=str(peer)),
            )
        guard.confirm()
        return TimeAccepted(
            time=instant(command_log.certified_ms()), before=instant(before_ms), changed=changed
        )
