# SPDX-License-Identifier: Apache-2.0
"""Both clients, sync and async, against a real server that breaks in every way."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from testbed.pki import System, make_system
from tests.unit.client.conftest import TWIN1, TWIN2, VIP, client_config, client_files
from tests.unit.client.peer import (
    SERIAL,
    Peer,
    State,
    cut_answer,
    drop,
    drop_after,
    hang,
    problem,
    raw,
    silent_address,
)
from tmr.api.sessions import EndedBy
from tmr.client import (
    AsyncClient,
    BadAnswer,
    BadRequest,
    Client,
    Config,
    LicenceUnavailable,
    NoMoreLicences,
    NoQuorum,
    NoService,
    NotActive,
    Policy,
    SessionLost,
    SessionState,
    TwinNotReady,
    Untrusted,
    WrongRole,
    _operations,
)
from tmr.client._clock import elapsed

# Short where tests wait for it, generous where a busy machine must not make a difference.
QUICK = Policy(
    patience=1.5,
    refusal_patience=0.5,
    connect=3.0,
    read=0.8,
    twins_after=0.1,
    twins_every=0.3,
    beat_again=0.1,
)
SOON = 5.0
"""Seconds: at once, on a busy machine."""
FIRM, PRODUCT = 6000010, 201


class Both:
    """One interface to both clients, for tests written once."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(
        self,
        work: Callable[["Driver"], Awaitable[Any]],
        config: Config,
        policy: Policy = QUICK,
        clock: Callable[[], float] = elapsed,
    ) -> Any:
        async def main() -> Any:
            if self.kind == "async":
                async with AsyncClient(config, policy=policy, clock=clock) as client:
                    return await work(Driver(client, lambda call: call()))
            with Client(config, policy=policy, clock=clock) as sync_client:
                return await work(Driver(sync_client, asyncio.to_thread))

        return asyncio.run(main())


class Driver:
    """Calls methods of a client; those of the sync one on a thread."""

    def __init__(self, client: Any, do: Callable[[Callable[[], Any]], Coroutine[Any, Any, Any]]) -> None:
        self.client = client
        self._do = do

    async def __call__(self, method: str, *args: Any, **named: Any) -> Any:
        return await self._do(lambda: getattr(self.client, method)(*args, **named))

    async def enter(self, **named: Any) -> Any:
        session = self.client.session(FIRM, PRODUCT, **named)
        enter = getattr(session, "__aenter__", None) or session.__enter__
        return await self._do(enter)

    async def release(self, session: Any) -> None:
        await self._do(session.release)

    async def consume(self, session: Any, units: int) -> Any:
        return await self._do(lambda: session.consume(units))

    async def again(self, session: Any) -> None:
        await self._do(session.take_again)

    async def item(self, session: Any) -> Any:
        return await self._do(session.item)


@pytest.fixture(params=["sync", "async"])
def both(request: pytest.FixtureRequest) -> Both:
    return Both(request.param)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until `condition` holds, which another thread may bring about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


def test_session_from_grant_to_release(both: Both, peer: Peer, config: Config) -> None:
    async def work(client: Driver) -> None:
        session = await client.enter(tmr_id=1, access_mode="station-share", ttl=30, user="ada")
        assert session.licence.label == "6000010:201 #1"
        assert session.state == "held"
        assert [held.user for held in await client("sessions")] == ["ada"]
        await client.release(session)
        await client.release(session)
        assert session.state == "released"

    both.run(work, config)
    asked = peer.requests("POST", "/v1/sessions")
    assert [seen.body["access_mode"] for seen in asked] == ["station-share"]
    assert len(asked[0].key) >= 16
    assert len(peer.requests("DELETE", "/v1/sessions/s-1")) == 1
    assert peer.state.sessions == {}


def test_a_machine_that_wakes_does_not_believe_in_its_session(both: Both, peer: Peer, config: Config) -> None:
    """Suspend: the clock goes on, timers do not, and the server has ended the session meanwhile."""
    slept = 0.0

    async def work(client: Driver) -> None:
        nonlocal slept
        session = await client.enter(tmr_id=1, ttl=3600)
        assert session.state == "held"
        peer.state.sessions.clear()
        slept = 3601.0
        assert session.state != "held", "not without asking"
        await until(lambda: session.state == "lost", 60.0)
        with pytest.raises(SessionLost):
            session.check()

    both.run(work, config, clock=lambda: elapsed() + slept)


