"""EventLoop: an asyncio event loop, complete. This file holds its lifetime, its callbacks and its hooks.

Callbacks go into the ready queue or the timers here; `scheduler.py` runs them; `doors.py` has the methods that
only lead to another room. Rooms never import this file: they are given the loop and use its public methods
and what `contract.py` names.

call_soon and its three kin are the hottest methods of all (every step of every task goes through one), so each fills in
its handle itself: see `handles.py`.
"""

import asyncio
import os
import threading
import time
import warnings
import weakref
from asyncio.base_events import _run_until_complete_cb  # type: ignore[attr-defined]  # AnyIO looks for this very function
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from . import debugging, reports, tasks, threads
from .doors import Doors, Waiting
from .generators import AsyncGenerators
from .handles import Handle, TimerHandle
from .poller import Poller
from .scheduler import Scheduler
from .signals import Signals

if TYPE_CHECKING:
    from concurrent.futures import Executor, ThreadPoolExecutor

_CLOCK_RESOLUTION = time.get_clock_info("monotonic").resolution


class EventLoop(Doors):
    """An event loop on `selectors.DefaultSelector`: the same on every platform, Windows included."""

    time = staticmethod(time.monotonic)

    def __init__(self, poller: Poller | None = None) -> None:
        self.slow_callback_duration = 0.1
        self._poller = poller or Poller()
        self._scheduler = Scheduler(self, self._poller, _CLOCK_RESOLUTION)
        self._ready = self._scheduler.ready
        self._timers = self._scheduler.timers
        self._signals = Signals(self, self._poller)
        self._threads = threads.Threads(self)
        self._generators = AsyncGenerators(self)
        self._origins = debugging.OriginTracking()
        self._transports = weakref.WeakValueDictionary()
        self._task_factory: Any = None
        self._exception_handler: Any = None
        # What runs, in debug mode only.
        self._current_handle: asyncio.Handle | None = None
        self._process_id = os.getpid()
        self._thread_id: int | None = None
        self._closed = False
        # Closed or debugging: one look tells the hot methods to take the careful way.
        self._guarded = False
        self._debug = False
        self.set_debug(debugging.is_default())

    # Lifetime

    def run_forever(self) -> None:
        """Run until `stop` is called."""
        self._check_runnable()
        scheduler = self._scheduler
        turn = scheduler.turn
        try:
            self._enter()
            while True:
                turn()
                if scheduler.stopping:
                    break
        finally:
            self._leave()

    def run_until_complete(self, future: Any) -> Any:
        """Run until `future` (or the task made of a coroutine) is done; give its result or raise its exception."""
        self._check_runnable()
        made_here = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if made_here:
            # If it stays pending, RuntimeError below says so; a log line would say it twice.
            future._log_destroy_pending = False
        future.add_done_callback(_run_until_complete_cb)
        try:
            self.run_forever()
        except BaseException:
            if made_here and future.done() and not future.cancelled():
                # What the task raised leaves from here, not from a log line.
                future.exception()
            raise
        finally:
            future.remove_done_callback(_run_until_complete_cb)
        if not future.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return future.result()

    def stop(self) -> None:
        """End the run after the turn that is under way, or after one turn of the next run."""
        self._scheduler.stopping = True
        self._poller.wake()

    def is_running(self) -> bool:
        """Whether some thread is inside `run_forever`."""
        return self._thread_id is not None

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Give everything back. Pending callbacks are dropped; RuntimeError while running; twice is fine."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        self._signals.close()
        self._closed = self._guarded = True
        self._ready.clear()
        self._timers.clear()
        self._threads.abandon()
        self._poller.close()

    async def shutdown_asyncgens(self) -> None:
        """Close every asynchronous generator that was started and not finished."""
        await self._generators.shutdown()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait, at most `timeout` seconds, for the default executor's threads; no new work is taken."""
        await self._threads.shutdown(timeout)

    # Callbacks

    def call_soon(  # type: ignore[override]  # the stubs tie args to the callback
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call `callback(*args)` in the next turn."""
        if self._guarded:
            return self._guarded_call_soon(callback, args, context)
        handle = Handle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = self
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]  # the stubs tie args to the callback
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """The same from any thread or signal handler; ends the loop's wait."""
        if self._guarded:
            return self._guarded_call_soon_threadsafe(callback, args, context)
        handle = Handle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = self
        self._ready.append(handle)
        self._poller.wake()
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback(*args)` after `delay` seconds."""
        if delay is None:
            raise TypeError("delay must not be None")
        return self._add_timer(self.time() + delay, callback, args, context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback(*args)` when the loop's clock shows `when`."""
        if when is None:
            raise TypeError("when cannot be None")
        return self._add_timer(when, callback, args, context)

    def _add_timer(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.TimerHandle:
        if self._guarded:
            return self._guarded_add_timer(when, callback, args, context)
        handle = TimerHandle()
        handle._callback = callback
        handle._args = args
        handle._context = copy_context() if context is None else context
        handle._loop = self
        handle._when = when
        self._timers.add(when, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._timers.note_cancelled(handle)

    def create_future(self) -> "asyncio.Future[Any]":
        """An asyncio future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **options: Any
    ) -> Any:
        """A task that runs `coro`, made by the task factory if there is one."""
        self._check_closed()
        if self._task_factory is None:
            return asyncio.Task(coro, loop=self, name=name, context=context, **options)
        return tasks.make(self, self._task_factory, coro, name, context, options)

    def set_task_factory(self, factory: Any) -> None:
        """Let `factory(loop, coro, **options)` make the tasks; None for plain ones."""
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory

    def get_task_factory(self) -> Any:
        """The task factory, or None."""
        return self._task_factory

    # Threads and names

    def run_in_executor(  # type: ignore[override]
        self, executor: "Executor | None", func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Call `func(*args)` in a thread of `executor`, or of the default one."""
        self._check_closed()
        if self._debug:
            debugging.check_callback(func, "run_in_executor")
        return self._threads.run(executor, func, *args)

    def set_default_executor(self, executor: "ThreadPoolExecutor") -> None:  # type: ignore[override]
        """Run what has no executor of its own in this ThreadPoolExecutor."""
        self._threads.set_default(executor)

    def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Waiting[Any]:
        """`socket.getaddrinfo` without blocking the loop."""
        return threads.getaddrinfo(self, host, port, family, type, proto, flags)

    def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Waiting[tuple[str, str]]:
        """`socket.getnameinfo` without blocking the loop."""
        return threads.getnameinfo(self, sockaddr, flags)

    # Errors and debugging

    def set_exception_handler(self, handler: Any) -> None:
        """Give what goes wrong in callbacks to `handler(loop, context)`; None for the default one."""
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def get_exception_handler(self) -> Any:
        """The exception handler, or None."""
        return self._exception_handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Log `context` with the logger "asyncio"."""
        reports.log(context, self._current_handle)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Report something that went wrong; never raises, SystemExit and KeyboardInterrupt excepted."""
        reports.call_handler(self, self._exception_handler, context)

    def get_debug(self) -> bool:
        """Whether the loop is in debug mode."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """Switch debug mode; the careful checks and records of `debugging.py`."""
        self._debug = bool(enabled)
        self._scheduler.set_debug(self._debug)
        self._guarded = self._closed or self._debug
        if self.is_running():
            self.call_soon_threadsafe(self._origins.set, self._debug)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} running={self.is_running()} closed={self._closed} debug={self._debug}>"

    def __del__(self, warn: Any = warnings.warn) -> None:
        if not getattr(self, "_closed", True):
            warn(f"unclosed event loop {self!r}", ResourceWarning, source=self)
            if not self.is_running():
                self.close()

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _check_runnable(self) -> None:
        self._check_closed()
        if self._process_id != os.getpid():
            raise RuntimeError(
                f"This event loop belongs to process {self._process_id}, which was forked; make a new one here"
            )
        if self.is_running():
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    def _enter(self) -> None:
        self._thread_id = threading.get_ident()
        self._origins.set(self._debug)
        self._generators.install()
        self._signals.enter()
        asyncio._set_running_loop(self)

    def _leave(self) -> None:
        self._scheduler.stopping = False
        self._thread_id = None
        asyncio._set_running_loop(None)
        self._signals.leave()
        self._generators.uninstall()
        self._origins.set(False)

    def _guarded_call_soon(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        self._check_closed()
        debugging.check_thread(self._thread_id)
        debugging.check_callback(callback, "call_soon")
        handle = debugging.make_handle(self, callback, args, context)
        self._ready.append(handle)
        return handle

    def _guarded_call_soon_threadsafe(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.Handle:
        self._check_closed()
        debugging.check_callback(callback, "call_soon_threadsafe")
        handle = debugging.make_handle(self, callback, args, context)
        self._ready.append(handle)
        self._poller.wake()
        return handle

    def _guarded_add_timer(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
    ) -> asyncio.TimerHandle:
        self._check_closed()
        debugging.check_thread(self._thread_id)
        debugging.check_callback(callback, "call_at")
        handle = debugging.make_timer_handle(self, when, callback, args, context)
        self._timers.add(when, handle)
        return handle


