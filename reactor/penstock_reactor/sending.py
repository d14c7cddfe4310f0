"""The sending half of a stream socket's transport: where do written bytes go?

`Writing` is the whole story as states. While nothing waits, a write tries the socket at once and usually that is all. What the socket
refuses joins a queue, and the poller's "writable" empties it, as many pieces per system call as the system takes.
The socket can be lent to sendfile, which writes into it itself and waits for it here; meanwhile writes are refused.

Bytes are never copied on the way, except what the caller could change before it has left (bytearrays).
Knows nothing of reading; `transport.py` adds that half and the beginning and end of a connection.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import enum
import functools
import itertools
import os
import socket
from asyncio.log import logger
from collections.abc import Iterable
from typing import Any

from .flow import WriteLimits
from .poller import Poller

# Joining small pieces costs less than describing each of them to sendmsg; copying large ones costs more.
JOIN_BYTES = 64 * 1024
HAS_SENDMSG = hasattr(socket.socket, "sendmsg")
# The most pieces one sendmsg takes; POSIX promises 16.
MAX_PIECES = max(os.sysconf("SC_IOV_MAX"), 16) if HAS_SENDMSG and hasattr(os, "sysconf") else 16
QUIET_DROPS = 5

Bytes = bytes | bytearray | memoryview


class Writing(enum.Enum):
    DIRECT = enum.auto()  # nothing waits: the socket is tried at once
    QUEUED = enum.auto()  # the socket was full: bytes join the queue
    LENT = enum.auto()  # sendfile has the socket: refused
    ENDED = enum.auto()  # after write_eof: refused, the queue still leaves
    LOST = enum.auto()  # connection_lost is on its way: dropped
    CLOSED = enum.auto()  # connection_lost has been told and the socket is closed: dropped


# The queue of those who have never queued anything: a deque of one's own takes 600 bytes.
NOTHING: collections.deque[bytes | memoryview] = collections.deque(maxlen=0)

# On the hot path a global is found faster than an enum's member.
DIRECT = Writing.DIRECT


class Sending(WriteLimits):
    """write, writelines, write_eof, and the loan of the socket. The other half provides `_fail` and `_lose`."""

    _poller: Poller
    _sock: socket.socket
    _fd: int
    _context: contextvars.Context
    _is_closing: bool
    # What a half-made transport shows.
    _writing = Writing.CLOSED

    def _start_sending(self) -> None:
        self._writing = DIRECT
        self._queue = NOTHING
        self._queued_bytes = 0
        self._drops = 0
        self._loan: asyncio.Future[None] | None = None

    def get_write_buffer_size(self) -> int:
        """How many bytes wait for the socket."""
        return self._queued_bytes

    def write(self, data: Bytes) -> None:
        """Send `data`, now or when the socket takes it; dropped once the connection is lost."""
        if type(data) is not bytes:
            data = as_bytes_like(data)
        if self._writing is not DIRECT:
            self._write_later(data, "write")
            return
        if not data:
            return
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            self._fail(exc, "Fatal write error on socket transport")
            return
        if sent != len(data):
            self._queue_rest([data], sent)

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """Send the pieces in order: small ones joined, large ones without copying them."""
        pieces = [as_bytes_like(data) for data in list_of_data]
        total = sum(map(len, pieces))
        if self._writing is not DIRECT:
            self._write_later(b"".join(pieces), "writelines")
            return
        if total <= JOIN_BYTES or not HAS_SENDMSG:
            self.write(b"".join(pieces))
            return
        try:
            sent = self._sock.sendmsg(pieces[:MAX_PIECES])
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            self._fail(exc, "Fatal write error on socket transport")
            return
        if sent != total:
            self._queue_rest(pieces, sent)

    def can_write_eof(self) -> bool:
        """True: a socket can be closed one way."""
        return True

    def write_eof(self) -> None:
        """Close our direction once the queue has left; what the peer says still arrives."""
        if self._is_closing or self._writing is Writing.ENDED:
            return
        if self._writing is Writing.LENT:
            raise RuntimeError("unable to write_eof; sendfile is in progress")
        self._writing = Writing.ENDED
        if not self._queue:
            self._shut_down()

    def _write_later(self, data: Bytes, caller: str) -> None:
        """Any write for which the socket cannot be tried at once."""
        if self._writing is Writing.ENDED:
            raise RuntimeError(f"Cannot call {caller}() after write_eof()")
        if self._writing is Writing.LENT:
            raise RuntimeError(f"unable to {caller}; sendfile is in progress")
        if not data:
            return
        if self._writing is Writing.QUEUED:
            self._enqueue(data)
            return
        # Lost. Never an exception: the peer may go at any moment, and no writer can know. But say it, in time.
        self._drops += 1
        if self._drops > QUIET_DROPS:
            logger.warning("socket.send() raised exception.")

    def _queue_rest(self, pieces: list[Bytes], sent: int) -> None:
        """Queue what is left of `pieces` after the socket took `sent` bytes, and ask to be told when it takes more."""
        try:
            self._poller.watch_writer(self._fd, functools.partial(self._context.run, self._on_writable))
        except OSError as exc:
            self._fail(exc, "Fatal error: the socket cannot be polled")
            return
        self._writing = Writing.QUEUED
        if self._queue is NOTHING:
            self._queue = collections.deque()
        for piece in pieces:
            if sent < len(piece):
                self._enqueue(memoryview(piece)[sent:] if sent else piece)
                sent = 0
            else:
                sent -= len(piece)

    def _enqueue(self, data: Bytes) -> None:
        # A copy of what the caller can change before it has left.
        if isinstance(data, bytearray) or (isinstance(data, memoryview) and not isinstance(data.obj, bytes)):
            data = bytes(data)
        self._queue.append(data)
        self._queued_bytes += len(data)
        self._pause_if_full(self._queued_bytes)

    def _on_writable(self) -> None:
        queue = self._queue
        try:
            if len(queue) == 1 or not HAS_SENDMSG:
                sent = self._sock.send(queue[0])
            else:
                sent = self._sock.sendmsg(itertools.islice(queue, MAX_PIECES))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._fail(exc, "Fatal write error on socket transport")
            return
        self._queued_bytes -= sent
        while sent:
            first = queue.popleft()
            if sent < len(first):
                queue.appendleft(memoryview(first)[sent:])
                break
            sent -= len(first)
        if not queue:
            self._on_drained()
        self._resume_if_drained(self._queued_bytes)

    def _on_drained(self) -> None:
        self._poller.unwatch_writer(self._fd)
        if self._writing is Writing.QUEUED:
            self._writing = DIRECT
        if self._is_closing:
            self._lose(None)
        elif self._writing is Writing.ENDED:
            self._shut_down()
        else:
            self._wake_borrower()

    def _shut_down(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            # The peer has gone already; reading says so.
            if self._loop.get_debug():
                logger.debug("%r: shutdown failed: %s", self, exc)

    def _drop_queue(self) -> None:
        """The connection is lost: nothing leaves any more, and a borrower hears of it."""
        self._poller.unwatch_writer(self._fd)
        self._queue.clear()
        self._queued_bytes = 0
        if self._loan is not None and not self._loan.done():
            self._loan.set_exception(ConnectionError("Connection is closed by peer"))

    # Lending the socket to sendfile.

    def lend_socket(self) -> socket.socket:
        """Refuse writes until `return_socket` and hand out the socket, which is to be used after `wait_empty`.

        RuntimeError when somebody else has it, and when nothing can be written any more.
        """
        if self._writing not in (DIRECT, Writing.QUEUED):
            raise RuntimeError(f"{self!r} cannot lend its socket now")
        self._writing = Writing.LENT
        return self._sock

    async def wait_empty(self) -> None:
        """For the borrower: wait until the queue has left; ConnectionError when the connection ends meanwhile."""
        if self._queue:
            await self._wait_on_loan()

    async def wait_writable(self) -> None:
        """For the borrower: wait until the socket takes more; ConnectionError when the connection ends meanwhile."""
        if self._writing is not Writing.LENT:
            raise ConnectionError("Connection is closed by peer")
        self._poller.watch_writer(self._fd, self._wake_borrower)
        try:
            await self._wait_on_loan()
        finally:
            if self._writing is Writing.LENT:
                self._poller.unwatch_writer(self._fd)

    def return_socket(self) -> None:
        """The borrower is done, or gives up."""
        self._loan = None
        if self._writing is Writing.LENT:
            self._writing = Writing.QUEUED if self._queue else DIRECT

    async def _wait_on_loan(self) -> None:
        self._loan = self._loop.create_future()
        await self._loan

    def _wake_borrower(self) -> None:
        if self._loan is not None and not self._loan.done():
            self._loan.set_result(None)

    # The other half.

    def _fail(self, exc: BaseException, message: str) -> None:
        raise NotImplementedError

    def _lose(self, exc: BaseException | None) -> None:
        raise NotImplementedError


def as_bytes_like(data: Any) -> Bytes:
    """`data` as something whose len() is its number of bytes; TypeError for what is no bytes at all."""
    if isinstance(data, (bytes, bytearray)):
        return data
    if not isinstance(data, memoryview):
        raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
    if data.ndim == 1 and data.itemsize == 1 and data.contiguous:
        return data
    return data.cast("B") if data.c_contiguous else data.tobytes()
