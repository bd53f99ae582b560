# SPDX-License-Identifier: Apache-2.0
"""Commands of the daemons, which say what is missing where only the client is installed."""

import importlib
import sys
from importlib.util import find_spec
from typing import Final

SERVER: Final = ("aiohttp", "fastapi", "httptools", "prometheus_client", "starlette", "uvicorn")
"""Modules of the extra `server` that `tmr-server` and `tmr-upstream` import."""
VIP: Final = ("pyroute2",)
"""Modules of the extra `server` that `tmr-vip` imports."""


def twin_server() -> int | None:
    """Run `tmr-server`; its exit status."""
    return _run("twin_server", "tmr-server", SERVER)


def upstream() -> int | None:
    """Run `tmr-upstream`; its exit status."""
    return _run("upstream", "tmr-upstream", SERVER)


def vip() -> int | None:
    """Run `tmr-vip`; its exit status."""
    return _run("vip", "tmr-vip", VIP)


def _run(module: str, command: str, needed: tuple[str, ...]) -> int | None:
    """Run `main` of a module of this package. Exit status 2 where packages of the extra are not installed."""
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"{command}: {', '.join(missing)} missing: only the client of TMR is installed here. "
            "The servers need the extra `server`: pip install 'tmr[server]'\n"
        )
        return 2
    status: int | None = importlib.import_module(f"tmr.daemons.{module}").main()
    return status
