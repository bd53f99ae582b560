# SPDX-License-Identifier: Apache-2.0
"""Both twins' managers with their servers, and an observer who never may see the address twice."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.netns.conftest import Front
from tests.netns.server import Addresses, Lease, Server
from tests.netns.world import VIP, Manager, until

PATIENCE_S = 60.0


class Pair:
    """Two managers, each with its server."""

    def __init__(
        self, managers: dict[str, Manager], servers: dict[str, Server], seen: Addresses, lease: Lease
    ) -> None:
        self.managers, self.servers, self.seen, self.lease = managers, servers, seen, lease

    def holder(self) -> str:
        """The machine that alone has the address, as its server knows; waits for it."""

        def settled() -> str:
            [*names] = self.seen.holders
            return names[0] if len(names) == 1 and self.servers[names[0]].held else ""

        return until(settled, "one machine holds the address", PATIENCE_S)

    def until_both_able(self) -> None:
        until(lambda: all(server.able for server in self.servers.values()), "both are able", PATIENCE_S)


@contextmanager
def paired(front: Front, watch: tuple[str, ...] = ()) -> Iterator[Pair]:
    managers = {name: front.manager(name, watch=watch) for name in ("tmr1", "tmr2")}
    lease = Lease()
    with (
        Addresses(VIP, {name: manager.popen.pid for name, manager in managers.items()}) as seen,
        Server("tmr1", managers["tmr1"].path, lease) as first,
        Server("tmr2", managers["tmr2"].path, lease) as second,
    ):
        yield Pair(managers, {"tmr1": first, "tmr2": second}, seen, lease)
    assert seen.both == [], f"{len(seen.both)} of {seen.looks} looks found the address on both"
