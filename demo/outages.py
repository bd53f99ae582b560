# SPDX-License-Identifier: Apache-2.0
"""The upstreams: not for clients, and lost one after the other."""

from __future__ import annotations

import tomllib
from pathlib import Path

from demo.licence import FIRM, PRODUCT, SEATS
from demo.takeover import Story
from lab.topology import machine_named
from testbed.addresses import SERVER_PORT, UPSTREAM_PORT, UPSTREAMS, VIP
from testbed.fault_injector import boottime
from testbed.operator import upstream_of
from testbed.site import BIN, Site
from testbed.steps import Board, check, wait_for

_TIMEOUT_S = 60.0
_RUN = f"run --verbose --firm {FIRM} --product {PRODUCT}"
_LICENCE = f"{FIRM}:{PRODUCT} #1"


def look(board: Board, story: Story) -> None:
    """Shows the licence as a client sees it, and all that a client does not see."""
    with board.step(
        "What the client machine sees",
        f"at {VIP}, over mutual TLS, one virtual container 131-… with the licence, 0 of {SEATS} in use",
    ) as step:
        wait_for(lambda: story.wrong_seats(0), _TIMEOUT_S, "the licence is served")
        wait_for(story.unsettled, _TIMEOUT_S, "both twins and three upstreams ready")
        shown = story.site.tmr("list")
        step.quote(shown.out + shown.err)
        check(shown.code == 0, f"`tmr list` ended with {shown.code}")
        for word in ("Container 131-", _LICENCE, f"0 of {SEATS}"):
            check(word in shown.out, f"`tmr list` does not show {word!r}")
        step.see("`tmr list` on the client machine:")

    with board.step(
        "The three containers behind it are not for clients",
        "no connection from the client machine, nor from a stranger who is on the back network",
    ) as step:
        site = story.site
        check(site.reaches("client", VIP, SERVER_PORT), f"the client machine does not reach {VIP}")
        for source, who in (("client", "the client machine"), ("fabric", "a stranger in the back network")):
            open_ones = [name for name, at in UPSTREAMS.items() if site.reaches(source, at, UPSTREAM_PORT)]
            check(not open_ones, f"{who} can connect to {', '.join(open_ones)}")
        step.see(
            f"port {UPSTREAM_PORT} of up1, up2, up3: no connection from either (firewall); "
            f"{VIP} port {SERVER_PORT}: open for the client machine"
        )

    with board.step(
        "The licence asked for directly at an upstream, from tmr1's network, with a valid client certificate",
        "refused with the reason",
    ) as step:
        config = _misled(story.site)
        ask = (
            "ip",
            "netns",
            "exec",
            story.site.names.namespace(machine_named("tmr1")),
            BIN / "tmr",
            "--config",
            config,
        )
        answer = story.site.run(*ask, *_RUN.split(), "--", "true")
        step.quote(answer.err)
        check(answer.code == 1, f"`tmr run` at up1 ended with {answer.code}")
        check("TMR" in answer.err, "the refusal does not give the reason")
        step.see("`tmr run` with up1 as its server:")


def _misled(site: Site) -> Path:
    """client.toml of the client machine's own certificate, with up1 as its server."""
    directory, pki = site.work / "misled", site.names.directory / "pki"
    directory.mkdir(mode=0o700, exist_ok=True)
    told = tomllib.loads(site.must_inside("client", "cat /etc/tmr/client.toml").out)["tls"]
    for name in ("certificate", "key"):
        site.must("scp", "-q", "-F", site.names.ssh_config, f"client:{told[name]}", directory / name)
    config = directory / "client.toml"
    config.write_text(
        f'system = "lab"\nservers = ["{UPSTREAMS["up1"]}"]\nport = {UPSTREAM_PORT}\n'
        f'[tls]\ncertificate = "certificate"\nkey = "key"\nca = "{pki / "ca.crt"}"\n'
    )
    return config


def hold(board: Board, story: Story, ttl: int) -> None:
    """An application on the client machine takes the licence for everything that follows."""
    with board.step(
        f"An application on the client machine takes the licence and holds it from here on, ttl {ttl} s",
        f"1 of {SEATS} in use; heartbeats are answered",
    ) as step:
        since = boottime()
        story.witness.start(FIRM, PRODUCT, ttl)

        def unheld() -> str:
            beat = story.witness.beat_since(since)
            if beat is None:
                return f"no heartbeat; {story.witness.said()}"
            story.session = beat.session
            return story.session_trouble(since)

        wait_for(unheld, _TIMEOUT_S, "the application holds the licence")
        step.see(f"session {story.session}, 1 of {SEATS} in use; a prober connects to {VIP} every 5 ms")


