# SPDX-License-Identifier: Apache-2.0
"""Composition root of `tmr-vip --config FILE`, which holds the virtual address.

With `--clear` it only cleans up. It imports nothing of ours but `tmr.vip` and the setup of the logs.
"""

import argparse
import asyncio
import logging
import signal
import sys
from importlib.metadata import version
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from tmr.runtime import logs, running
from tmr.vip.addresses import InterfaceGone, KernelAddresses
from tmr.vip.config import Config, ConfigError, load
from tmr.vip.log_fields import fields
from tmr.vip.manager import Manager
from tmr.vip.notify import Notifier

log = logging.getLogger(__name__)

_CAP_NET_ADMIN = 12
_CAP_NET_RAW = 13
_WANTED_SYSCTLS = {"arp_ignore": 1, "arp_announce": 2}


def main() -> None:
    """Entry point. Exit status: 0 orderly end, 1 cannot go on, 2 wrong configuration or privileges."""
    parser = argparse.ArgumentParser(prog="tmr-vip", description="Holds the virtual address of a TMR system.")
    parser.add_argument("--version", action="version", version=f"tmr-vip {version('tmr')}")
    parser.add_argument("--config", type=Path, default=Path("/etc/tmr/vip.toml"), help="default: %(default)s")
    parser.add_argument("--clear", action="store_true", help="remove a VIP that was left behind, and exit")
    arguments = parser.parse_args()
    logs.setup()
    if not arguments.clear:
        running.describe(arguments.config)
    try:
        config = load(arguments.config)
        _check_capabilities()
        asyncio.run(_clear(config) if arguments.clear else _run(config))
    except ConfigError as error:
        logs.complain("tmr-vip", str(error))
        sys.exit(2)
    except (InterfaceGone, RuntimeError, OSError, NetlinkError) as error:
        logs.complain("tmr-vip", str(error))
        sys.exit(1)


async def _run(config: Config) -> None:
    _check_sysctls(config)
    notifier = Notifier()
    loop = asyncio.get_running_loop()
    async with KernelAddresses(config.interface) as kernel:
        manager = Manager(config, notifier, kernel)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, manager.stop)
        await manager.run()
    notifier.close()
    log.info("stopped", extra=fields(reason="asked"))


async def _clear(config: Config) -> None:
    async with KernelAddresses(config.interface) as kernel:
        for removed in await kernel.clear(config.addresses):
            log.warning("leftover-removed", extra=fields(address=removed))


def _check_capabilities() -> None:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next((int(row.split()[1], 16) for row in status.splitlines() if row.startswith("CapEff:")), 0)
    for name, bit in (("CAP_NET_ADMIN", _CAP_NET_ADMIN), ("CAP_NET_RAW", _CAP_NET_RAW)):
        if not effective >> bit & 1:
            raise ConfigError(f"{name} is missing; start by the unit tmr-vip, which grants it, or as root")


def _check_sysctls(config: Config) -> None:
    """Warn if this machine might answer ARP for the VIP on a wrong interface, or ask with it as source."""
    if all(address.version == 6 for address in config.addresses):
        return
    for name, wanted in _WANTED_SYSCTLS.items():
        # The kernel uses the larger of `all` and the interface's own (ip-sysctl documentation).
        found = max(_sysctl("all", name), _sysctl(config.interface, name))
        if found != wanted:
            key = f"net.ipv4.conf.{config.interface}.{name}"
            log.warning(
                "sysctl", extra=fields(key=key, found=found, wanted=wanted, remedy="apply the role tmr_vip")
            )


def _sysctl(interface: str, name: str) -> int:
    try:
        return int(Path(f"/proc/sys/net/ipv4/conf/{interface}/{name}").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1


if __name__ == "__main__":
    main()
