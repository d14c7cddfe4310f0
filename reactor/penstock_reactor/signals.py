"""Signals as ordinary callbacks, on POSIX and Windows.

The interpreter's C-level handler writes a byte to the poller's bell (`signal.set_wakeup_fd`) and so ends the wait; the
Python-level handler, which then runs in the main thread, puts the callback into the ready queue. The byte itself
means nothing: so no signal is lost when the bell is full, and a forked child that still shares the bell cannot make
its parent believe that a signal came.

On Windows a wait is not ended by Ctrl+C at all unless the bell is set, so there it is set while the loop runs, handlers
or not. On POSIX a loop without handlers leaves the wake-up descriptor alone.
"""

import asyncio
import contextlib
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

from .debugging import check_callback
from .poller import Poller

# Without the bell, does Ctrl+C leave a wait asleep?
NEEDS_BELL = sys.platform == "win32"


class Signals:
    """The signal handlers of one loop, and its claim on the interpreter's wake-up descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller, needs_bell: bool = NEEDS_BELL) -> None:
        self._loop = loop
        self._poller = poller
        self._needs_bell = needs_bell
        self._handles: dict[int, asyncio.Handle] = {}
        # Whose wake-up descriptor ours displaced; None while ours is not set.
        self._displaced: int | None = None

    def add(self, number: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call `callback(*args)` on the loop whenever the signal comes; replaces the handler there was.

        TypeError for coroutines and for what is no signal number, ValueError for a number out of range,
        RuntimeError outside the main thread and for signals that cannot be caught.
        """
        check_callback(callback, "add_signal_handler")
        _check_number(number)
        self._set_bell()
        try:
            signal.signal(number, self._arrived)
            if hasattr(signal, "siginterrupt"):
                # System calls of other code need not fail with EINTR because of us.
                signal.siginterrupt(number, False)
        except (OSError, ValueError) as error:
            self._unset_bell()
            raise RuntimeError(f"sig {number} cannot be caught") from error
        self._handles[number] = asyncio.Handle(callback, args, self._loop)

    def remove(self, number: int) -> bool:
        """Back to the system's own handling; False when there was no handler."""
        _check_number(number)
        if self._handles.pop(number, None) is None:
            return False
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
        self._unset_bell()
        return True

    def enter(self) -> None:
        """The loop begins to run: where only the bell ends a wait on Ctrl+C, set it."""
        if self._needs_bell and threading.current_thread() is threading.main_thread():
            self._set_bell()

    def leave(self) -> None:
        """The loop has stopped."""
        if self._needs_bell:
            self._unset_bell()

    def close(self) -> None:
        """Take every handler away; RuntimeError when there is one and this is not the main thread."""
        if self._handles and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a loop with signal handlers must be closed in the main thread")
        for number in list(self._handles):
            self.remove(number)

    def _arrived(self, number: int, _frame: object) -> None:
        self._loop.call_soon_threadsafe(self._run, number)

    def _run(self, number: int) -> None:
        # Whoever handles it by now: what has come is not lost when a handler is replaced.
        handle = self._handles.get(number)
        if handle is not None:
            handle._run()

    def _set_bell(self) -> None:
        if self._displaced is not None:
            return
        try:
            self._displaced = signal.set_wakeup_fd(self._poller.bell_fd, warn_on_full_buffer=False)
        except (ValueError, OSError) as error:
            raise RuntimeError(str(error)) from error
        _claimants.add(self)

    def _unset_bell(self) -> None:
        still_needed = self._handles or (self._needs_bell and self._loop.is_running())
        if self._displaced is None or still_needed:
            return
        own, displaced, self._displaced = self._poller.bell_fd, self._displaced, None
        _claimants.discard(self)
        for other in _claimants:
            if other._displaced == own:
                other._displaced = displaced
        current = signal.set_wakeup_fd(-1)
        # If ours was displaced in its turn, it is not for us to change that. What we displaced may be closed by now.
        with contextlib.suppress(OSError):
            signal.set_wakeup_fd(displaced if current == own else current)


# Whose bells are set: one may go before another that displaced its bell, and its number may soon mean another file.
_claimants: "weakref.WeakSet[Signals]" = weakref.WeakSet()


def _check_number(number: int) -> None:
    if not isinstance(number, int):
        raise TypeError(f"sig must be an int, not {number!r}")
    if number not in signal.valid_signals():
        raise ValueError(f"invalid signal number {number}")