def lose(board: Board, story: Story) -> None:
    """One upstream, a second, and both back."""
    site = story.site
    with board.step(
        "Power cut of upstream up1", "everything serves: a new session is granted and released"
    ) as step:
        wait_for(story.unsettled, _TIMEOUT_S, "both twins and three upstreams ready")
        since = boottime()
        story.faults.power_off("up1")
        granted = site.tmr(f"{_RUN} -- true")
        step.quote(granted.err)
        check(granted.code == 0, f"`tmr run` ended with {granted.code}")
        check(f"2 of {SEATS} in use" in granted.err, "the new session is not the second one")
        wait_for(lambda: story.session_trouble(since), _TIMEOUT_S, "the held session lives on")
        step.see(f"`tmr run` on the client machine; afterwards 1 of {SEATS} in use, the session held")

    with board.step(
        "Power cut of a second upstream, up2",
        "the licence is gone; a request is refused and says which constituents are missing where; "
        "the held session is not lost",
    ) as step:
        story.faults.power_off("up2")
        wait_for(lambda: "still served" if story.operator.active() else "", _TIMEOUT_S, "the licence is gone")
        shown = site.tmr("list")
        refused = site.tmr(f"{_RUN} -- true")
        step.quote(f"$ tmr list\n{shown.out}{shown.err}\n$ tmr {_RUN} -- true\n{refused.out}{refused.err}")
        for what, answer in (("tmr list", shown), ("tmr run", refused)):
            check(answer.code != 0, f"`{what}` succeeded")
            for name in ("up1", "up2"):
                check(name in answer.err, f"`{what}` does not name {name}")
        lost = [beat for beat in story.witness.beats(last=80) if beat.failed]
        check(not lost, f"the application was told: {lost[-1:]}")
        step.see(
            f"refused with {refused.code}; the application waits, nobody has told it that its session is lost"
        )

    with board.step(
        "up2 comes back", f"the licence is served again; the held session is alive, 1 of {SEATS} in use"
    ) as step:
        since = boottime()
        story.faults.power_on("up2")
        took = wait_for(lambda: story.session_trouble(since), _TIMEOUT_S, "the licence is served again")
        granted = site.tmr(f"{_RUN} -- true")
        check(granted.code == 0, f"`tmr run` ended with {granted.code}: {granted.err}")
        step.see(f"served {took:.1f} s after up2 had booted; session {story.session} alive")

    with board.step("up1 comes back", "it catches up: it has the whole journal and votes again") as step:
        story.faults.power_on("up1")

        def behind() -> str:
            active = story.operator.active()
            if active is None:
                return f"nobody active at {VIP}"
            up1 = upstream_of(active, "up1")
            if up1.voting and up1.match == active.commit and not up1.lag:
                step.seen[:] = [f"up1 votes; its journal ends at {up1.match}, as far as is committed"]
                return ""
            return f"voting {up1.voting}, match {up1.match}, commit {active.commit}, lag {up1.lag}"

        wait_for(behind, _TIMEOUT_S, "up1 catches up")
        wait_for(story.unsettled, _TIMEOUT_S, "both twins and three upstreams ready")


def give_back(board: Board, story: Story) -> tuple[int, float]:
    """The application ends. Gives the number of its heartbeats and its longest wait for one, in seconds."""
    with board.step(
        "The application ends and gives the licence back",
        f"it had one session all the time, pauses and no error; 0 of {SEATS} in use",
    ) as step:
        beats = story.witness.beats()
        told = [beat for beat in beats if beat.failed or beat.session != story.session]
        check(not told, f"the application was told: {told[:1]}")
        longest = max((beat.answered or beat.sent) - beat.sent for beat in beats)
        story.witness.stop()
        wait_for(lambda: story.wrong_seats(0), _TIMEOUT_S, "the seat is free")
        step.see(f"{len(beats)} heartbeats, 0 errors, longest pause {longest:.1f} s; 0 of {SEATS} in use")
    return len(beats), longest
