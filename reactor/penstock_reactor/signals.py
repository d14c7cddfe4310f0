"""Signals as ordinary callbacks, on POSIX and Windows.

The interpreter's C-level handler writes a byte to the poller's bell (`signal.set_wakeup_fd`) and so ends the wait; the
Python-level handler, which then runs in the main thread, puts the callback into the ready queue. The byte itself means
nothing: so no signal is lost when the bell is full, and a forked child that still shares the bell
cannot make its parent believe that a signal came.

On Windows a wait is not ended by Ctrl+C at all unless the bell is set, so there it is set while the loop runs, handlers
or not. On POSIX a loop without handlers leaves the wake-up descriptor alone.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from .debugging import check_callback
from .poller import Poller


class Signals:
    """The signal handlers of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller, always: bool = sys.platform == "win32") -> None:
        self._loop = loop
        self._poller = poller
        self._always = always
        self._numbers: set[int] = set()
        self._former_fd: int | None = None

    def add(self, number: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Call `callback(*args)` on the loop whenever the signal comes; replaces the handler there was.

        TypeError for coroutines and for what is no signal number, ValueError for a number out of range,
        RuntimeError outside the main thread and for signals that cannot be caught.
        """
        check_callback(callback, "add_signal_handler")
        _check_number(number)
        self._take_wakeup()
        handle = asyncio.Handle(callback, args, self._loop)

        def arrived(_number: int, _frame: object) -> None:
            self._loop.call_soon_threadsafe(handle._run)

        try:
            signal.signal(number, arrived)
            if hasattr(signal, "siginterrupt"):
                signal.siginterrupt(number, False)
        except (OSError, ValueError) as error:
            self._give_back_wakeup()
            raise RuntimeError(f"sig {number} cannot be caught") from error
        self._numbers.add(number)

    def remove(self, number: int) -> bool:
        """Back to the system's own handling; False when there was no handler."""
        _check_number(number)
        if number not in self._numbers:
            return False
        self._numbers.discard(number)
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
        self._give_back_wakeup()
        return True

    def enter(self) -> None:
        """The loop begins to run: where only the bell ends a wait on Ctrl+C, set it."""
        if self._always and threading.current_thread() is threading.main_thread():
            self._take_wakeup()

    def leave(self) -> None:
        """The loop has stopped."""
        if self._always and self._former_fd is not None:
            self._give_back_wakeup()

    def close(self) -> None:
        """Take every handler away."""
        for number in list(self._numbers):
            self.remove(number)

    def _take_wakeup(self) -> None:
        if self._former_fd is not None:
            return
        try:
            self._former_fd = signal.set_wakeup_fd(self._poller.bell_fd, warn_on_full_buffer=False)
        except (ValueError, OSError) as error:
            raise RuntimeError(str(error)) from error

    def _give_back_wakeup(self) -> None:
        if self._numbers or self._former_fd is None or (self._always and self._loop.is_running()):
            return
        former, self._former_fd = self._former_fd, None
        signal.set_wakeup_fd(former)


def _check_number(number: int) -> None:
    if not isinstance(number, int):
        raise TypeError(f"sig must be an int, not {number!r}")
    if number not in signal.valid_signals():
        raise ValueError(f"invalid signal number {number}")