def test_a_machine_that_wakes_is_told_and_takes_its_licence_again(
    both: Both, peer: Peer, config: Config
) -> None:
    """At once that it may be lost; then that it is. Asked to, the client takes the licence again."""
    slept = 0.0
    heard: list[str] = []
    peer.state.units = 100

    async def work(client: Driver) -> None:
        nonlocal slept
        session = await client.enter(
            ttl=3600,
            units=12,
            on_unknown=lambda one: heard.append(f"unknown {one.id}"),
            on_lost=lambda one: heard.append(f"lost {one.id}"),
        )
        await client.again(session)
        assert session.id == "s-1", "what is held is not asked for anew"
        peer.state.end("s-1", EndedBy.EXPIRY)
        slept = 3601.0
        await until(lambda: session.state == "lost", 60.0)
        await until(lambda: heard == ["unknown s-1", "lost s-1"], 60.0)
        peer.state.others = peer.state.quantity
        with pytest.raises(NoMoreLicences):
            await client.again(session)
        assert session.state == "lost"
        peer.state.others = 0
        await client.again(session)
        assert (session.state, session.id, session.ended) == ("held", "s-3", None)
        session.check()
        assert peer.state.units == 88, "the units are not taken again"
        assert client.client._heartbeats.sessions == [session]
        slept = 7203.0
        await until(lambda: heard[2:] == ["unknown s-3"], 60.0)
        await until(lambda: session.state == "held", 60.0)

    both.run(work, config, clock=lambda: elapsed() + slept)
    assert peer.state.sessions == {}


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="a clock of Linux")
def test_the_clock_counts_suspend() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= elapsed() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_reads(both: Both, peer: Peer, config: Config) -> None:
    async def work(client: Driver) -> None:
        (container,) = await client("containers")
        assert container.serial == SERIAL
        assert (await client("items")).items == ()
        assert (await client("items", SERIAL)).unavailable == ()

    both.run(work, config)
    assert len({seen.connection for seen in peer.seen}) == 1, "one connection is kept for all"


def test_the_own_address_to_ask_from(both: Both, peer: Peer, config: Config) -> None:
    async def work(client: Driver) -> None:
        await client("containers")

    both.run(work, Config.model_validate({**config.model_dump(), "source": "127.0.0.77"}))
    both.run(work, config)
    assert [seen.source for seen in peer.seen] == ["127.0.0.77", VIP]


def test_closing_the_client_releases_what_it_holds(both: Both, peer: Peer, config: Config) -> None:
    async def work(client: Driver) -> None:
        await client.enter()
        await client.enter()

    both.run(work, config)
    assert peer.state.sessions == {}
    assert len(peer.requests("DELETE", "/v1/sessions/.*")) == 2


@pytest.mark.parametrize("fault", [drop, drop_after, cut_answer, hang])
def test_a_broken_request_is_repeated_with_its_key(
    both: Both, peer: Peer, config: Config, fault: Callable[[Any], bool]
) -> None:
    peer.faults.extend([fault, fault])

    async def work(client: Driver) -> str:
        session = await client.enter()
        assert len(peer.state.sessions) == 1, "a retry took a second seat"
        return str(session.id)

    assert both.run(work, config, replace(QUICK, patience=30.0)) == "s-1"
    tries = peer.requests("POST", "/v1/sessions")
    assert len(tries) == 3
    assert len({seen.key for seen in tries}) == 1
    assert len({seen.connection for seen in tries}) == 3, "each retry has a fresh connection"


