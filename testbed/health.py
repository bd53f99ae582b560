# SPDX-License-Identifier: Apache-2.0
"""The system as an operator sees it from outside: is it whole, which twin is active, where is the address."""

from __future__ import annotations

from dataclasses import dataclass

from testbed.addresses import TWINS, VIP
from testbed.operator import Operator
from testbed.site import Site
from testbed.vip_watcher import holders
from tmr.api.status import Role


@dataclass
class Health:
    """Looks, each an empty string when all is well."""

    site: Site
    operator: Operator

    def unsettled(self) -> str:
        """Both twins up, one active, all three upstreams in step for it."""
        active = self.operator.active()
        if active is None:
            return f"nobody active at {VIP}"
        for name in TWINS:
            status = self.operator.status(name)
            if status is None:
                return f"{name} does not answer"
            wanted = Role.ACTIVE if name == active.name else Role.PASSIVE
            if status.role is not wanted:
                return f"{name} is {status.role}, while {active.name} answers at {VIP}"
            if dumb := [each.name for each in status.upstreams if not each.voting]:
                return f"{name} has no vote of {', '.join(dumb)}"
        return self.wrong_vip(active.name)

    def wrong_vip(self, twin: str) -> str:
        """The virtual address is on this twin, and on no other."""
        found = holders(self.site.names, VIP)
        where = " and ".join(found) or "no twin"
        return "" if found == (twin,) else f"{VIP} is on {where}, not on {twin} alone"

    def not_active(self, twin: str) -> str:
        """This twin answers at the virtual address as the active one."""
        active = self.operator.active()
        if active is not None and active.name == twin:
            return ""
        return f"{active.name} is active" if active else f"nobody active at {VIP}"
