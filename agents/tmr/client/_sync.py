# SPDX-License-Identifier: Apache-2.0
"""The client for threaded programs. Generated from `_async.py`: do not edit."""

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

from tmr.api.access import AccessList
from tmr.api.batch import Step, StepResult
from tmr.api.borrowing import Borrowing, BorrowRequest
from tmr.api.errors import SessionLost, TmrError
from tmr.api.explain import ExplainRequest, Explanation
from tmr.api.fields import TTL_DEFAULT, AccessMode
from tmr.api.licences import Container, ItemList
from tmr.api.operations import Switchover, TimeAccepted, Trusted
from tmr.api.sessions import (
    Consumption,
    Heartbeat,
    Heartbeats,
    HeldSession,
    QueuedRequest,
    QueuePlace,
    Session,
    SessionList,
    SessionRequest,
)
from tmr.api.status import Status
from tmr.client import _operations, _waiting
from tmr.client._clock import elapsed
from tmr.client._heartbeats import HeartbeatThread
from tmr.client._retry import Policy
from tmr.client._session import default_request, log
from tmr.client._sync_session import ClientSession
from tmr.client._sync_transport import SyncTransport
from tmr.client.config import Config


class Client(SyncTransport):
    """Asks a TMR system for licences, and keeps them alive.

        with Client() as client, client.session(6000010, 201) as session:
            ...

    `config`: without it, client.toml is read (see `tmr.client.config`). Several threads may use it at once.
    All methods try again over a failover by themselves, as `policy` says, and raise a `TmrError`
    (`tmr.api.errors`) when it is of no use. `clock`: seconds, which go on while the machine is
    suspended.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        policy: Policy | None = None,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        super().__init__(config, policy, clock)
        self._heartbeats: HeartbeatThread[ClientSession] = HeartbeatThread(
            self.clock, self.policy, self._keep_alive
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the sessions that are still held, and close all connections.

        In a forked child it does nothing: all that is the parent's.
        """
        if not self._process.here:
            return
        for session in self._heartbeats.sessions:
            session.release()
        self._heartbeats.close()
        self._close_connections()

    def adopt(self) -> None:
        """Take over, in a forked child, the sessions that were held when it was forked.

        For a program that daemonizes: call it in the process that stays. The process before must end without
        giving the sessions back: by `os._exit`, as daemonizing does. In the own process it does nothing.
        """
        if self._process.here:
            return
        self._connect_anew()
        self._heartbeats.adopt()

    # -- sessions ------------------------------------------------------------------------------------------

    def session(
        self,
        firm_code: int,
        product_code: int,
        *,
        tmr_id: int | None = None,
        reference: int | None = None,
        access_mode: AccessMode | str = AccessMode.USER_LIMIT,
        ttl: int = TTL_DEFAULT,
        features: int = 0,
        released: dt.datetime | None = None,
        units: int = 0,
        instance: str = "",
        wait: bool | float = False,
        station: str | None = None,
        user: str | None = None,
        process: str | None = None,
        on_wait: Callable[[QueuePlace], None] | None = None,
        on_lost: Callable[[ClientSession], None] | None = None,
        on_unknown: Callable[[ClientSession], None] | None = None,
    ) -> ClientSession:
        """A licence for the length of a `with` block; it is asked for when the block begins.

        `ttl`: seconds without a heartbeat after which the server takes it back; heartbeats go by themselves,
        on a thread of their own. `features`: bits that its Feature Map must have. `released`: release date of
        the program's version, checked against the Maintenance Period. `units`: taken together with the
        access, or neither. `instance`: names this run place of the program on its station; asking again ends
        the session that a crashed predecessor left. `wait`: queue for a seat, True or at most so many
        seconds; `on_wait` is called with the place in the queue each time it was asked for. `station`,
        `user`, `process`: shown to others who find the licence taken; by default those of this process.
        `on_lost`: called on that thread if the server has ended the session. `on_unknown`: the same if nobody
        has answered for a whole time to live, as after suspend: it may be lost.
        """
        request = default_request(
            firm_code=firm_code,
            product_code=product_code,
            tmr_id=tmr_id,
            reference=reference,
            access_mode=access_mode,
            ttl=ttl,
            features=features,
            released=released,
            units=units,
            instance=instance,
            wait=bool(wait),
            station=station,
            user=user,
            process=process,
        )
        return ClientSession(self, request, _waiting.patience(wait), on_wait, on_lost, on_unknown)

    def acquire(
        self,
        request: SessionRequest,
        *,
        key: str | None = None,
        patience: float | None = None,
        on_wait: Callable[[QueuePlace], None] | None = None,
    ) -> Session:
        """Ask for a licence, without heartbeats: for programs that send them by themselves.

        `key`: an idempotency key; the same key with the same request gives the same session. `patience`: the
        longest time that a request which waits may wait, in seconds; None: as long as it takes.
        """
        return self._acquire(request, key, patience, on_wait)[0]

    def _acquire(
        self,
        request: SessionRequest,
        key: str | None,
        patience: float | None,
        on_wait: Callable[[QueuePlace], None] | None,
    ) -> tuple[Session, float]:
        """The session, and when the request that it answers was sent."""
        wanted = _waiting.Acquisition(
            request, key, patience, self.clock(), lambda: _operations.new_key(_now_ms())
        )
        try:
            while True:
                sent = self.clock()
                try:
                    found = self._run(_operations.open_session(wanted.request, wanted.key))
                except SessionLost as lost:
                    wanted.lost(lost)
                    continue
                wanted.answered(found)
                if isinstance(found, Session):
                    return found, sent
                if on_wait is not None:
                    on_wait(found)
                time.sleep(wanted.pause(self.clock()))
        finally:
            if wanted.place is not None:
                self._leave_queue(wanted.place.id)

    def _leave_queue(self, place: str) -> None:
        try:
            self._run(_operations.release(place), policy=self.policy.for_release())
        except TmrError as error:
            log.warning("the place %s in the queue could not be given up: %s", place, error)

    def _keep_alive(
        self, sessions: Sequence[str], sleep: Callable[[float], object] = time.sleep
    ) -> Heartbeats:
        policy = self.policy.for_heartbeats()
        return self._run(_operations.heartbeats(sessions), policy=policy, sleep=sleep)

    def heartbeat(self, session: str) -> Heartbeat:
        """Keep the session alive. Raises SessionLost."""
        return self._run(_operations.heartbeat(session))

    def heartbeats(self, sessions: Sequence[str]) -> Heartbeats:
        """Keep up to 1000 sessions alive in one request."""
        return self._run(_operations.heartbeats(sessions))

    def batch(self, steps: Sequence[Step]) -> tuple[StepResult, ...]:
        """Up to 200 requests in one; each result is what the step would have been answered alone.

        A step that was refused raises nothing: look at each result's `problem`.
        """
        return self._run(_operations.batch(steps))

    def release(self, session: str) -> None:
        """Give the session back; one that has ended already is no error."""
        self._run(_operations.release(session))

    def consume(self, session: str, units: int, *, key: str | None = None) -> Consumption:
        """Take units from the licence of a session, exactly once over all retries.

        `key`: an idempotency key, for a program that repeats the call by itself: each key takes them once.
        """
        return self._run(_operations.consume(session, units, key or _operations.new_key(_now_ms())))

    # -- borrowing -----------------------------------------------------------------------------------------

    def borrow(self, request: BorrowRequest, *, key: str | None = None) -> Borrowing:
        """Take a seat out of the network; `borrow_file` is what is used without the network."""
        return self._run(_operations.borrow(request, key or _operations.new_key(_now_ms())))

    def borrow_file(self, borrowing: str) -> bytes:
        """The signed file of a borrowing, to be kept with `tmr.client.borrowed`."""
        return self._run(_operations.borrow_file(borrowing))

    def borrowings(self) -> tuple[Borrowing, ...]:
        """The own borrowings; with an operator's certificate, everybody's."""
        found: list[Borrowing] = []
        after: str | None = None
        while True:
            page = self._run(_operations.borrowings(after))
            found += page.borrowings
            after = page.next
            if after is None:
                return tuple(found)

    def give_back(self, borrowing: str) -> None:
        """End a borrowing early; one that has ended already is no error."""
        self._run(_operations.give_back(borrowing))

    # -- what there is -------------------------------------------------------------------------------------

    def containers(self) -> tuple[Container, ...]:
        """The virtual container."""
        return self._run(_operations.containers())

    def items(self, serial: str | None = None) -> ItemList:
        """The licences in the container `serial`; without it, in all containers."""
        serials = [serial] if serial else [container.serial for container in self.containers()]
        lists = [self._run(_operations.items(each)) for each in serials]
        return ItemList(
            items=tuple(item for each in lists for item in each.items),
            unavailable=tuple(item for each in lists for item in each.unavailable),
        )

    def sessions(self) -> tuple[HeldSession, ...]:
        """The own sessions; with an operator's certificate, everybody's."""
        return self.session_list().sessions

    def session_list(self) -> SessionList:
        """Sessions, and requests that wait for a seat: the own; for an operator, everybody's."""
        held: list[HeldSession] = []
        queue: list[QueuedRequest] = []
        after: str | None = None
        while True:
            page = self._run(_operations.sessions(after))
            held += page.sessions
            queue += page.queue
            after = page.next
            if after is None:
                return SessionList(sessions=tuple(held), queue=tuple(queue))

    def explain(self, request: ExplainRequest) -> Explanation:
        """Prediction for a request, and everything that decides it."""
        return self._run(_operations.explain(request))

    def status(self, address: str | None = None) -> Status:
        """Status that the active twin knows; with `address`, of the twin there, active or not, asked once."""
        if address is None:
            return self._run(_operations.status())
        once = replace(self.policy, patience=0.0, refusal_patience=0.0)
        return self._run(_operations.status(), policy=once, servers=[address], twins=())

    def access(self) -> AccessList:
        """The access list in force. Needs an operator's certificate."""
        return self._run(_operations.access())

    def set_access(self, wanted: AccessList, *, check_only: bool = False) -> AccessList:
        """Put an access list into force, or only check it. Needs an operator's certificate.

        `wanted.version` is that of the list which it replaces. Raises AccessListChanged, and BadRequest with
        all mistakes.
        """
        return self._run(_operations.set_access(wanted, check_only=check_only))

    def switchover(self) -> Switchover:
        """Make the active twin step down. Needs an operator's certificate."""
        return self._run(_operations.switchover())

    def trust(self, upstream: str, fingerprint: str) -> Trusted:
        """Believe the new container of an upstream. Needs an operator's certificate.

        `fingerprint`: as `tmr-upstream status` shows it there. Raises Refused, and nothing has changed.
        """
        return self._run(_operations.trust(upstream, fingerprint))

    def accept_time(self, time: dt.datetime) -> TimeAccepted:
        """Have certified time go on from what the clocks show, if that is near `time`.

        Needs an operator's certificate. Raises Refused, and nothing has changed.
        """
        return self._run(_operations.accept_time(time))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