def test_the_server_restarts_between_attempts(both: Both, peer: Peer, config: Config) -> None:
    """The seat was taken, the answer lost, the server away for a while: the same key gets the same seat."""
    peer.faults.append(drop_after)
    peer.always = drop

    async def work(client: Driver) -> None:
        asking = asyncio.create_task(client.enter())
        await until(lambda: len(peer.state.by_key) == 1)
        await asyncio.to_thread(peer.stop)
        peer.always = None
        await asyncio.sleep(0.3)
        await asyncio.to_thread(peer.start)
        session = await asking
        assert session.id == "s-1"
        assert len(peer.state.sessions) == 1

    both.run(work, config, replace(QUICK, patience=30.0))
    assert len({seen.key for seen in peer.requests("POST", "/v1/sessions")}) == 1


def test_a_kept_connection_that_went_dead(both: Both, peer: Peer, config: Config) -> None:
    """The connection of the last request hangs for ever, as after a power cut: a new one is made."""

    async def work(client: Driver) -> float:
        await client("containers")
        peer.faults.append(hang)
        began = time.monotonic()
        await client("containers")
        return time.monotonic() - began

    assert both.run(work, config, replace(QUICK, patience=30.0)) < SOON
    assert len({seen.connection for seen in peer.seen}) == 2


@pytest.mark.parametrize("slug", ["not-active", "no-quorum", "licence-unavailable", "overloaded"])
def test_passing_problems_are_waited_for(both: Both, peer: Peer, config: Config, slug: str) -> None:
    peer.faults.extend([problem(slug)] * 3)

    async def work(client: Driver) -> None:
        await client.enter()

    both.run(work, config)
    assert len(peer.requests("POST", "/v1/sessions")) == 4


def test_a_clear_no_is_told_at_once(both: Both, peer: Peer, config: Config) -> None:
    peer.state.quantity = 1

    async def work(client: Driver) -> None:
        await client.enter()
        with pytest.raises(NoMoreLicences) as caught:
            await client.enter()
        assert caught.value.problem.code == 212
        assert caught.value.problem.holders[0].station == "cad-01"
        assert str(caught.value).startswith("all 1 seats are taken. Wait until")

    both.run(work, config)
    assert len(peer.requests("POST", "/v1/sessions")) == 2


def test_too_few_constituents_after_the_shorter_patience(both: Both, peer: Peer, config: Config) -> None:
    missing = [
        {"upstream": "up1", "container": "130-1", "state": "available"},
        {"upstream": "up2", "container": "130-2", "state": "unreachable", "detail": "connection refused"},
    ]
    peer.always = problem("licence-unavailable", retry_after=1, constituents=missing)

    async def work(client: Driver) -> None:
        began = time.monotonic()
        with pytest.raises(LicenceUnavailable) as caught:
            await client.enter()
        assert 0.5 <= time.monotonic() - began < SOON
        assert [c.upstream for c in caught.value.problem.constituents] == ["up1", "up2"]

    both.run(work, config, replace(Policy(), refusal_patience=0.5))
    assert len({seen.connection for seen in peer.seen}) == 1


def test_the_twins_are_asked_why_the_virtual_address_is_silent(
    both: Both, peer: Peer, twins: tuple[Peer, Peer], config_twins: Config
) -> None:
    peer.stop()
    missing = [{"upstream": "up3", "container": None, "state": "unreachable"}]
    twins[0].always = problem("not-active")
    twins[1].always = problem("no-quorum", constituents=missing)

    async def work(client: Driver) -> None:
        began = time.monotonic()
        with pytest.raises(NoQuorum) as caught:
            await client.enter()
        assert time.monotonic() - began < SOON
        error = caught.value
        assert [(each.address, each.problem.slug) for each in error.reasons if each.problem] == [
            (TWIN1, "not-active"),
            (TWIN2, "no-quorum"),
        ]
        assert error.problem is not None
        assert error.problem.constituents[0].upstream == "up3"

    both.run(work, config_twins, replace(QUICK, patience=30.0))
    assert {seen.key for seen in twins[0].seen} == {seen.key for seen in twins[1].seen}


def test_a_dead_twin_is_a_reason_too(
    both: Both, peer: Peer, twins: tuple[Peer, Peer], config_twins: Config
) -> None:
    peer.stop()
    twins[0].stop()
    twins[1].always = problem("not-active")

    async def work(client: Driver) -> None:
        began = time.monotonic()
        with pytest.raises(NotActive) as caught:
            await client("containers")
        assert time.monotonic() - began >= QUICK.patience, "a failover may be under way"
        assert [each.error for each in caught.value.reasons] == ["connection refused", ""]

    both.run(work, config_twins)


