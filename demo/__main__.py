# SPDX-License-Identifier: Apache-2.0
"""`python -m demo`: from no machine at all to a licence that survives losing any of them."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import sys
import time
from collections.abc import Sequence

from demo import licence, outages, takeover
from demo.plant import play
from demo.takeover import Fault, Story
from demo.witness import Witness
from lab import disk, host, image, lifecycle
from lab.errors import LabError
from lab.names import LabNames, state_root
from testbed import deployment
from testbed.addresses import LEASE_S
from testbed.fault_injector import FaultInjector
from testbed.operator import Operator
from testbed.site import KILL, Done, Site
from testbed.steps import Board, Step, StepFailed, check, table

_TTL = 15
_LEASE_TTL_MS = 1000 * LEASE_S
_STORY_STEPS = 13

Row = tuple[str, str, str]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--again", action="store_true", help="play the story once more on the lab that an earlier demo left"
    )
    again.add_argument(
        "--plant",
        action="store_true",
        help="only the car plant's minute, on the lab that an earlier demo left",
    )
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Exit code: 0 every step held; 1 one did not; 2 it could not begin; 130 interrupted.

    Environment: DEMO_LAB, name of the lab (`demo`); DEMO_ROUNDS, how often each fault is repeated (7; power
    cut 3).
    """
    arguments = _parser().parse_args(words)
    host.prepare_environment()
    name = os.environ.get("DEMO_LAB") or "demo"
    started = time.monotonic()
    try:
        host.require_root("make demo")
        host.require_tools()
        names = LabNames(name, state_root())
        site = Site(names)
        rows: list[Row] = []
        if arguments.plant:
            lifecycle.require_up(names)
            board = Board(play.STEPS)
        elif arguments.again:
            lifecycle.require_up(names)
            board = Board(_STORY_STEPS + play.STEPS)
        else:
            board = Board(3 + licence.STEPS + _STORY_STEPS + play.STEPS)
            rows += _deploy(board, site)
            licence.play(board, site)
        operator = Operator(names.fabric, names.directory / "pki" / "operator.toml")
        try:
            if not arguments.plant:
                rows += _story(board, site, operator)
            minute = play.play(board, site, operator)
        finally:
            operator.close()
    except StepFailed:
        print("\nThe demo stops here: a step does not hold. The machines are left as they are.")
        print(_explore(name))
        return 1
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\ndemo: interrupted; the machines are left as they are: `make down` removes them",
            file=sys.stderr,
        )
        return 130
    print(f"\nAll {board.total} steps held, in {_minutes(time.monotonic() - started)}.\n")
    if rows:
        table([("", "seen", "goal"), *rows])
        print()
    minute.tables()
    print(f"\n{_explore(name)}")
    return 0


def _deploy(board: Board, site: Site) -> list[Row]:
    """Boot the lab, and run site.yml twice."""
    with board.step("Five machines and a client machine boot", "all six up within 15 s") as step:
        if lifecycle.down(site.names):
            step.see(f"removed the lab {site.names.name!r} of an earlier demo")
        tree_started = time.monotonic()
        image.ensure()
        if (built := time.monotonic() - tree_started) > 1:
            step.see(f"base tree of the machines built in {built:.0f} s (once)")
        booting = time.monotonic()
        boots = deployment.boot(site, disk.DEFAULT, step.see)
        boot = time.monotonic() - booting
        site.work.mkdir(mode=0o700)
        step.see(f"up in {boot:.1f} s: " + ", ".join(f"{name} {took:.1f}" for name, took in boots.items()))
    with board.step("ansible-playbook site.yml on bare machines", "succeeds, within 3 minutes") as step:
        first = deployment.play(site)
        step.see(f"done in {first.seconds:.0f} s, {deployment.changes(first)} changes on 6 machines")
    with board.step("The same playbook once more", "changes nothing") as step:
        unchanged = deployment.play(site)
        changes = deployment.changes(unchanged)
        _report_rerun(step, unchanged, changes)
    return [
        ("boot of six machines", f"{boot:.1f} s", "15 s"),
        ("site.yml, first run", f"{first.seconds:.0f} s", "180 s"),
        ("site.yml, nothing to do", f"{unchanged.seconds:.0f} s, changed={changes}", "60 s, changed=0"),
    ]


def _report_rerun(step: Step, done: Done, changes: int) -> None:
    tasks = re.findall(r"^TASK \[(.*)\]|^changed: \[(.*?)\]", done.out, re.MULTILINE)
    culprits, task = [], ""
    for title, machine in tasks:
        task = title or task
        if machine:
            culprits.append(f"{task} on {machine}")
    check(changes == 0, f"changed={changes}: {'; '.join(culprits)}")
    step.see(f"done in {done.seconds:.0f} s, changed=0 on every machine")


def _story(board: Board, site: Site, operator: Operator) -> list[Row]:
    """The licence survives whatever is done to the machines."""
    injector = FaultInjector(site.names)
    story = Story(site, operator, injector, Witness(site))
    try:
        outages.look(board, story)
        outages.hold(board, story, _TTL)
        faults = _faults(site, operator, injector)
        for fault in faults:
            takeover.play(board, story, fault)
        outages.lose(board, story)
        beats, longest = outages.give_back(board, story)
    finally:
        story.witness.stop()
    rows = [
        (f"pause: {fault.title}", _median(story.gaps[fault.title]), f"{fault.goal_ms:.0f} ms")
        for fault in faults
    ]
    return [*rows, ("the application's heartbeats", f"{beats}, longest wait {longest:.1f} s", "no error")]


def _faults(site: Site, operator: Operator, faults: FaultInjector) -> list[Fault]:
    rounds = os.environ.get("DEMO_ROUNDS")
    many, few = (max(1, int(rounds)),) * 2 if rounds else (7, 3)

    def kill(twin: str) -> None:
        site.must_inside(twin, KILL)

    def nothing(_: str) -> None:
        """The twin comes back by itself."""

    return [
        Fault("kill -9 of the active tmr-server", kill, nothing, many, 300),
        Fault("planned switchover", lambda _: operator.switchover(), nothing, many, 200),
        Fault(
            "power cut of the active twin",
            faults.power_off,
            faults.power_on,
            few,
            _LEASE_TTL_MS + 500,
        ),
        Fault(
            "the active twin's front cable pulled",
            lambda twin: faults.cut(twin, "front"),
            lambda twin: faults.heal(twin, "front"),
            1,
            _LEASE_TTL_MS + 500,
        ),
    ]


def _median(gaps: Sequence[float]) -> str:
    return f"{statistics.median(gaps):.0f} ms" + (f", median of {len(gaps)}" if len(gaps) > 1 else "")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _explore(name: str) -> str:
    lab = f"python3 -m lab --name {name}"
    lines = (
        (f"{lab} ssh client -- tmr status", "twins, upstreams, votes"),
        (f"{lab} ssh client -- tmr list", "the licence"),
        (f"{lab} power-off tmr1", "and then power-on tmr1"),
        (f"{lab} cut tmr2 front", "and then heal tmr2 front"),
        (f"{lab} shell up1 journalctl -u tmr-upstream", "what an upstream logs"),
        (f".venv/bin/python -m {__package__} --again", "the story once more"),
        ("make plant", "the car plant's minute once more"),
        ("make down", "removes every trace"),
    )
    width = max(len(command) for command, _ in lines)
    return "The lab is running; to explore:\n" + "\n".join(
        f"  {command:{width}}  {what}" for command, what in lines
    )


if __name__ == "__main__":
    sys.exit(main())
