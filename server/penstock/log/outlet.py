"""Outlet: a standard stream, written by a thread of its own, so that nobody who logs waits for its reader.

What is put waits in memory, up to a bound; beyond it lines are dropped and counted, and the count stands in the log as
soon as the reader goes on. The thread is woken only out of its rest. After each write it lets more gather for a moment:
a busy server wakes it twenty times a second and not once a request, which would cost more than the line.

It writes to the descriptor, past the stream's buffer: a thread that hangs in there would hold its lock, and the
interpreter could not end. A reader that has gone is nobody's failure.
"""

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO
from weakref import WeakSet

MOST_WAITING = 1 << 20
"""Characters that wait for the reader at most."""

INTERVAL = 0.05
"""Seconds between two writes, at least."""

PATIENCE = 1.0
"""Seconds a reader gets, at the end, for what still waits."""

_IN_ONE_PIECE: int = getattr(select, "PIPE_BUF", 4096)
"""Octets that the system writes to a pipe with nobody else's among them (PIPE_BUF of POSIX)."""


class Outlet:
    """Lines on their way to `stream`. `tell_drops` makes the line that says how many are missing."""

    def __init__(self, stream: TextIO, tell_drops: Callable[[int], str]) -> None:
        self._stream = stream
        self._tell_drops = tell_drops
        self._is_closed = False
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        """With no line, no thread and no lock that anybody holds: at first, and again in a forked child."""
        self._lines: deque[str] = deque()
        # Characters put and written: two counters, so that each has one writer and none needs a lock.
        self._put = 0
        self._written = 0
        self._dropped = 0
        self._is_resting = True
        self._stuck_at = -1
        self._wake = threading.Event()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    def put(self, line: str) -> None:
        """Have `line` written, or count it as dropped. From any thread; never waits."""
        if self._put - self._written > MOST_WAITING:
            self._dropped += 1
            return
        self._lines.append(line)
        self._put += len(line)
        if self._is_resting:
            self._rouse()

    def flush(self, patience: float = PATIENCE) -> None:
        """Wait until all that was put is written, `patience` seconds at most."""
        if self._thread is None or not self._thread.is_alive():
            self._write_waiting()
            return
        aim = self._put
        # Who did not read a second ago is not waited for again.
        if self._written == self._stuck_at:
            return
        with self._news:
            self._wake.set()
            if not self._news.wait_for(lambda: self._written >= aim, patience):
                self._stuck_at = self._written

    def close(self) -> None:
        """Write what waits and end the thread, within the same bound; what is put later is written at once."""
        self._is_closed = True
        self.flush()
        self._wake.set()

    def _rouse(self) -> None:
        """The thread rests, or there is none yet, or (at the interpreter's end) none any more."""
        # What the application has printed comes first, and does not wait for its buffer to fill. Not in the other thread,
        # which might do it in the midst of a line.
        with suppress(OSError, ValueError):
            self._stream.flush()
        with self._news:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="penstock log", daemon=True)
                try:
                    if self._is_closed:
                        raise RuntimeError("closed")
                    self._thread.start()
                except RuntimeError:
                    self._write_waiting()
        self._wake.set()

    def _run(self) -> None:
        while not (self._is_closed and not self._lines):
            if self._lines or self._dropped:
                self._is_resting = False
                self._write_waiting()
                self._wake.wait(INTERVAL)
            else:
                self._is_resting = True
                # Whoever put a line before this word has not roused the thread.
                if not self._lines and not self._is_closed:
                    self._wake.wait()
            self._wake.clear()
        self._is_resting = True

    def _write_waiting(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        text = "\n".join([*lines, ""])
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            text += self._tell_drops(dropped) + "\n"
        # A full disk or a closed stream costs lines, not requests.
        with suppress(OSError, ValueError):
            try:
                _write(self._stream, text)
            except BrokenPipeError:
                _give_up(self._stream)
        with self._news:
            self._written += sum(map(len, lines))
            self._news.notify_all()


_all: WeakSet[Outlet] = WeakSet()

if hasattr(os, "register_at_fork"):
    # The thread stays with the parent, which also writes what waits.
    os.register_at_fork(after_in_child=lambda: list(map(Outlet._begin, _all)))


def _write(stream: TextIO, text: str) -> None:
    descriptor = -1  # a stream in memory has none
    with suppress(OSError, AttributeError):
        # The console of Windows speaks no UTF-8 through its descriptor.
        if sys.platform != "win32" or not stream.isatty():
            descriptor = stream.fileno()
    if descriptor < 0:
        stream.write(text)
        stream.flush()
        return
    octets = text.encode(stream.encoding or "utf-8", "backslashreplace")
    done = 0
    while done < len(octets):
        # Whole lines, since other workers write to the same pipe.
        end = octets.rfind(b"\n", done, done + _IN_ONE_PIECE) + 1 or octets.find(b"\n", done) + 1 or len(octets)
        try:
            done += os.write(descriptor, octets[done:end])
        except BlockingIOError:
            # Others have the stream, too, and one of them does not want to wait for its reader. This thread does.
            select.select((), (descriptor,), ())


def _give_up(stream: TextIO) -> None:
    # `penstock app | head`: what still waits in the stream would fail again when the program ends.
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
