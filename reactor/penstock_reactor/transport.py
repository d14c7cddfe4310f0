"""A connected stream socket (TCP or UNIX) as an asyncio transport.

The poller calls the reader below, which reads once and hands the bytes to the protocol in that very turn. The sending half is
`sending.py`. Every end of a connection runs through `_lose`, which makes sure that `connection_lost` comes
once, from the ready queue, and last.

A read asks for 65 KiB: malloc serves that from its heap, while asking for twice as much goes through mmap and costs 10 µs a
read. Only a read that was filled makes the next one ask for more: then there is a stream of bytes, and turns cost more.
Pausing only notes the wish; the poller is told when an event shows that it was meant, so a short pause costs no system call.
The protocol is called in a copy of the context in which the connection was made: what one sets, no other sees.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import functools
import socket
import warnings
from asyncio.constants import _SendfileMode
from asyncio.log import logger
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Any

from .contract import ReactorLoop
from .readiness import name_or_none
from .reports import transport_failed
from .sending import Sending, Writing

# 64 KiB, a usual size of blocks, and 1 KiB for what frames them: TLS records, chunk sizes.
RECV_BYTES = 65 * 1024
STREAM_RECV_BYTES = 256 * 1024
ASK_THE_SOCKET = object()


class Reading(enum.Enum):
    ON = enum.auto()
    PAUSED = enum.auto()  # not started, or the protocol wants nothing now
    ENDED = enum.auto()  # the peer said all, or we are closing


# On the hot path a global is found faster than an enum's member.
ON = Reading.ON


class SocketTransport(Sending, asyncio.Transport):
    """A connected, non-blocking `sock`, which belongs to the transport from here on; `start` it once.

    `peername` spares a system call where accept() has told it; `server` hears of the beginning and the end.
    """

    _start_tls_compatible = True
    _sendfile_compatible = _SendfileMode.TRY_NATIVE

    def __init__(
        self, loop: ReactorLoop, sock: socket.socket, protocol: Any, *, peername: Any = ASK_THE_SOCKET, server: Any = None
    ) -> None:
        if peername is ASK_THE_SOCKET:
            peername = name_or_none(sock.getpeername)
        super().__init__()
        self._names = {"sockname": name_or_none(sock.getsockname), "peername": peername}
        self._loop = loop
        self._poller = loop._poller
        self._sock = sock
        self._fd = sock.fileno()
        self._context = contextvars.copy_context()
        self._server = server
        self._reading = Reading.PAUSED
        self._recv_bytes = RECV_BYTES
        self._is_watched = False
        self._is_closing = False
        self._start_sending()
        self.set_protocol(protocol)
        loop._transports[self._fd] = self

    def start(self) -> None:
        """Tell the protocol that it is connected, then begin to read."""
        _send_small_writes_at_once(self._sock)
        if self._server is not None:
            self._server._attach(self)
        # Set first: the protocol may pause in connection_made.
        self._reading = ON
        try:
            self._context.run(self._protocol.connection_made, self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Fatal error: protocol.connection_made() call failed.")
        if self._reading is ON:
            self._watch()

    def __repr__(self) -> str:
        if self._writing is Writing.CLOSED:
            return f"<{type(self).__name__} closed>"
        state = "closing" if self._is_closing else "open"
        reading = "polling" if self._is_watched else "idle"
        writing = "polling" if self._queue else "idle"
        return (
            f"<{type(self).__name__} {state} fd={self._fd} read={reading} "
            f"write=<{writing}, bufsize={self._queued_bytes}>>"
        )

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._writing is not Writing.CLOSED:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._sock.close()
            if self._server is not None:
                self._server._detach(self)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """socket, sockname or peername."""
        if name == "socket" and name not in self._names:
            # Made when first asked for, and the same ever after: callers compare it.
            self._names[name] = TransportSocket(self._sock)
        return self._names.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        """Switch protocols, also between Protocol and BufferedProtocol, also while reading."""
        self._protocol = protocol
        self._is_buffered = isinstance(protocol, asyncio.BufferedProtocol)
        if self._is_watched:
            self._watch()

    def get_protocol(self) -> Any:
        """The protocol; None once the connection is lost."""
        return self._protocol

    def is_closing(self) -> bool:
        """True from close(), abort() or a failure on."""
        return self._is_closing

    def close(self) -> None:
        """Stop reading, let the queue leave, then connection_lost(None)."""
        if self._is_closing:
            return
        self._is_closing = True
        self._end_reading()
        if not self._queue:
            self._lose(None)

    def abort(self) -> None:
        """Drop what waits, then connection_lost(None)."""
        self._lose(None)

    # Reading.

    def is_reading(self) -> bool:
        """True while bytes may be handed to the protocol."""
        return self._reading is ON

    def pause_reading(self) -> None:
        """Hand nothing more to the protocol until resume_reading()."""
        if self._reading is ON:
            self._reading = Reading.PAUSED

    def resume_reading(self) -> None:
        """Take up reading again."""
        if self._reading is Reading.PAUSED:
            self._reading = ON
            if not self._is_watched:
                self._watch()

    def _read(self) -> None:
        if self._reading is not ON:
            self._unwatch()
            return
        try:
            data = self._sock.recv(self._recv_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._fail(exc, "Fatal read error on socket transport")
            return
        if len(data) >= RECV_BYTES:
            self._recv_bytes = STREAM_RECV_BYTES
        elif not data:
            self._on_end()
            return
        else:
            self._recv_bytes = RECV_BYTES
        try:
            self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Fatal error: protocol.data_received() call failed.")

    def _read_into_protocol(self) -> None:
        if self._reading is not ON:
            self._unwatch()
            return
        failure = "Fatal error: protocol.get_buffer() call failed."
        try:
            buffer = self._protocol.get_buffer(-1)
            if not len(buffer):
                raise RuntimeError("get_buffer() returned an empty buffer")
            failure = "Fatal read error on socket transport"
            count = self._sock.recv_into(buffer)
            failure = "Fatal error: protocol.buffer_updated() call failed."
            if count:
                self._protocol.buffer_updated(count)
        except (BlockingIOError, InterruptedError):
            return
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, failure)
            return
        if not count:
            self._on_end()

    def _on_end(self) -> None:
        if self._loop.get_debug():
            logger.debug("%r received EOF", self)
        try:
            keeps_open = self._protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._fail(exc, "Fatal error: protocol.eof_received() call failed.")
            return
        if keeps_open:
            self._end_reading()
        else:
            self.close()

    def _watch(self) -> None:
        reader = self._read_into_protocol if self._is_buffered else self._read
        try:
            self._poller.watch_reader(self._fd, functools.partial(self._context.run, reader))
        except OSError as exc:
            self._fail(exc, "Fatal error: the socket cannot be polled")
        else:
            self._is_watched = True

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._poller.unwatch_reader(self._fd)

    def _end_reading(self) -> None:
        self._reading = Reading.ENDED
        self._unwatch()

    # The end.

    def _fail(self, exc: BaseException, message: str) -> None:
        """Report what broke and lose the connection."""
        transport_failed(self._loop, self, exc, message)
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        """From here nothing is read or sent; the protocol is told from the ready queue. Again is harmless."""
        if self._writing in (Writing.LOST, Writing.CLOSED):
            return
        self._is_closing = True
        self._writing = Writing.LOST
        self._end_reading()
        self._drop_queue()
        self._loop.call_soon(self._tell_lost, exc, context=self._context)

    def _tell_lost(self, exc: BaseException | None) -> None:
        try:
            self._protocol.connection_lost(exc)
        finally:
            self._writing = Writing.CLOSED
            self._sock.close()
            self._protocol = None  # the protocol usually has us: break the cycle
            if self._server is not None:
                self._server._detach(self)
                self._server = None


def _send_small_writes_at_once(sock: socket.socket) -> None:
    """Switch Nagle's algorithm off: it holds a small write back until the last one is acknowledged."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        # No TCP. Or the peer has gone already (macOS: EINVAL); reading will tell.
        pass
