"""Debug mode: the checks and records that cost too much to be on always.

In debug mode the loop makes asyncio's own handles, which remember where they were made; refuses callbacks that are no
callables and calls from a foreign thread; lets coroutines remember their origin; and warns of every callback that keeps
the loop longer than `slow_callback_duration`. The loop comes here only when debug mode is on.
"""

import asyncio
import os
import sys
import threading
from asyncio.log import logger
from contextvars import Context
from inspect import iscoroutinefunction
from typing import Any

# How many frames a coroutine remembers of the place where it was made.
ORIGIN_DEPTH = 10


def is_default() -> bool:
    """Whether new loops start in debug mode: `-X dev`, or PYTHONASYNCIODEBUG in an environment that counts."""
    if sys.flags.dev_mode:
        return True
    return not sys.flags.ignore_environment and bool(os.environ.get("PYTHONASYNCIODEBUG"))


def check_callback(callback: object, method: str) -> None:
    """TypeError when `callback` is a coroutine, a coroutine function or no callable."""
    if asyncio.iscoroutine(callback) or iscoroutinefunction(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def check_thread(thread_id: int | None) -> None:
    """RuntimeError when the loop runs in another thread than this; `thread_id` None means it does not run."""
    if thread_id is not None and thread_id != threading.get_ident():
        raise RuntimeError("Non-thread-safe operation invoked on an event loop other than the current one")


def make_handle(loop: Any, callback: Any, args: tuple[Any, ...], context: Context | None) -> asyncio.Handle:
    """A handle that remembers where it was made, for the loop's two-frames-deep call_soon."""
    handle = asyncio.Handle(callback, args, loop, context)
    _forget_frames(handle, 3)
    return handle


def make_timer_handle(
    loop: Any, when: float, callback: Any, args: tuple[Any, ...], context: Context | None
) -> asyncio.TimerHandle:
    """The same for call_at and call_later, which are three frames deep."""
    handle = asyncio.TimerHandle(when, callback, args, loop, context)
    _forget_frames(handle, 4)
    return handle


def run_handle(loop: Any, handle: Any) -> None:
    """Run a handle, which reports its own exceptions, and warn if it took long."""
    started = loop.time()
    loop._current_handle = handle
    try:
        handle._run()
    finally:
        loop._current_handle = None
    seconds = loop.time() - started
    if seconds >= loop.slow_callback_duration:
        # A task's step under the task's name: that is what the reader knows.
        owner = getattr(handle._callback, "__self__", None)
        what = repr(owner) if isinstance(owner, asyncio.Task) else str(handle)
        logger.warning("Executing %s took %.3f seconds", what, seconds)
    # A kept exception keeps this frame, and this frame must not keep the task it came from.
    handle = owner = None


class OriginTracking:
    """Lets coroutines remember where they were made, for as long as the loop runs in debug mode."""

    def __init__(self) -> None:
        self._former: int | None = None

    def set(self, enabled: bool) -> None:
        """Switch tracking on or off; off brings back what was set before."""
        if enabled and self._former is None:
            self._former = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(ORIGIN_DEPTH)
        elif not enabled and self._former is not None:
            sys.set_coroutine_origin_tracking_depth(self._former)
            self._former = None


def _forget_frames(handle: asyncio.Handle, frames: int) -> None:
    source: Any = getattr(handle, "_source_traceback", None)
    if source:
        del source[-frames:]
