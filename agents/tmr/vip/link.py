"""The Unix socket on which tmr-server commands: one commander at a time, its user checked by SO_PEERCRED."""

import asyncio
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from tmr.vip import protocol
from tmr.vip.config import ConfigError
from tmr.vip.decide import Connected, Disconnected
from tmr.vip.keyvalue import line
from tmr.vip.protocol import Drop, Hold, Refused, Report

log = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("=3i")  # struct ucred: pid, uid, gid
_UNREAD_LIMIT = 64 * 1024  # of reports that a frozen commander has not read

LinkEvent = Hold | Drop | Connected | Disconnected


class CommandLink:
    """Listens at `path`; every event of the commander goes to `put`, in the order in which it came."""

    def __init__(self, path: Path, peer_user: str, put: Callable[[LinkEvent], Awaitable[None]]) -> None:
        self._path = path
        try:
            self._peer = pwd.getpwnam(peer_user)
        except KeyError as error:
            raise ConfigError(
                f"peer_user: there is no user {peer_user!r}; create it, or name the user of tmr-server"
            ) from error
        self._put = put
        self._server: asyncio.Server | None = None
        self._commander: asyncio.StreamWriter | None = None
        self._commander_pid = 0

    async def open(self) -> None:
        """Listen; raises ConfigError with the reason if that cannot be.

        The socket file has mode 0660 and our own group: tmr-server needs SupplementaryGroups=tmr-vip.
        """
        listener = _listen(self._path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=protocol.LINE_LIMIT)

    def close(self) -> None:
        """Stop listening, hang up on the commander, remove the socket file."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        if self._commander is not None:
            self._commander.close()

    def tell(self, report: Report) -> None:
        """Send `report` to the commander; without one, or when it does not read, it is only logged."""
        if self._commander is None or self._commander.is_closing():
            log.info(
                line("report-unheard", reason="no commander", report=protocol.encode(report).decode().strip())
            )
        elif self._commander.transport.get_write_buffer_size() > _UNREAD_LIMIT:
            log.warning(line("report-unheard", reason="the commander does not read"))
        else:
            self._commander.write(protocol.encode(report))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            refusal = self._admit(writer)
            if refusal:
                log.warning(line("commander-refused", reason=refusal))
                writer.write(protocol.encode(Refused(detail=refusal)))
                return
            try:
                await self._put(Connected())
                await self._read(reader)
            finally:
                # In this order: a successor's commands must not overtake the news that this one is gone.
                await self._put(Disconnected())
                self._commander = None
        finally:
            writer.close()

    def _admit(self, writer: asyncio.StreamWriter) -> str:
        peer: socket.socket = writer.get_extra_info("socket")
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in (0, self._peer.pw_uid):
            return f"uid {uid} may not command: only {self._peer.pw_name} (peer_user) and root"
        if self._commander is not None:
            return f"process {self._commander_pid} commands: a second must wait until it is gone"
        self._commander, self._commander_pid = writer, pid
        log.info(line("commander", pid=pid, uid=uid))
        return ""

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                text = await reader.readline()
            except ValueError:  # the reader has thrown away what it had of the line
                self._refuse(Refused(detail=f"a line longer than {protocol.LINE_LIMIT} bytes"))
                continue
            except ConnectionError:
                return
            if not text:
                return
            if not text.endswith(b"\n"):
                log.warning(line("command-cut-off", bytes=len(text)))
                return
            command = protocol.decode(text)
            if isinstance(command, Refused):
                self._refuse(command)
            else:
                await self._put(command)

    def _refuse(self, refused: Refused) -> None:
        log.warning(line("refused", reason=refused.detail))
        self.tell(refused)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _clear_stale(path)
        mask = os.umask(0o117)  # the file is born 0660: no moment in which others may connect
        try:
            listener.bind(str(path))
        finally:
            os.umask(mask)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"socket: {path}: {error.strerror}; RuntimeDirectory= of the unit makes its directory"
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"socket: {path} exists and is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            pass  # its queue is full: it lives
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(f"socket: another tmr-vip listens at {path}; stop it first")
