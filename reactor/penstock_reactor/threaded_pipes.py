"""Pipes over threads: for systems whose poller takes sockets only (Windows), and for files no poller takes.

One thread per end does the blocking reads or writes and tells the loop by `call_soon_threadsafe`; everything the
protocol hears happens on the loop's own thread. A reading thread hands over one chunk and waits until it was taken,
so a paused protocol stops it and memory stays bounded.

A thread inside a blocking read cannot be called back. Closing such an end tells the protocol at once; the thread
closes the file itself when it comes out, because closing it from here would wait for the read on Windows and could
hit a reused descriptor elsewhere. The threads are daemons: they never hold up the end of the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from .contract import ReactorLoop
from .flow import WriteLimits
from .pipes import READ_BYTES, PipeTransport, State

# Written in pieces, so that an abort is noticed and the loop hears of progress.
WRITE_BYTES = 64 * 1024


class _ThreadedTransport(PipeTransport):
    """A pipe end whose file belongs to a thread once that has started."""

    _thread: threading.Thread | None = None

    def _begin(self) -> None:
        name = f"penstock-pipe-{self._fd}"
        thread = threading.Thread(target=self._work, args=(self._pipe, self._fd), name=name, daemon=True)
        thread.start()
        self._thread = thread

    def _work(self, pipe: Any, fd: int) -> None:
        """In the thread, until the end. The file is its own: the loop may have let go of it already."""
        raise NotImplementedError

    def _post(self, callback: Callable[..., object], *args: Any) -> bool:
        """From the thread: run `callback` on the loop; False when the loop is gone."""
        try:
            self._loop.call_soon_threadsafe(callback, *args, context=self._context)
        except RuntimeError:
            return False
        return True

    def _close_file(self, pipe: Any) -> None:
        if self._thread is None:
            pipe.close()


class ThreadedReadPipeTransport(_ThreadedTransport, asyncio.ReadTransport):
    """The reading end."""

    def __init__(self, loop: ReactorLoop, pipe: Any, protocol: Any, context: contextvars.Context) -> None:
        super().__init__(loop, pipe, protocol, context)
        self._is_paused = False
        # The chunk that came while paused; None when there is none, b"" is the end.
        self._held: bytes | None = None
        self._taken = threading.Semaphore(0)

    def is_reading(self) -> bool:
        return self._state is State.OPEN and not self._is_paused

    def pause_reading(self) -> None:
        if self._state is State.OPEN:
            self._is_paused = True

    def resume_reading(self) -> None:
        if self._state is State.OPEN and self._is_paused:
            self._is_paused = False
            if self._held is not None:
                self._loop.call_soon(self._deliver_held, context=self._context)

    def close(self) -> None:
        self._lose(None)

    def _work(self, pipe: Any, fd: int) -> None:
        try:
            data = b"?"
            while data and self._state is State.OPEN:
                data = os.read(fd, READ_BYTES)
                if not self._post(self._deliver, data):
                    break
                self._taken.acquire()
        except OSError as exc:
            self._post(self._fail, exc, "Fatal read error on pipe transport")
        finally:
            pipe.close()

    def _deliver(self, data: bytes) -> None:
        if self._state is not State.OPEN:
            self._taken.release()
        elif self._is_paused:
            self._held = data
        elif data:
            self._taken.release()
            self._protocol.data_received(data)
        else:
            self._loop.call_soon(self._protocol.eof_received, context=self._context)
            self._lose(None)

    def _deliver_held(self) -> None:
        data, self._held = self._held, None
        if data is not None:
            self._deliver(data)

    def _let_go(self) -> None:
        self._held = None
        self._taken.release()


class ThreadedWritePipeTransport(WriteLimits, _ThreadedTransport, asyncio.WriteTransport):
    """The writing end."""

    def __init__(self, loop: ReactorLoop, pipe: Any, protocol: Any, context: contextvars.Context) -> None:
        super().__init__(loop, pipe, protocol, context)
        self._waiting = 0
        # None ends the thread.
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def get_write_buffer_size(self) -> int:
        return self._waiting

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Give the data to the thread; dropped once the other end is gone or the transport is closing."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        chunk = bytes(data)
        if not chunk or self._state is not State.OPEN:
            return
        self._waiting += len(chunk)
        self._queue.put(chunk)
        self._pause_if_full(self._waiting)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Write out what waits, then close: a pipe has no other way to say "end"."""
        if self._state is not State.OPEN:
            return
        self._state = State.CLOSING
        self._queue.put(None)
        if self._thread is None and self._waiting:
            # Written and closed within connection_made. Without a thread for it nothing leaves.
            with contextlib.suppress(RuntimeError):
                self._begin()
        if self._thread is None:
            self._lose(None)

    def close(self) -> None:
        self.write_eof()

    def abort(self) -> None:
        """Drop what waits and close as soon as the thread lets go."""
        self._lose(None)

    def _work(self, pipe: Any, fd: int) -> None:
        try:
            while (chunk := self._queue.get()) is not None:
                self._write_out(fd, chunk)
            self._post(self._lose, None)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                # So Windows says that nobody reads any more; callers look for the POSIX error.
                exc = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self._post(self._fail, exc, "Fatal write error on pipe transport")
        finally:
            pipe.close()

    def _write_out(self, fd: int, chunk: bytes) -> None:
        with memoryview(chunk) as view:
            done = 0
            while done < len(view) and self._state is not State.LOST:
                written = os.write(fd, view[done : done + WRITE_BYTES])
                done += written
                self._post(self._note_written, written)

    def _note_written(self, written: int) -> None:
        if self._state is not State.LOST:
            self._waiting -= written
            self._resume_if_drained(self._waiting)

    def _let_go(self) -> None:
        self._waiting = 0
        self._queue.put(None)
