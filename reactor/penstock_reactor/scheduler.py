"""The scheduler: the heart of the loop, and `turn()` is its beat.

One turn is: how long may we sleep → wait for descriptors → run what was scheduled before the wait → call what the
wait found → move due timers to the ready queue. If nothing was scheduled before the wait, as in a server that only
waits for its sockets, then what the readers scheduled runs in the same turn: one wait for each round of work.

Whoever asked first is served first: a callback scheduled before the wait runs before the readers the wait found, and
readers come before timers, so that data which arrived in time is not taken for a timeout. What a callback
schedules runs in the next turn, so no chain of callbacks can starve the descriptors.

A callback's exception is reported and the turn goes on; only SystemExit and KeyboardInterrupt leave. Whatever
was not run then is still in the queue, or is reported again by the selector.

This is the hottest code of the package, so it calls little: it reads the fields of handles instead of calling
their methods. A turn with one callback costs 1.1 microseconds, half of it the selector's.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from . import debugging, reports
from .handles import ReadyQueue
from .poller import READ, WRITE, Poller
from .timers import Timers


class Scheduler:
    """The ready queue of one loop, and the turn that empties it."""

    __slots__ = ("ready", "timers", "poller", "stopping", "run_ready", "_loop", "_resolution")

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Poller, resolution: float) -> None:
        self.ready: ReadyQueue = deque()
        self.timers = Timers()
        self.poller = poller
        # The run ends after this turn, and this turn does not wait.
        self.stopping = False
        self.run_ready: Callable[[int], None] = self._run_ready
        self._loop = loop
        # A timer this close is due: the clock cannot tell the difference, and waiting again would spin.
        self._resolution = resolution

    def turn(self) -> None:
        """Wait for the first thing to do, do all there is to do, return."""
        ready, poller, timers = self.ready, self.poller, self.timers
        heap = timers.heap

        if poller.released:
            poller.let_go()

        # Say "asleep" before the last look at the queue: what a thread adds after that look rings the bell.
        timeout: float | None = 0
        if not ready and not self.stopping:
            poller.asleep = True
            if not ready:
                timeout = timers.wait_from(self._loop.time()) if heap else None
        events = poller.poll(timeout)
        poller.asleep = False

        if earlier := len(ready):
            self.run_ready(earlier)

        # A callback may empty a later watch, so look at each one at the moment of its call.
        watch: Any
        for watch, mask in events:
            try:
                if mask & READ and (callback := watch.reader) is not None:
                    callback()
                if mask & WRITE and (callback := watch.writer) is not None:
                    callback()
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                reports.watch_failed(self._loop, callback, error)
            # An exception that somebody keeps keeps this frame, and this frame must not keep the callback.
            watch = callback = None

        if heap:
            timers.move_due(self._loop.time() + self._resolution, ready)
        if not earlier:
            self.run_ready(len(ready))

    def set_debug(self, enabled: bool) -> None:
        """Run callbacks under watch, or freely."""
        self.run_ready = self._run_ready_watched if enabled else self._run_ready

    def _run_ready(self, count: int) -> None:
        ready = self.ready
        for _ in range(count):
            handle = ready.popleft()
            # In this order: another thread may cancel, which takes the callback first and then the arguments.
            args = handle._args
            callback = handle._callback
            if callback is not None:
                try:
                    if args:
                        handle._context.run(callback, *args)
                    else:
                        handle._context.run(callback)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    reports.handle_failed(self._loop, handle, callback, args, error)
        # As in `turn`: a task whose exception is kept must not be kept by the frame that ran it.
        handle = callback = args = None

    def _run_ready_watched(self, count: int) -> None:
        for _ in range(count):
            handle = self.ready.popleft()
            if not handle.cancelled():
                debugging.run_handle(self._loop, handle)
        handle = None
