# SPDX-License-Identifier: Apache-2.0
"""A session of a threaded program. Generated from `_async_session.py`: do not edit."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tmr.api.errors import TmrError
from tmr.api.licences import Item
from tmr.api.sessions import Consumption, EndedSession, QueuePlace, SessionRequest
from tmr.client import _operations
from tmr.client._heartbeats import SessionState
from tmr.client._process import ForkNotice
from tmr.client._session import (
    SessionView,
    log,
    log_kept_by_parent,
    log_lost,
    log_unknown,
    log_unreleased,
    lost_error,
)

if TYPE_CHECKING:
    from tmr.client._sync import Client


class ClientSession(SessionView):
    """A licence held by a program; made by `Client.session`, and used as a context manager.

    `lost` is set when the server has ended the session, not when it is merely silent for a while. It is set
    in a forked child, too: the session is that of the process which took it.
    """

    def __init__(
        self,
        client: "Client",
        request: SessionRequest,
        patience: float | None,
        on_wait: Callable[[QueuePlace], None] | None,
        on_lost: Callable[["ClientSession"], None] | None,
        on_unknown: Callable[["ClientSession"], None] | None,
    ) -> None:
        self._client = client
        self._request = request
        self._patience = patience
        self._on_wait = on_wait
        self._on_lost = on_lost
        self._on_unknown = on_unknown
        self.lost = threading.Event()
        self._fork_notice = ForkNotice(self._forked)

    def __enter__(self) -> Self:
        self.licence, sent = self._client._acquire(self._request, None, self._patience, self._on_wait)
        self._client._heartbeats.add(self, sent)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def state(self) -> SessionState:
        """State of the session now."""
        if not self._client._process.here:
            return SessionState.FOREIGN
        if self.lost.is_set():
            return SessionState.LOST
        return self._client._heartbeats.schedule.state(self.id, self._client.clock())

    def check(self) -> None:
        """Raise SessionLost if the server has ended the session, and OtherProcess in a forked child."""
        self._client._process.check()
        if self.lost.is_set():
            raise lost_error(self.licence, self.ended)

    def consume(self, units: int) -> Consumption:
        """Take units from the licence, exactly once over all retries."""
        return self._client.consume(self.id, units)

    def item(self) -> Item | None:
        """The licence that is held, with its Feature Map, Text, User Data …; None: it cannot be used now."""
        found = self._client.items(self.licence.container)
        return next((item for item in found.items if item.label == self.licence.label), None)

    def release(self) -> None:
        """Give the licence back. If no server answers, this is logged: the server takes it back by itself.

        In a forked child nothing is given back: the session is that of the process which took it.
        """
        if not self._client._process.here:
            log_kept_by_parent(self.licence)
            return
        if not self._client._heartbeats.remove(self):
            return
        try:
            policy = self._client.policy.for_release()
            self._client._run(_operations.release(self.id), policy=policy)
        except TmrError as error:
            log_unreleased(self.licence, error)

    def take_again(self) -> None:
        """Ask anew for the licence of a lost session. A session that is not lost stays as it is.

        The request is the same, without the units that were taken with the first. Raises TmrError, and the
        session stays lost.
        """
        self._client._process.check()
        if not self.lost.is_set():
            return
        request = self._request.model_copy(update={"units": 0})
        granted, sent = self._client._acquire(request, None, self._patience, self._on_wait)
        self._client._heartbeats.remove(self)
        self.licence, self.ended = granted, None
        self.lost.clear()
        self._client._heartbeats.add(self, sent)

    def _is_lost(self, ended: EndedSession | None) -> None:
        self.ended = ended
        self.lost.set()
        log_lost(self.licence, ended)
        self._call(self._on_lost, "on_lost")

    def _is_unknown(self, silent: float) -> None:
        log_unknown(self.licence, silent)
        self._call(self._on_unknown, "on_unknown")

    def _call(self, callback: Callable[["ClientSession"], None] | None, name: str) -> None:
        """Call the program's own function, if there is one; its failure ends no heartbeats."""
        if callback is None:
            return
        try:
            callback(self)
        except Exception:
            log.exception("%s of session %s failed", name, self.id)

    def _forked(self) -> None:
        """This process is a forked child. The lock of the former event may be held by a thread that is not
        here."""
        self.lost = threading.Event()
        self.lost.set()

    def _adopted(self, *, held: bool) -> None:
        self.lost = threading.Event()
        if not held:
            self.lost.set()