def test_nobody_at_all(both: Both, peer: Peer, config_twins: Config) -> None:
    peer.stop()

    async def work(client: Driver) -> None:
        with pytest.raises(NoService, match=r"Nobody answered at 127\.0\.0\.1 for 1 s") as caught:
            await client("containers")
        assert len(caught.value.reasons) == 2
        assert caught.value.problem is None

    both.run(work, config_twins, Policy(patience=1.0))


def test_a_half_open_server(both: Both, peer: Peer, config: Config) -> None:
    peer.stop()

    async def work(client: Driver) -> None:
        with silent_address(VIP, peer.port):
            began = time.monotonic()
            with pytest.raises(NoService, match=r"no connection within 0\.\d+ s"):
                await client("containers")
            assert time.monotonic() - began < SOON

    both.run(work, config, Policy(patience=1.0, connect=0.2))


def test_two_virtual_addresses(both: Both, peer: Peer, pki: System) -> None:
    """IPv4 does not answer, IPv6 does."""
    peer.stop()
    server = Peer(pki.twin("tmr1"), peer.state, address="::1", port=peer.port).start()
    try:

        async def work(client: Driver) -> None:
            assert len(await client("containers")) == 1

        both.run(work, client_config(pki, peer.port, servers=(VIP, "::1")))
    finally:
        server.stop()


def test_heartbeats_go_together_and_by_themselves(both: Both, peer: Peer, config: Config) -> None:
    peer.state.ttl = 1

    async def work(client: Driver) -> None:
        first = await client.enter()
        second = await client.enter()
        await until(lambda: len(peer.requests("POST", "/v1/heartbeats")) == 2)
        assert first.state is second.state is SessionState.HELD

    both.run(work, config)
    for beat in peer.requests("POST", "/v1/heartbeats"):
        assert sorted(beat.body["sessions"]) == ["s-1", "s-2"]


def test_the_session_outlives_a_pause(both: Both, peer: Peer, config: Config) -> None:
    """Longer than its whole time to live without an answer: unknown, but not lost, and held again."""

    peer.state.ttl = 1

    async def work(client: Driver) -> None:
        session = await client.enter()
        await asyncio.to_thread(peer.stop)
        await until(lambda: session.state is SessionState.UNKNOWN)
        assert not session.lost.is_set()
        session.check()
        await asyncio.to_thread(peer.start)
        await until(lambda: session.state is SessionState.HELD)

    both.run(work, config)


def test_a_lost_session_is_told(both: Both, peer: Peer, config: Config) -> None:
    told: list[Any] = []

    peer.state.ttl = 1

    async def work(client: Driver) -> None:
        session = await client.enter(on_lost=told.append)
        peer.state.sessions.clear()
        await until(session.lost.is_set)
        assert session.state is SessionState.LOST
        with pytest.raises(SessionLost, match="Session s-1 on 6000010:201 #1 has ended"):
            session.check()
        await until(lambda: told == [session])
        await client.release(session)
        with pytest.raises(SessionLost):
            await client("heartbeat", session.id)

    both.run(work, config)
    assert peer.requests("DELETE", ".*") == []


@pytest.mark.parametrize("fault", [problem("wrong-role"), raw(500, b"oops"), raw(200, b"{}"), drop])
def test_heartbeats_survive_every_answer(
    both: Both, peer: Peer, config: Config, fault: Callable[[Any], bool]
) -> None:
    peer.state.ttl = 1

    async def work(client: Driver) -> None:
        session = await client.enter()
        peer.always = fault
        await until(lambda: len(peer.requests("POST", "/v1/heartbeats")) >= 2)
        peer.always = None
        before = len(peer.seen)
        await until(lambda: len(peer.seen) > before)
        assert session.state is SessionState.HELD

    both.run(work, config)


