# SPDX-License-Identifier: Apache-2.0
"""The Unix socket on which tmr-server commands: one commander at a time, its user checked by SO_PEERCRED."""

import asyncio
import contextlib
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from tmr.vip import protocol
from tmr.vip.config import ConfigError
from tmr.vip.events import Connected, Disconnected
from tmr.vip.log_fields import fields
from tmr.vip.protocol import CommandRefused, Drop, Hold, Ping, Report

log = logging.getLogger(__name__)

_CREDENTIALS = struct.Struct("=3i")  # struct ucred: pid, uid, gid
_UNREAD_LIMIT = 64 * 1024  # of reports that a frozen commander has not read

_READ_BYTES = 64 * 1024
_WAITING_LIMIT = 4 * 1024 * 1024  # more than this at once is no tmr-server

LinkEvent = Hold | Drop | Ping | Connected | Disconnected


class _Commander:
    """The connection that commands."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock, self.pid = sock, pid
        self.unsent = bytearray()
        self._unread = b""
        self._too_long = False

    def waiting(self) -> tuple[list[bytes | None], bool]:
        """All lines that wait, None for each that is too long; True: that was the end of the connection."""
        data, ended = bytearray(), False
        while not ended and len(data) < _WAITING_LIMIT:
            try:
                piece = self.sock.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            ended = not piece
            data += piece
        *lines, self._unread = (self._unread + data).split(b"\n")
        found: list[bytes | None] = [line if len(line) < protocol.LINE_LIMIT else None for line in lines]
        if self._too_long and found:
            found[0], self._too_long = None, False
        if len(self._unread) >= protocol.LINE_LIMIT:
            self._unread, self._too_long = b"", True
        if ended and self._unread:
            log.warning("command-cut-off", extra=fields(bytes=len(self._unread)))
        return found, ended or len(data) >= _WAITING_LIMIT


class CommandLink:
    """Listens at `path`, and calls `wake` whenever there is something for `take`.

    Nothing is read before `take` is called, and then everything: what is pending is known to its end before
    the first command is carried out.
    """

    def __init__(self, path: Path, peer_user: str, wake: Callable[[], None]) -> None:
        self._path = path
        try:
            self._peer = pwd.getpwnam(peer_user)
        except KeyError as error:
            raise ConfigError(
                f"peer_user: there is no user {peer_user!r}; create it, or name the user of tmr-server"
            ) from error
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None
        self._inode = -1
        self._commander: _Commander | None = None
        self._arrived = False

    def open(self) -> None:
        """Listen; raises ConfigError with the reason if that cannot be. Call again when the path is gone.

        The socket file has mode 0660 and our own group: tmr-server needs SupplementaryGroups=tmr-vip.
        """
        self._stop_listening()
        self._listener = _listen(self._path)
        self._listener.listen()
        self._inode = self._path.lstat().st_ino
        self._loop.add_reader(self._listener, self._accept)

    @property
    def reachable(self) -> bool:
        """The path leads to this process still."""
        try:
            return self._path.lstat().st_ino == self._inode
        except OSError:
            return False

    @property
    def commanded(self) -> bool:
        """A commander is connected."""
        return self._commander is not None

    def close(self) -> None:
        """Stop listening, hang up on the commander, remove the socket file."""
        if self.reachable:
            self._path.unlink(missing_ok=True)
        self._stop_listening()
        self._hang_up()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _hang_up(self) -> None:
        if self._commander is not None:
            self._flush()
            self._loop.remove_reader(self._commander.sock)
            self._loop.remove_writer(self._commander.sock)
            self._commander.sock.close()
            self._commander = None

    def take(self) -> list[LinkEvent]:
        """Messages of the commander since the last call, read to its end; replaced holds are left out."""
        commander, events = self._commander, list[LinkEvent]()
        if commander is None:
            return events
        if self._arrived:
            self._arrived = False
            events.append(Connected())
        lines, ended = commander.waiting()
        commands: list[protocol.Command] = []
        for text in lines:
            command = (
                CommandRefused(detail=f"a line longer than {protocol.LINE_LIMIT} bytes")
                if text is None
                else protocol.decode_command(text)
            )
            if isinstance(command, CommandRefused):
                log.warning("refused", extra=fields(reason=command.detail))
                self.tell(command)
            else:
                commands.append(command)
        events += protocol.effective(commands)
        if ended:
            self._hang_up()
            events.append(Disconnected())
        else:
            self._loop.add_reader(commander.sock, self._readable)
        return events

    def _readable(self) -> None:
        if self._commander is not None:
            self._loop.remove_reader(self._commander.sock)  # until `take` has read
        self._wake()

    def tell(self, report: Report) -> None:
        """Send `report` to the commander; without one, or when it does not read, it is only logged."""
        if self._commander is None:
            log.info(
                "report-unheard",
                extra=fields(reason="no commander", report=protocol.encode(report).decode().strip()),
            )
        elif len(self._commander.unsent) > _UNREAD_LIMIT:
            log.warning("report-unheard", extra=fields(reason="the commander does not read"))
        else:
            self._commander.unsent += protocol.encode(report)
            self._flush()

    def _flush(self) -> None:
        commander = self._commander
        if commander is None:
            return
        try:
            while commander.unsent:
                del commander.unsent[: commander.sock.send(commander.unsent)]
        except BlockingIOError:
            self._loop.add_writer(commander.sock, self._flush)
            return
        except OSError:  # it is gone, and `take` will read that
            commander.unsent.clear()
        self._loop.remove_writer(commander.sock)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            log.info("not-accepted", extra=fields(reason=error.strerror))
            return
        sock.setblocking(False)
        refusal = self._admit(sock)
        if refusal:
            log.warning("commander-refused", extra=fields(reason=refusal))
            with contextlib.suppress(OSError):
                sock.send(protocol.encode(CommandRefused(detail=refusal)))
            sock.close()
            return
        self._arrived = True
        self._wake()

    def _admit(self, sock: socket.socket) -> str:
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in (0, self._peer.pw_uid):
            return f"uid {uid} may not command: only {self._peer.pw_name} (peer_user) and root"
        if self._commander is not None:
            return f"process {self._commander.pid} commands: a second must wait until it is gone"
        self._commander = _Commander(sock, pid)
        log.info("commander", extra=fields(pid=pid, uid=uid))
        return ""


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
