# SPDX-License-Identifier: Apache-2.0
"""Health of the whole system, from what each of its addresses answered: `tmr status` ends with it. No I/O."""

from collections.abc import Iterator, Sequence
from typing import Final

from tmr.api.status import Health, HealthReason, HealthState
from tmr.cli.render.status_tables import TwinView

EXIT_CODES: Final = {HealthState.HEALTHY: 0, HealthState.DEGRADED: 1, HealthState.DOWN: 3}
"""Exit codes of `tmr status`."""


def system_health(vips: Sequence[TwinView], twins: Sequence[TwinView]) -> Health:
    """Health of the system: that of its servers taken together.

    Down: nobody active answers at a virtual address. Degraded: an address is silent, or a server tells a
    reason.
    """
    reasons = tuple(dict.fromkeys([*_silent(vips, twins), *_told(vips, twins)]))
    if not any(view.active for view in vips):
        return Health(state=HealthState.DOWN, reasons=reasons)
    return Health(state=HealthState.DEGRADED if reasons else HealthState.HEALTHY, reasons=reasons)


def _silent(vips: Sequence[TwinView], twins: Sequence[TwinView]) -> Iterator[HealthReason]:
    for view in (*vips, *twins):
        if view.status is None:
            yield HealthReason(machine=view.address, what=f"{view.address} does not answer: {view.error}")
    if not any(view.active for view in vips) and (answered := [v for v in vips if v.status is not None]):
        view = answered[0]
        assert view.status is not None  # noqa: S101
        yield HealthReason(
            machine=view.status.name,
            what=f"{view.status.name} answers at {view.address}, and is {view.status.role}",
        )


def _told(vips: Sequence[TwinView], twins: Sequence[TwinView]) -> Iterator[HealthReason]:
    for view in (*twins, *vips):
        if view.status is not None:
            yield from view.status.health.reasons
