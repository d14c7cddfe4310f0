"""A non-blocking socket: read, write, close.

Reading is one `recv` when the loop says so, never a second one to learn that there is nothing. Writing tries the
socket at once; what it refuses waits in a queue for writability. All errors of the network end here: they turn into
"broken", and what is written to a broken channel goes nowhere. Knows no protocol; whoever owns it gives it two
callbacks, one for octets to read and one for a queue that has emptied.
"""

import asyncio
import os
import select
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context

READ_SIZE = 65536
"""One `recv`. Larger ones are given memory by mmap, which costs more than the copy."""

HIGH_WATER = 65536
LOW_WATER = 16384

MOST_HELD = 16384
"""With more octets held than this, what is written leaves at once."""

MOST_FOR_READERS = 1 << 20
"""Octets that the kernel holds, unsent, for a peer that has shown that it reads."""

NEVER = float("inf")

_MAX_PARTS = 64

# What is sent so waits for what follows: the end of the connection then leaves with the last octets, and each side's
# kernel handles one packet instead of two. That is a tenth of what a connection for one request costs.
_MORE = socket.MSG_MORE if sys.platform == "linux" else 0

# struct linger, on with no time: two shorts on Windows, two ints elsewhere.
_NO_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


def _nothing() -> None:
    return None


