# SPDX-License-Identifier: Apache-2.0
"""Sessions over `fork`: of a child, of a program that daemonizes, of threads. Real processes, real HTTPS."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.client.peer import Peer
from tmr.client import Config

PATIENCE = 90.0

TOML = """
system = "{config.system}"
servers = ["{config.servers[0]}"]
port = {config.port}
[tls]
certificate = "{config.tls.certificate}"
key = "{config.tls.key}"
ca = "{config.tls.ca}"
"""

BEGIN = """
import asyncio, json, os, sys, time
from tmr.client import AsyncClient, Client, OtherProcess, SessionLost

def tell(**told):
    os.write(1, (json.dumps(told) + chr(10)).encode())

def until(condition):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            tell(failed="waited in vain")
            os._exit(9)
        time.sleep(0.02)

def refused(call):
    try:
        call()
    except OtherProcess as error:
        return str(error)
    return ""
"""

Program = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def program(config: Config, tmp_path: Path) -> Iterator[Program]:
    """Starts a program that uses the client."""
    file = tmp_path / "client.toml"
    file.write_text(TOML.format(config=config))
    started = []

    def start(text: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN + text],
            env={**os.environ, "TMR_CONFIG": str(file)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:  # what it left running ends with its standard input
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def told(process: subprocess.Popen[str]) -> dict[str, dict[str, object]]:
    """All that the program's processes tell, by their names."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return {(one := json.loads(line)).pop("who"): one for line in out.splitlines()}


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def releases(peer: Peer) -> int:
    return sum(one.method == "DELETE" for one in peer.seen)


def beats(peer: Peer) -> int:
    return len(peer.requests("POST", "/v1/heartbeats"))


SYNC = """
with Client() as client, client.session(6000010, 201) as session:
    child = os.fork()
    if not child:
        tell(who="child", state=session.state, lost=session.lost.is_set(), checked=refused(session.check),
             consumed=refused(lambda: session.consume(1)), read=refused(client.containers),
             again=refused(session.take_again), parent=os.getppid())
        sys.exit(0)  # leaves the blocks, as any child that ends in the usual way
    os.waitpid(child, 0)
    alive = client.heartbeat(session.id).id == session.id
    tell(who="parent", state=session.state, pid=os.getpid(), alive=alive)
"""

ASYNC = """
async def main():
    async with AsyncClient() as client, client.session(6000010, 201) as session:
        child = os.fork()
        if not child:
            told = ""
            try:
                await client.containers()
            except OtherProcess as error:
                told = str(error)
            tell(who="child", state=session.state, lost=session.lost.is_set(), checked=refused(session.check),
                 consumed=told, read=told, again=told, parent=os.getppid())
            return
        os.waitpid(child, 0)
        beat = await client.heartbeat(session.id)
        tell(who="parent", state=session.state, pid=os.getpid(), alive=beat.id == session.id)

asyncio.run(main())
"""


@pytest.mark.parametrize("text", [SYNC, ASYNC], ids=["sync", "async"])
def test_a_childs_end_leaves_the_parents_session_alone(peer: Peer, program: Program, text: str) -> None:
    found = told(program(text))
    child, parent = found["child"], found["parent"]
    assert (child["state"], child["lost"]) == ("foreign", True)
    for refusal in ("checked", "consumed", "read", "again"):
        assert f"This client belongs to the process {parent['pid']}" in str(child[refusal]), refusal
    assert (parent["state"], parent["alive"]) == ("held", True)
    assert child["parent"] == parent["pid"]
    assert releases(peer) == 1, "the parent has given it back, and nobody else"
    assert peer.state.sessions == {}


def test_a_child_never_sends_heartbeats(peer: Peer, program: Program) -> None:
    """The parent has ended by `os._exit`, and with it the heartbeats; the child lives on."""
    peer.state.ttl = 1
    process = program("""
client = Client()
session = client.session(6000010, 201).__enter__()
if os.fork():
    os._exit(0)
os.setsid()
tell(who="child", state=session.state)
sys.stdin.read()
sys.exit(0)
""")
    until(lambda: process.poll() is not None)
    seen = beats(peer)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["state"] == "foreign"
    time.sleep(1.5)  # what would be time for several
    assert beats(peer) <= seen + 1, "one of the parent's may have been under way"
    assert process.stdin is not None
    process.stdin.close()
    assert process.stdout.read() == ""
    assert releases(peer) == 0


DAEMON = """
client = Client()
with client, client.session(6000010, 201) as session:
    for _ in range(2):  # as daemons fork, with a session of the kernel's between
        if os.fork():
            os._exit(0)
        os.setsid()
    os.closerange(3, 64)  # and close what they have inherited
    file = os.open("/dev/null", os.O_RDONLY)
    client.adopt()
    client.adopt()  # which changes nothing more
    until(lambda: session.state == "held")
    tell(who="daemon", state="held", lost=session.lost.is_set())
    sys.stdin.readline()
    os.fstat(file)
    until(lambda: session.state == "held")
    tell(who="later", state=session.state, alive=client.heartbeat(session.id).id == session.id)
"""

ASYNC_DAEMON = """
async def hold(client, session):
    await client.adopt()
    await asyncio.to_thread(until, lambda: session.state == "held")
    tell(who="daemon", state="held", lost=session.lost.is_set())
    await asyncio.to_thread(sys.stdin.readline)
    beat = await client.heartbeat(session.id)
    await asyncio.to_thread(until, lambda: session.state == "held")
    tell(who="later", state=session.state, alive=beat.id == session.id)
    await client.aclose()

async def begin():
    client = AsyncClient()
    return client, await client.session(6000010, 201).__aenter__()

client, session = asyncio.new_event_loop().run_until_complete(begin())
if os.fork():
    os._exit(0)
os.setsid()
asyncio.run(hold(client, session))
os._exit(0)
"""


@pytest.mark.parametrize("text", [DAEMON, ASYNC_DAEMON], ids=["sync", "async"])
def test_a_daemon_that_adopts_its_session_keeps_it(peer: Peer, program: Program, text: str) -> None:
    peer.state.ttl = 1
    process = program(text)
    assert process.stdout is not None
    assert process.stdin is not None
    first = process.stdout.readline()
    assert json.loads(first or "{}") == {"who": "daemon", "state": "held", "lost": False}, first
    seen = beats(peer)
    until(lambda: beats(peer) >= seen + 3)
    process.stdin.write("\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline()) == {"who": "later", "state": "held", "alive": True}
    assert process.stdout.read() == ""
    assert releases(peer) == 1
    assert peer.state.sessions == {}


def test_children_of_busy_threads(peer: Peer, program: Program) -> None:
    """A child is forked while threads hold the client's locks: none of its calls waits for those."""
    peer.state.quantity = 100
    found = told(
        program("""
import threading
client, stop = Client(), threading.Event()

def work():
    while not stop.is_set():
        with client.session(6000010, 201) as one:
            client.heartbeat(one.id)

threads = [threading.Thread(target=work) for _ in range(4)]
with client.session(6000010, 201) as session:
    for thread in threads:
        thread.start()
    codes = []
    for _ in range(30):
        child = os.fork()
        if not child:
            said = refused(session.check)
            session.release()
            client.close()
            os._exit(0 if said and session.state == "foreign" else 1)
        codes.append(os.waitpid(child, 0)[1])
    stop.set()
    for thread in threads:
        thread.join()
    tell(who="parent", state=session.state, codes=codes)
client.close()
""")
    )
    assert found["parent"] == {"state": "held", "codes": [0] * 30}
    assert peer.state.sessions == {}
