"""An application on the client machine, which checks a licence out and gives it back all the time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from bench.deployed.figures import Requests
from testbed.site import Site
from testbed.steps import wait_for
from testbed.vendor import FIRM

_MODULE: Final = Path(__file__).parents[1] / "load" / "churn.py"
_THERE: Final = "/run/tmr-bench"
_UNIT: Final = "tmr-bench-churn"
_PYTHON: Final = "/opt/tmr/current/bin/python"
_ENOUGH: Final = 40
_PATIENCE_S: Final = 60.0
_ERRORS: Final = 3


class Asked(msgspec.Struct, frozen=True):
    """One request. Nanoseconds of CLOCK_MONOTONIC; `error`: what the application was told, if anything."""

    verb: str
    sent: int
    answered: int
    error: str


def requests(asked: Iterable[Asked], since_ns: int) -> Requests:
    """Those that were under way at that time or later."""
    during = [one for one in asked if one.answered >= since_ns]
    errors = [f"{one.verb}: {one.error}" for one in during if one.error]
    longest = max(during, key=lambda one: one.answered - one.sent, default=None)
    return Requests(
        asked=len(during),
        failed=len(errors),
        longest_ms=(longest.answered - longest.sent) / 1e6 if longest else 0.0,
        longest_from_ms=(longest.sent - since_ns) / 1e6 if longest else 0.0,
        errors=tuple(errors[:_ERRORS]),
    )


class Application:
    """What it has written down."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def asked(self) -> list[Asked]:
        """All its requests whose outcome is known."""
        lines = self._site.must_inside("client", f"cat {_THERE}/out").out.splitlines(keepends=True)
        return [msgspec.convert(json.loads(line), Asked) for line in lines if line.endswith("\n")]

    def _count(self) -> int:
        return int(self._site.must_inside("client", f"wc -l < {_THERE}/out").out)

    def goes_on(self) -> None:
        """Wait until it has been answered some more times."""
        enough = self._count() + _ENOUGH

        def lacks() -> str:
            if (count := self._count()) >= enough:
                return ""
            said = self._site.inside("client", f"tail -n 3 {_THERE}/err").out.strip()
            return f"{enough - count} answers are missing {said}"

        wait_for(lacks, _PATIENCE_S, "the application is answered")


@contextmanager
def at_work(site: Site, product: int) -> Iterator[Application]:
    """It works while the block runs."""
    over = f"systemctl stop {_UNIT} 2>/dev/null; systemctl reset-failed {_UNIT} 2>/dev/null"
    site.must_inside("client", f"{over}; rm -rf {_THERE}; mkdir -p {_THERE}")
    site.put("client", _MODULE, f"{_THERE}/churn.py")
    site.must_inside(
        "client",
        f"systemd-run --quiet --unit={_UNIT} -p StandardOutput=file:{_THERE}/out "
        f"-p StandardError=file:{_THERE}/err {_PYTHON} {_THERE}/churn.py {FIRM} {product}",
    )
    application = Application(site)
    try:
        application.goes_on()
        yield application
    finally:
        site.inside("client", over)
