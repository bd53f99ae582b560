# SPDX-License-Identifier: Apache-2.0
"""Jinja filters of restarts: `tmr_operate_differs`, whether a daemon runs what lies on its disk;
`tmr_operate_answers`, states of the twins; `tmr_operate_refusal`, why a daemon must not be restarted now."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

CURRENT = "/opt/tmr/current"


def differs(running: str, disk: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the daemon runs anything else than the release and the files on the disk.

    `running`: its running.json in base64, empty where it does not run; `disk`: results of `stat`, of the link
    to the current release and of the files.
    """
    try:
        found = json.loads(base64.b64decode(running))
        release, files = found["release"], found["files"]
    except (ValueError, KeyError, TypeError):
        return True
    for result in disk:
        path, stat = result["item"], result["stat"]
        if path == CURRENT:
            if PurePosixPath(stat.get("lnk_target", "")).name != release:
                return True
        elif stat.get("checksum", "") != files.get(path):
            return True
    return False


def answers(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """State of each twin that answered, by its name in the inventory, from the results of `uri`."""
    return {result["item"]: result["json"] for result in results if "json" in result}


def refusal(host: str, groups: Mapping[str, Sequence[str]], states: Mapping[str, Mapping[str, Any]]) -> str:
    """Why a restart of a daemon of `host` would end the service; empty: it would not, or there is none."""
    active = [name for name, state in states.items() if state.get("role") == "active"]
    if not active:
        return ""
    if host in groups.get("twins", ()):
        return _twin_refusal(host, groups, states, active)
    if host in groups.get("upstreams", ()):
        return _upstream_refusal(host, groups, states[active[0]])
    return ""


def _twin_refusal(
    host: str,
    groups: Mapping[str, Sequence[str]],
    states: Mapping[str, Mapping[str, Any]],
    active: Sequence[str],
) -> str:
    others = [name for name in groups["twins"] if name != host]
    if host not in active or any(
        states.get(name, {}).get("role") in ("passive", "active") for name in others
    ):
        return ""
    shown = " and ".join(f"{name} ({states.get(name, {}).get('role', 'does not answer')})" for name in others)
    return (
        f"{host} is the active twin, and {shown} cannot take over: a restart would end the service. Repair"
        f" {' and '.join(others)} first"
    )


def _upstream_refusal(host: str, groups: Mapping[str, Sequence[str]], state: Mapping[str, Any]) -> str:
    votes = {up["name"] for up in state.get("upstreams", ()) if up.get("reachable") and up.get("voting")}
    missing = [name for name in groups["upstreams"] if name != host and name not in votes]
    if host not in votes or not missing:
        return ""
    return (
        f"{' and '.join(missing)} does not vote, or is not reachable: a restart of {host} would leave no"
        f" majority and end the service. Repair {' and '.join(missing)} first"
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions of the filters."""
        return {
            "tmr_operate_differs": differs,
            "tmr_operate_answers": answers,
            "tmr_operate_refusal": refusal,
        }
