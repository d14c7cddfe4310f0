"""Pipes: one end of a pipe, a FIFO, a socket or a terminal as an asyncio transport, driven by the poller.

A read end calls the protocol straight from the readable event. A write end writes at once and queues only what the pipe
refuses. It is also watched for reading, though nothing can be read there: that is how the system says that the
other end was closed, which a writer with nothing to write would else never learn.
The protocol's calls run in a copy of the context in which the transport was made.

For systems whose poller takes sockets only, `threaded_pipes.py` has the same transports over threads; what both share is
`PipeTransport`. `pipe_ends.py` says which are used.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import functools
import os
import stat
import sys
import warnings
from asyncio.log import logger
from collections.abc import Callable
from typing import Any

from .contract import ReactorLoop
from .flow import WriteLimits
from .reports import transport_failed

# What a Linux pipe holds, and below malloc's mmap threshold.
READ_BYTES = 64 * 1024
WARN_AFTER_DROPS = 5


class State(enum.Enum):
    OPEN = enum.auto()
    CLOSING = enum.auto()  # writes out what waits, takes nothing new
    LOST = enum.auto()


class PipeTransport(asyncio.BaseTransport):
    """What every pipe end has: a file object that it owns, a protocol, and one way to end."""

    _pipe: Any = None

    def __init__(self, loop: ReactorLoop, pipe: Any, protocol: Any, context: contextvars.Context) -> None:
        super().__init__({"pipe": pipe})
        self._loop = loop
        self._context = context
        self._pipe = pipe
        self._fd: int = pipe.fileno()
        self._protocol = protocol
        self._state = State.OPEN

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._fd} {self._state.name.lower()}>"

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._pipe is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._pipe.close()

    def begin(self) -> None:
        """Start to work, unless closed already; raises when this file cannot be watched. Called once."""
        if self._state is State.OPEN:
            self._begin()

    def _begin(self) -> None:
        raise NotImplementedError

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._state is not State.OPEN

    def _fail(self, exc: BaseException, message: str) -> None:
        """Report what broke and end."""
        transport_failed(self._loop, self, exc, message)
        self._lose(exc)

    def _lose(self, exc: BaseException | None) -> None:
        if self._state is State.LOST:
            return
        self._state = State.LOST
        self._let_go()
        self._loop.call_soon(self._tell_lost, exc, context=self._context)

    def _let_go(self) -> None:
        raise NotImplementedError

    def _tell_lost(self, exc: BaseException | None) -> None:
        protocol, pipe = self._protocol, self._pipe
        try:
            protocol.connection_lost(exc)
        finally:
            # Break the cycle transport <-> protocol.
            self._protocol = self._pipe = None
            self._close_file(pipe)

    def _close_file(self, pipe: Any) -> None:
        pipe.close()

    def _in_context(self, callback: Callable[[], None]) -> Callable[[], object]:
        return functools.partial(self._context.run, callback)


class ReadPipeTransport(PipeTransport, asyncio.ReadTransport):
    """The reading end."""

    _is_paused = False

    def __init__(self, loop: ReactorLoop, pipe: Any, protocol: Any, context: contextvars.Context) -> None:
        _check_mode(pipe)
        super().__init__(loop, pipe, protocol, context)
        os.set_blocking(self._fd, False)

    def _begin(self) -> None:
        if not self._is_paused:
            self._loop._poller.watch_reader(self._fd, self._in_context(self._on_readable))

    def is_reading(self) -> bool:
        return self._state is State.OPEN and not self._is_paused

    def pause_reading(self) -> None:
        if self.is_reading():
            self._is_paused = True
            self._loop._poller.unwatch_reader(self._fd)

    def resume_reading(self) -> None:
        if self._state is State.OPEN and self._is_paused:
            self._is_paused = False
            self._loop._poller.watch_reader(self._fd, self._in_context(self._on_readable))

    def close(self) -> None:
        self._lose(None)

    def _on_readable(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._fail(exc, "Fatal read error on pipe transport")
            return
        if data:
            self._protocol.data_received(data)
            return
        if self._loop.get_debug():
            logger.info("%r was closed by peer", self)
        # In this order, but not in this call: eof_received may raise.
        self._loop.call_soon(self._protocol.eof_received, context=self._context)
        self._lose(None)

    def _let_go(self) -> None:
        self._loop._poller.unwatch_reader(self._fd)


class WritePipeTransport(WriteLimits, PipeTransport, asyncio.WriteTransport):
    """The writing end."""

    def __init__(self, loop: ReactorLoop, pipe: Any, protocol: Any, context: contextvars.Context) -> None:
        mode = _check_mode(pipe)
        super().__init__(loop, pipe, protocol, context)
        os.set_blocking(self._fd, False)
        # A terminal may be open for reading as well, and AIX reports its FIFOs readable for no reason.
        self._tells_hangup = stat.S_ISSOCK(mode) or (stat.S_ISFIFO(mode) and not sys.platform.startswith("aix"))
        self._buffer = bytearray()
        self._drops = 0

    def _begin(self) -> None:
        if self._tells_hangup:
            self._loop._poller.watch_reader(self._fd, self._in_context(self._on_hangup))

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write now or queue; dropped once the other end is gone or the transport is closing."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if isinstance(data, memoryview):
            data = data.cast("B")
        if not data:
            return
        if self._state is not State.OPEN:
            self._note_drop()
            return
        if not self._buffer:
            try:
                written = os.write(self._fd, data)
            except (BlockingIOError, InterruptedError):
                written = 0
            except OSError as exc:
                self._drops += 1
                self._fail(exc, "Fatal write error on pipe transport")
                return
            if written == len(data):
                return
            data = memoryview(data)[written:]
            self._loop._poller.watch_writer(self._fd, self._in_context(self._on_writable))
        self._buffer += data
        self._pause_if_full(len(self._buffer))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Write out what waits, then close: a pipe has no other way to say "end"."""
        if self._state is not State.OPEN:
            return
        self._state = State.CLOSING
        if not self._buffer:
            self._lose(None)

    def close(self) -> None:
        self.write_eof()

    def abort(self) -> None:
        """Drop what waits and close now."""
        self._lose(None)

    def _on_writable(self) -> None:
        try:
            written = os.write(self._fd, self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._drops += 1
            self._fail(exc, "Fatal write error on pipe transport")
            return
        del self._buffer[:written]
        if not self._buffer:
            self._loop._poller.unwatch_writer(self._fd)
        self._resume_if_drained(len(self._buffer))  # the protocol may write more
        if not self._buffer and self._state is State.CLOSING:
            self._lose(None)

    def _on_hangup(self) -> None:
        if self._loop.get_debug():
            logger.info("%r was closed by peer", self)
        self._lose(BrokenPipeError() if self._buffer else None)

    def _note_drop(self) -> None:
        self._drops += 1
        if self._drops == WARN_AFTER_DROPS:
            logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")

    def _let_go(self) -> None:
        self._buffer.clear()
        self._loop._poller.unwatch_reader(self._fd)
        self._loop._poller.unwatch_writer(self._fd)


def _check_mode(pipe: Any) -> int:
    mode = os.fstat(pipe.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
        raise ValueError("Pipe transport is only for pipes, sockets and character devices")
    return mode