def test_a_grant_that_expired_before_it_was_heard_of(both: Both, peer: Peer, config: Config) -> None:
    """The answer was lost, the session expired before the retry: another one is asked for, with a new key."""
    peer.faults.extend([drop_after, problem("session-lost")])

    async def work(client: Driver) -> str:
        return str((await client.enter()).id)

    assert both.run(work, config) == "s-2"
    keys = [seen.key for seen in peer.requests("POST", "/v1/sessions")]
    assert keys[0] == keys[1] != keys[2]


def test_a_release_that_nobody_hears_is_no_error(
    both: Both, peer: Peer, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(client: Driver) -> None:
        session = await client.enter()
        await asyncio.to_thread(peer.stop)
        await client.release(session)

    both.run(work, config, Policy(patience=0.3))
    assert "session s-1 could not be released and ends by itself within 60 s" in caplog.text


def test_a_switchover_is_never_repeated(both: Both, peer: Peer, config: Config) -> None:
    """Its second execution would lead back."""
    peer.faults.append(drop_after)

    async def work(client: Driver) -> None:
        with pytest.raises(NoService, match="ended before the answer came"):
            await client("switchover")
        assert (await client("switchover")).from_ == "tmr1"

    both.run(work, config)
    assert len(peer.requests("POST", "/v1/operator/switchover")) == 2


def test_a_switchover_waits_until_the_other_twin_is_ready(both: Both, peer: Peer, config: Config) -> None:
    peer.faults.extend([problem("twin-not-ready")] * 2)

    async def work(client: Driver) -> None:
        assert (await client("switchover")).from_ == "tmr1"
        peer.always = problem("twin-not-ready")
        with pytest.raises(TwinNotReady):
            await client("switchover")

    both.run(work, config, replace(QUICK, refusal_patience=0.5))
    assert len(peer.requests("POST", "/v1/operator/switchover")) > 3


def test_wrong_role(both: Both, peer: Peer, config: Config) -> None:
    peer.faults.append(problem("wrong-role"))

    async def work(client: Driver) -> None:
        with pytest.raises(WrongRole):
            await client("switchover")

    both.run(work, config)


def test_something_else_answers(both: Both, peer: Peer, config: Config) -> None:
    peer.faults.append(raw(200, b"<html>It works!</html>"))

    async def work(client: Driver) -> None:
        with pytest.raises(BadAnswer, match="not the expected ContainerList"):
            await client("containers")

    both.run(work, config)


def test_a_request_that_cannot_be_meant(both: Both, peer: Peer, config: Config) -> None:
    async def work(client: Driver) -> None:
        with pytest.raises(BadRequest, match="ttl: Input should be greater than or equal to 5"):
            await client.enter(ttl=1)

    both.run(work, config)
    assert peer.seen == []


def test_a_server_of_another_ca(both: Both, peer: Peer, config: Config, tmp_path: Any) -> None:
    other = make_system(tmp_path, addresses=(VIP,))

    async def work(client: Driver) -> None:
        began = time.monotonic()
        with pytest.raises(Untrusted, match=r"server at 127\.0\.0\.1 is not trusted") as caught:
            await client("containers")
        assert time.monotonic() - began < SOON
        assert "tls.ca" in caught.value.remedy

    wrong = config.tls.model_copy(update={"ca": other.authority.ca})
    both.run(work, config.model_copy(update={"tls": wrong}), Policy())
    assert peer.seen == []


def test_a_server_whose_certificate_is_revoked(both: Both, peer: Peer, config: Config, pki: System) -> None:
    """Over a connection that is kept as well; and it is trusted again once it is off the list."""
    crl = pki.authority.crl()
    listed = config.model_copy(update={"tls": config.tls.model_copy(update={"crl": crl})})

    async def work(client: Driver) -> None:
        await client("containers")
        pki.authority.crl(peer.files)
        with pytest.raises(Untrusted, match="certificate revoked"):
            await client("containers")
        pki.authority.crl()
        await client("containers")

    both.run(work, listed)


def test_a_client_that_the_server_does_not_trust(
    both: Both, peer: Peer, config: Config, tmp_path: Any
) -> None:
    other = client_files(make_system(tmp_path, addresses=(VIP,)))

    async def work(client: Driver) -> None:
        with pytest.raises(Untrusted, match="does not trust this client's certificate: unknown ca"):
            await client("containers")

    wrong = other.model_copy(update={"ca": config.tls.ca})
    both.run(work, config.model_copy(update={"tls": wrong}))


@pytest.mark.parametrize("uris", [["spiffe://lab/client/eve"], ["spiffe://other/twin/tmr1"], []])
def test_a_server_without_the_right_identity(
    both: Both, pki: System, state: State, config: Config, uris: list[str]
) -> None:
    files = pki.authority.issue("twin", "evil", addresses=(VIP,), uris=uris, stem=f"evil-{len(uris)}")
    server = Peer(files, state, address=VIP).start()
    try:

        async def work(client: Driver) -> None:
            with pytest.raises(Untrusted, match="a server of the system 'lab' is expected"):
                await client("containers")

        both.run(work, config.model_copy(update={"port": server.port}))
    finally:
        server.stop()
    assert server.seen == []


def test_status_of_one_twin_is_asked_once(
    both: Both, peer: Peer, twins: tuple[Peer, Peer], config_twins: Config
) -> None:
    peer.state.status.update(
        role="passive",
        epoch=7,
        lease_remaining_ms=None,
        vip=[VIP],
        version="0.1.0",
        certified_time=None,
        upstreams=[],
        licences=[],
        sessions=0,
        commit=0,
        health={"state": "healthy"},
    )
    twins[0].stop()

    async def work(client: Driver) -> None:
        began = time.monotonic()
        assert (await client("status", TWIN2)).name == "tmr2"
        with pytest.raises(NoService):
            await client("status", TWIN1)
        assert time.monotonic() - began < SOON

    both.run(work, config_twins, Policy(connect=3.0))


def test_many_threads_share_one_client(peer: Peer, config: Config) -> None:
    peer.state.quantity = 100
    peer.faults.extend([drop, drop_after, cut_answer] * 5)
    failures = []

    def work(client: Client) -> None:
        try:
            for _ in range(3):
                with client.session(FIRM, PRODUCT):
                    client.containers()
        except Exception as error:
            failures.append(error)

    with Client(config, policy=Policy()) as client:
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert peer.state.sessions == {}
    assert len({seen.key for seen in peer.requests("POST", "/v1/sessions")}) == 24


def test_a_closed_client_takes_no_sessions(peer: Peer, config: Config) -> None:
    client = Client(config)
    client.close()
    with pytest.raises(RuntimeError, match="closed"), client.session(FIRM, PRODUCT):
        pass


def test_renewed_certificates_are_taken(pki: System, peer: Peer, config: Config, tmp_path: Any) -> None:
    """Files that were replaced while the program runs count from the next connection on."""
    other = make_system(tmp_path, addresses=(VIP,))
    ca = tmp_path / "trusted.crt"
    ca.write_bytes(other.authority.ca.read_bytes())
    config = config.model_copy(update={"tls": config.tls.model_copy(update={"ca": ca})})
    with Client(config, policy=QUICK) as client:
        with pytest.raises(Untrusted):
            client.containers()
        ca.write_bytes(config.tls.certificate.read_bytes()[:10])
        with pytest.raises(Untrusted):
            client.containers()
        ca.write_bytes(pki.authority.ca.read_bytes())
        assert len(client.containers()) == 1


def test_long_lists_come_in_pages(both: Both, peer: Peer, config: Config) -> None:
    peer.state.page = 2

    peer.state.quantity = 10
    wanted = {"firm_code": FIRM, "product_code": PRODUCT, "station": "cad-07"}

    async def work(client: Driver) -> None:
        asked = _operations.session_request(**wanted)
        held = [(await client("acquire", asked)).id for _ in range(5)]
        assert [one.id for one in (await client("session_list")).sessions] == held
        assert [one.id for one in await client("sessions")] == held
        to_borrow = _operations.borrow_request(**wanted, seconds=60)
        lent = [(await client("borrow", to_borrow)).id for _ in range(3)]
        assert [one.id for one in await client("borrowings")] == lent

    both.run(work, config)
    assert len(peer.requests("GET", "/v1/sessions.*")) == 6
    assert len(peer.requests("GET", "/v1/borrowings.*")) == 2