class Channel:
    """A connected stream socket on a loop. `clock` and `write_timeout` say how long a peer may take nothing."""

    __slots__ = (
        "is_broken", "is_reading", "held", "queued", "stalls_at", "_socket", "_descriptor", "_loop", "_receive", "_send", "_queue",
        "_on_readable", "_on_drained", "_write_timeout", "_most_unsent", "_context",
    )  # fmt: skip

    def __init__(
        self, sock: socket.SocketType, loop: asyncio.AbstractEventLoop,
        on_readable: Callable[[], object], on_drained: Callable[[], object], write_timeout: float,
    ) -> None:
        self.is_broken = False
        """The peer is gone, or the channel is closed: nothing can be written any more."""
        self.is_reading = False
        self.held = b""
        """What leaves with the next write, or with `release`."""
        self.queued = 0
        """Octets that wait for the peer to take others."""
        self.stalls_at = NEVER
        """When the peer, taking nothing, is to be given up; NEVER while nothing waits."""
        self._socket = sock
        self._descriptor = sock.fileno()
        self._loop = loop
        self._receive = sock.recv
        self._send = sock.send
        self._queue: deque[bytes | memoryview] | None = None
        self._on_readable = on_readable
        self._on_drained = on_drained
        self._write_timeout = write_timeout
        self._context = copy_context()

    # ── reading ──

    def read(self, most: int = READ_SIZE) -> bytes | None:
        """What has come, at most so much; None when there is nothing, b"" when nothing will come any more."""
        try:
            return self._receive(most)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self.is_broken = True
            return b""

    def has_unread_end(self) -> bool:
        """Nothing is read, and the peer has sent its end, perhaps behind what waits in the kernel. Linux alone tells."""
        if self.is_reading or sys.platform != "linux":
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLRDHUP)
        return bool(poll.poll(0))

    def start_reading(self) -> None:
        """Have `on_readable` called while there is something to read."""
        if not self.is_reading and not self.is_broken:
            self.is_reading = True
            # Not in the caller's context, which may be an app's: an idle connection would keep all that was in it.
            self._context.run(self._loop.add_reader, self._descriptor, self._on_readable)

    def stop_reading(self) -> None:
        """Leave what comes in the kernel, whose window then slows the peer down."""
        if self.is_reading:
            self.is_reading = False
            self._loop.remove_reader(self._descriptor)

    def hand_over(self, on_readable: Callable[[], object] = _nothing, on_drained: Callable[[], object] = _nothing) -> None:
        """Somebody else owns it from now on: another protocol is spoken. Nothing is being read at that moment.

        Without callbacks nobody does: the owner and the channel name each other, and after that no collector is needed.
        """
        self.stop_reading()
        self._on_readable = on_readable
        self._on_drained = on_drained

    # ── writing ──

    @property
    def is_full(self) -> bool:
        """More waits than should: the writer ought to wait for `on_drained`, which what is held does not bring."""
        return self.queued > HIGH_WATER and not self.held

    def write(self, parts: list[bytes], is_last: bool = False) -> None:
        """Send `parts` in order, now as far as the socket takes them, the rest when it can.

        `is_last`: the end of the connection, or of our half of it, follows at once.
        """
        if self.is_broken:
            return
        if self.held:
            parts = [self.held, *parts]
            self.held = b""
            self.queued = 0
        if self._queue is not None:
            self._queue.extend(parts)
            self.queued += sum(map(len, parts))
            return
        is_single = len(parts) == 1
        size = len(parts[0]) if is_single else sum(map(len, parts))
        try:
            flags = _MORE if is_last else 0
            sent = self._send(parts[0], flags) if is_single else _send_parts(self._socket, parts, flags)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.is_broken = True
            return
        if sent != size:
            self._wait_for_room(parts, sent)

    def hold(self, octets: bytes) -> None:
        """Write them, but let them leave with what follows, at `release` at the latest. What waits anyhow is not held."""
        if self._queue is not None or len(self.held) > MOST_HELD:
            # As they are: a channel that encrypts has done so.
            Channel.write(self, [octets])
        else:
            self.held += octets
            self.queued = len(self.held)

    def release(self) -> None:
        """Send what is held."""
        held = self.held
        if not held or self.is_broken:
            return
        self.held = b""
        self.queued = 0
        try:
            sent = self._send(held)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.is_broken = True
            return
        if sent != len(held):
            self._wait_for_room([held], sent)

    def trust(self) -> None:
        """The peer takes what waits: let the kernel hold more for it. Messages of 1 MiB then leave in a third of the calls."""
        _limit_unsent(self._socket, MOST_FOR_READERS)

    # ── a file, sent by the kernel ──

    @property
    def sends_files(self) -> bool:
        """`send_file` can be used."""
        return hasattr(os, "sendfile")

    def send_file(self, descriptor: int, offset: int, count: int) -> int:
        """Have the kernel send octets of a file: how many it took. OSError as of os.sendfile. Nothing may be queued."""
        sent = os.sendfile(self._descriptor, descriptor, offset, count)
        if self.stalls_at is not NEVER:
            self.stalls_at = self._loop.time() + self._write_timeout
        return sent

    def lend(self, on_writable: Callable[[], object]) -> None:
        """Until `take_back`, have `on_writable` called while the peer takes more. Nothing may be written meanwhile."""
        self._queue = deque()
        self.stalls_at = self._loop.time() + self._write_timeout
        # What the kernel takes of a file costs it no copy: let it take much, and ask for more half as often.
        self._most_unsent = _limit_unsent(self._socket, 0)
        self._loop.add_writer(self._descriptor, on_writable)

    def take_back(self) -> None:
        """What was lent is ours again. Nothing happens when the channel was closed meanwhile."""
        if self._queue is not None:
            _limit_unsent(self._socket, self._most_unsent)
            self._settle(self._queue)

    # ── the end ──

    def say_goodbye(self) -> bool:
        """Tell the peer, in the words of what is spoken below us, that nothing more will be written; False while that waits."""
        return True

    def finish(self) -> None:
        """Tell the peer that nothing more will be sent (FIN); what it sends can still be read."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.is_broken = True

    def end_by_reset(self) -> None:
        """Have `close` tell the peer an error (RST), not an end: what it got is not whole."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)

    def close(self) -> None:
        """Let the socket go; what is held or queued is lost. Safe to call again."""
        self.hand_over()
        if self._queue is not None:
            self._loop.remove_writer(self._descriptor)
        self._queue = None
        self.queued = 0
        self.stalls_at = NEVER
        self.is_broken = True
        self._socket.close()

    def _wait_for_room(self, parts: list[bytes], sent: int) -> None:
        """What the socket refused of `parts` waits."""
        self._queue = deque(_rest(parts, sent))
        self.queued = sum(map(len, self._queue))
        self.stalls_at = self._loop.time() + self._write_timeout
        self._loop.add_writer(self._descriptor, self._flush)

    def _flush(self) -> None:
        """Send from the queue: the socket takes octets again."""
        queue = self._queue
        if queue is None:
            return
        try:
            while queue:
                parts = [queue.popleft() for _ in range(min(len(queue), _MAX_PARTS))]
                sent = _send_parts(self._socket, parts)
                self.queued -= sent
                left = _rest(parts, sent)
                queue.extendleft(reversed(left))
                if left:
                    break
        except (BlockingIOError, InterruptedError):
            queue.extendleft(reversed(parts))
        except OSError:
            self.is_broken = True
            queue.clear()
        self._settle(queue)

    def _settle(self, queue: deque[bytes | memoryview]) -> None:
        """After a flush: wait on, or tell the owner that there is room."""
        if queue:
            self.stalls_at = self._loop.time() + self._write_timeout
        else:
            self._queue = None
            self.queued = 0
            self.stalls_at = NEVER
            self._loop.remove_writer(self._descriptor)
        if self.queued <= LOW_WATER:
            self._on_drained()


def _send_parts(sock: socket.SocketType, parts: list[bytes] | list[bytes | memoryview], flags: int = 0) -> int:
    """Send several parts in one call; Windows' Python has no sendmsg, so they are joined there."""
    if not parts:
        return 0
    if hasattr(sock, "sendmsg"):
        return sock.sendmsg(parts, (), flags)
    return sock.send(b"".join(parts), flags)


def _limit_unsent(sock: socket.SocketType, most: int) -> int:
    """Let the kernel hold `most` octets that cannot be sent yet, 0 for its own choice; what it was. Linux alone has a limit."""
    if sys.platform != "linux":
        return 0
    try:
        before = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, most)
    except OSError:
        # A Unix socket has none; neither has one that is gone.
        return 0
    return before


def _rest(parts: list[bytes] | list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """What is left of `parts` after `sent` octets of them; a cut part is a view, not a copy."""
    for place, part in enumerate(parts):
        if sent < len(part):
            return [memoryview(part)[sent:] if sent else part, *parts[place + 1 :]]
        sent -= len(part)
    return []
