# SPDX-License-Identifier: Apache-2.0
"""The `tmr` command as a process: output, exit codes, signals, a licence held while a command runs."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from testbed.pki import System
from tests.unit.cli.conftest import Tmr, command, environment
from tests.unit.client.peer import Peer, State, drop, problem
from tmr.api.sessions import EndedBy

RUN = ("run", "--firm", "6000010", "--product", "201")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


# Whoever starts the tests in the background, or by nohup, has signals ignored; a shell's user has not.
HEEDING: Final = ("env", "--default-signal=INT,TERM,HUP,QUIT")


@pytest.fixture
def start(config: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the command; what still runs at the end is killed."""
    started = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*HEEDING, *command(*arguments)],
            env=environment(config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_help_names_every_command_and_the_exit_codes(tmr: Tmr) -> None:
    told = tmr("--help").stdout
    for name in ("list", "run", "status", "sessions", "switchover", "vendor"):
        assert re.search(rf"^  {name} ", told, re.MULTILINE)
    assert "0 done, 1 refused, 2 wrong usage or configuration, 3 no service" in told
    assert tmr("--version").stdout.startswith("tmr, version ")


def test_vendor_is_there_and_imported_only_when_called(tmr: Tmr) -> None:
    assert "issue" in tmr("vendor", "--help").stdout
    code = "import sys, tmr.cli.main; print('tmr.cli.vendor.commands' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


def test_list_as_json_and_in_a_pipe(tmr: Tmr, peer: Peer) -> None:
    long = {"firm_code": 6000010, "product_code": 201, "tmr_id": 1, "name": "N" * 90, "quantity": 5}
    item = {**long, "in_use": 0, "exclusive": False, "expiration": None, "constituents": []}
    peer.state.items = {"items": [item], "unavailable": []}
    document = json.loads(tmr("list", "--json").stdout)
    assert document["containers"][0]["serial"] == "131-1234567"
    assert document["items"][0]["product_code"] == 201
    lines = tmr("list").stdout.splitlines()
    assert [line for line in lines if "N" * 90 in line], "one licence, one line, when nobody looks"
    assert all(len(line) <= 80 for line in tmr("list", COLUMNS="80").stdout.splitlines())


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["--help"], ["vendor", "--help"]])
def test_output_that_cannot_be_written(config: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            command(*arguments),
            env=environment(config),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert answer.returncode == 1
    assert answer.stderr == "tmr: the output cannot be written: No space left on device\n"


def test_a_terminal_gets_colours(config: Path) -> None:
    main, other = pty.openpty()
    process = subprocess.Popen(
        command("list"), env=environment(config, TERM="xterm", COLUMNS="80"), stdout=other, stderr=other
    )
    os.close(other)
    told = b""
    try:
        while chunk := os.read(main, 4096):
            told += chunk
    except OSError:  # how Linux tells that the other end is closed
        pass
    finally:
        os.close(main)
    assert process.wait(20) == 0
    assert b"\x1b[" in told


def test_run_holds_a_licence_while_the_command_runs(tmr: Tmr, peer: Peer, tmp_path: Path) -> None:
    script = "import sys; print('working'); sys.exit(7)"
    answer = tmr(*RUN, "--mode", "exclusive", "--ttl", "30", "--", sys.executable, "-c", script)
    assert (answer.returncode, answer.stdout, answer.stderr) == (7, "working\n", "")
    (asked,) = peer.requests("POST", "/v1/sessions")
    assert (asked.body["access_mode"], asked.body["ttl"]) == ("exclusive", 30)
    assert re.fullmatch(r"python[\d.]*\[\d+\]", asked.body["process"])
    assert peer.state.sessions == {}


def test_run_passes_options_of_the_command_on(tmr: Tmr) -> None:
    assert tmr(*RUN, "echo", "--config", "-v", "--", "x").stdout == "--config -v -- x\n"
    answer = tmr(*RUN, "-v", "--", "echo", "x")
    assert answer.stdout == "x\n"
    granted = "tmr: licence 6000010:201 #1 of container 131-1234567: session s-2, user-limit, 1 of 5 in use\n"
    assert answer.stderr == granted


def test_run_refused(tmr: Tmr, peer: Peer) -> None:
    peer.state.quantity = 0
    answer = tmr(*RUN, "--", "echo", "never")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: All seats are taken (CodeMeter error 212)\n")
    assert "cad-01" in answer.stderr


@pytest.mark.parametrize(
    ("program", "code", "told"),
    [("no-such-program", 127, "no-such-program: no such command"), ("/etc/passwd", 126, "Permission denied")],
)
def test_run_what_cannot_run(tmr: Tmr, peer: Peer, program: str, code: int, told: str) -> None:
    answer = tmr(*RUN, "--", program)
    assert answer.returncode == code
    assert told in answer.stderr
    assert peer.state.sessions == {}, "given back at once"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(
    peer: Peer, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    """The command ends in its own way, and the licence is given back afterwards."""
    script = (
        "import signal, sys, time\n"
        "signal.signal(int(sys.argv[1]), lambda *_: sys.exit(42))\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    process = start(*RUN, "--", sys.executable, "-c", script, str(int(number)))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(20) == 42
    assert peer.state.sessions == {}


def test_a_command_that_a_signal_ends(tmr: Tmr) -> None:
    assert tmr(*RUN, "--", "/bin/sh", "-c", "kill -9 $$").returncode == 128 + 9


def test_a_pause_and_a_loss_are_told(peer: Peer, start: Callable[..., subprocess.Popen[str]]) -> None:
    peer.state.ttl = 1
    process = start(*RUN, "--", "sleep", "60")
    assert process.stderr is not None
    until(lambda: peer.state.sessions)
    peer.always = drop
    assert "no answer to a heartbeat; the session goes on" in process.stderr.readline()
    assert "session s-1 on licence 6000010:201 #1 may be lost" in process.stderr.readline()
    peer.always = None
    assert process.stderr.readline() == "tmr: heartbeats are answered again\n"
    peer.state.sessions.clear()
    assert process.stderr.readline() == "tmr: session s-1 on licence 6000010:201 #1 was lost\n"
    assert process.poll() is None, "the command goes on"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM


def test_a_lost_licence_is_taken_again(peer: Peer, start: Callable[..., subprocess.Popen[str]]) -> None:
    """As after suspend; but not where a person, or the program itself, has ended the session."""
    peer.state.ttl = 1
    process = start(*RUN, "--take-again", "--", "sleep", "60")
    assert process.stderr is not None
    until(lambda: peer.state.sessions)
    peer.state.end("s-1", EndedBy.EXPIRY)
    assert "no heartbeat came for its time to live" in next(_lines(process, "was lost"))
    told = "tmr: the licence was taken again: session s-2 on licence 6000010:201 #1\n"
    assert next(_lines(process, "taken again")) == told.replace("on licence", "on")
    peer.state.others = peer.state.quantity
    peer.state.end("s-2", EndedBy.EXPIRY)
    assert "could not be taken again: all 5 seats are taken" in next(_lines(process, "taken again"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM


def _lines(process: subprocess.Popen[str], part: str) -> Iterator[str]:
    """Lines of its standard error with this part."""
    assert process.stderr is not None
    return (line for line in process.stderr if part in line)


DAEMON = """
import os, sys, time
if os.fork():
    sys.exit(5)
os.setsid()
if os.fork():
    os._exit(0)
os.dup2(os.open(os.devnull, os.O_RDWR), 1)
os.dup2(1, 2)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
"""


def test_a_command_that_becomes_a_daemon_keeps_its_licence(
    peer: Peer, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """The licence is held until the last process that the command left behind has ended."""
    stop = tmp_path / "stop"
    process = start(*RUN, "--", sys.executable, "-c", DAEMON, str(stop))
    told = next(_lines(process, "has ended; the licence is held for what it left running: "))
    assert re.search(r"python[\d.]*\[\d+\]$", told.rstrip())
    assert process.poll() is None
    assert list(peer.state.sessions) == ["s-1"]
    stop.touch()
    assert process.wait(60) == 5, "the exit code is the command's"
    assert peer.state.sessions == {}


def test_signals_reach_what_a_command_left_behind(
    peer: Peer, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = start(*RUN, "--", sys.executable, "-c", DAEMON, str(tmp_path / "never"))
    next(_lines(process, "has ended; the licence is held"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 5
    assert peer.state.sessions == {}


def test_only_the_command_itself_is_waited_for_if_asked(tmr: Tmr, peer: Peer, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    try:
        answer = tmr(*RUN, "--main-only", "--", sys.executable, "-c", DAEMON, str(stop))
    finally:
        stop.touch()
    assert (answer.returncode, answer.stderr) == (5, "")
    assert peer.state.sessions == {}


def test_the_command_goes_on_after_its_wrapper_was_killed(
    peer: Peer, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Without a licence: nobody sends heartbeats any more, so the server takes the seat back."""
    sign, stop = tmp_path / "alive", tmp_path / "stop"
    script = 'while ! [ -e "$1" ]; do touch "$0"; sleep 0.05; done'
    process = start(*RUN, "--", "/bin/sh", "-c", script, str(sign), str(stop))
    until(sign.exists)
    process.kill()
    process.wait(60)
    try:
        sign.unlink()
        until(sign.exists)
        assert [one for one in peer.seen if one.method == "DELETE"] == []
    finally:
        stop.touch()


def test_a_second_signal_does_not_keep_the_seat(
    peer: Peer, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """The command has ended by the first; the second comes while the seat is given back."""
    process = start(*RUN, "--", "sleep", "60")
    until(lambda: peer.state.sessions)
    until(lambda: _children(process.pid))
    entered, go_on = threading.Event(), threading.Event()

    def slow(handler: object) -> bool:
        entered.set()
        return go_on.wait(60)

    peer.always = slow
    process.send_signal(signal.SIGTERM)
    assert entered.wait(60)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        process.send_signal(number)
    peer.always = None
    go_on.set()
    assert process.wait(60) == 128 + signal.SIGTERM
    until(lambda: not peer.state.sessions)


def _children(pid: int) -> str:
    """Ids of its child processes; a process that has begun to run its command is not the interpreter's."""
    found = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "comm="], capture_output=True, text=True, check=False
    )
    return found.stdout if "sleep" in found.stdout else ""


SERVICE = """
import os, sys
from pathlib import Path
os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
from tmr.cli import service_manager
service_manager.CGROUP = Path(sys.argv.pop(1))
from tmr.cli.main import main
main()
"""
COUNTING = """
import signal, sys, time
seen = []
def term(*_):
    seen.append(1)
    print("term", flush=True)
signal.signal(signal.SIGTERM, term)
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(10 + len(seen)))
print("ready", flush=True)
while True:
    time.sleep(60)
"""


@pytest.mark.parametrize("mode", ["control-group", "mixed"])
def test_a_service_managers_signal_comes_once(peer: Peer, config: Path, tmp_path: Path, mode: str) -> None:
    """systemd signals all processes of a service; with `mixed` the main one alone, which passes it on."""
    cgroup, systemctl = tmp_path / "cgroup", tmp_path / "systemctl"
    cgroup.write_text("0::/user.slice/user-7.slice/user@7.service/app.slice/plant.service\n")
    systemctl.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho {mode}\n')
    systemctl.chmod(0o755)
    process = subprocess.Popen(
        [*HEEDING, sys.executable, "-c", SERVICE, str(cgroup), *RUN, "--", sys.executable, "-c", COUNTING],
        env=environment(config, PATH=f"{tmp_path}:{os.environ['PATH']}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline() == "ready\n"
        if mode == "control-group":
            os.killpg(process.pid, signal.SIGTERM)
            assert "the service manager has sent it to the command, too" in process.stderr.readline()
        else:
            process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "term\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == 11
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert (tmp_path / "asked").read_text() == "--user show --property=KillMode --value -- plant.service\n"
    assert peer.state.sessions == {}


def test_no_service(tmr: Tmr, peer: Peer) -> None:
    peer.stop()
    answer = tmr("list", "--patience", "0.3")
    assert answer.returncode == 3
    told = r"Error: Nobody answered at 127\.0\.0\.1 for \d+ s \(connection refused\)\n"
    assert re.match(told, answer.stderr)
    assert "127.0.0.3  connection refused" in answer.stderr
    document = json.loads(tmr("sessions", "--patience", "0.3", "--json").stderr)
    assert document["error"] == "NoService"
    assert [reason["address"] for reason in document["reasons"]] == ["127.0.0.2", "127.0.0.3"]


def test_a_problem_as_json(tmr: Tmr, peer: Peer) -> None:
    peer.always = problem("access-denied")
    answer = tmr("list", "--json")
    assert answer.returncode == 1
    document = json.loads(answer.stderr)
    assert (document["error"], document["problem"]["code"]) == ("AccessDenied", 231)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--firm", "6000010", "true"], "Missing option '--product'"),
        (["run", "--firm", "5", "--product", "1", "true"], "5 is not in the range 6000000<=x<=4294967295"),
        (["run", "--firm", "6000010", "--product", "201"], "Missing argument 'COMMAND...'"),
        ([*RUN, "--mode", "shared", "true"], "'shared' is not one of"),
        ([*RUN, "--frim", "1", "true"], "No such option"),
        (["list", "--config", "/no/such.toml"], "/no/such.toml: no such file"),
        (["--config", "/no/such.toml", "list"], "/no/such.toml: no such file"),
        (["sessions", "--certificate", "/x.crt"], "--certificate and --key belong together"),
        (
            ["sessions", "--certificate", "/x.crt", "--key", "/x.key"],
            "tls.certificate: /x.crt cannot be read",
        ),
    ],
)
def test_wrong_usage(tmr: Tmr, arguments: list[str], told: str) -> None:
    answer = tmr(*arguments)
    assert answer.returncode == 2
    assert told in answer.stderr


def test_a_stranger_is_a_matter_of_configuration(
    tmr: Tmr, peer: Peer, pki: System, config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text().replace('system = "lab"', 'system = "plant"'))
    answer = tmr("list")
    assert answer.returncode == 2
    assert "a server of the system 'plant' is expected" in answer.stderr


STATUS = {
    "role": "active",
    "epoch": 7,
    "lease_remaining_ms": 1500,
    "vip": ["127.0.0.1"],
    "version": "0.1.0",
    "certified_time": "2026-03-01T12:00:00Z",
    "upstreams": [],
    "licences": [],
    "sessions": 0,
    "commit": 1,
    "health": {"state": "healthy"},
}


def test_status_asks_everybody(tmr: Tmr, peer: Peer, pki: System) -> None:
    peer.state.status = STATUS
    two = Peer(pki.twin("tmr2"), peer.state, address="127.0.0.3", port=peer.port, name="tmr2").start()
    try:
        answer = tmr("status", "--json")
    finally:
        two.stop()
    document = json.loads(answer.stdout)
    assert answer.returncode == 1, "one twin is silent"
    assert document["health"]["state"] == "degraded"
    (reason,) = document["health"]["reasons"]
    assert reason["machine"] == "127.0.0.2"
    assert document["vip"][0]["status"]["name"] == "tmr1"
    assert [view["error"] for view in document["twins"]] == ["connection refused", None]
    assert document["twins"][1]["status"]["name"] == "tmr2"


@pytest.mark.parametrize(("health", "code"), [("healthy", 0), ("degraded", 1), ("down", 1)])
def test_status_ends_with_the_health_of_all_servers(
    tmr: Tmr, peer: Peer, pki: System, health: str, code: int
) -> None:
    """A passive twin that knows of no active one does not make the system down: the address answers."""
    peer.state.status = STATUS
    alarm = [] if health == "healthy" else [f"{health} for the test"]
    reasons = [{"machine": "tmr2", "what": one} for one in alarm]
    passive = {**STATUS, "role": "passive", "health": {"state": health, "reasons": reasons}, "alarms": alarm}
    twins = []
    for name, address, status in (("tmr1", "127.0.0.2", STATUS), ("tmr2", "127.0.0.3", passive)):
        own = State()
        own.status = status
        twins.append(Peer(pki.twin(name), own, address=address, port=peer.port, name=name).start())
    try:
        answer = tmr("status")
    finally:
        for twin in twins:
            twin.stop()
    assert answer.returncode == code, answer.stdout
    assert answer.stdout.startswith(f"Health: {('healthy', 'degraded')[code]}\n")
    assert all(f"tmr2: {one}" in answer.stdout for one in alarm)


@pytest.mark.parametrize("role", ["passive", "candidate"])
def test_status_without_an_active_twin(tmr: Tmr, peer: Peer, role: str) -> None:
    peer.state.status = {**STATUS, "role": role, "lease_remaining_ms": None}
    answer = tmr("status")
    assert answer.returncode == 3
    assert answer.stdout.startswith("Health: down\n")
    assert f"Virtual address 127.0.0.1: tmr1, {role}" in answer.stdout


def test_switchover_with_an_operators_certificate(
    peer: Peer, pki: System, tmr: Tmr, start: Callable[..., subprocess.Popen[str]]
) -> None:
    peer.state.status = STATUS
    files = pki.operator("olga")
    process = start("switchover", "--certificate", files.certificate, "--key", files.key)
    until(lambda: len(peer.requests("GET", "/v1/status")) > 2)
    peer.name = "tmr2"
    told, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert re.fullmatch(r"tmr1 stepped down; tmr2 is active after \d+\.\d\d s \(epoch 7\)\.\n", told)
    assert len(peer.requests("POST", "/v1/operator/switchover")) == 1


def test_a_client_may_not_switch_over(tmr: Tmr, peer: Peer) -> None:
    peer.always = problem("wrong-role")
    answer = tmr("switchover")
    assert answer.returncode == 1
    assert "What to do: Use a certificate of the right role" in answer.stderr
