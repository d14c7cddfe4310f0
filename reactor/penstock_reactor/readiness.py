"""Readiness: descriptors of callers, and waiting for one of them in a coroutine.

Three questions that `add_reader` and the sock_* calls share: which descriptor is meant, may the caller watch it (a
live transport's may not), and when is it ready. A wait costs one future and, unless one of the same socket has
just ended, one registration; it leaves nothing behind.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Protocol

from .poller import Poller


class WatchingLoop(Protocol):
    """What this room needs of the loop."""

    _poller: Poller
    _transports: Any

    def create_future(self) -> "asyncio.Future[Any]":
        """An asyncio future of this loop."""


def fileno(thing: Any) -> int:
    """The descriptor of a file, a socket or a number. ValueError when it has none."""
    if isinstance(thing, int):
        number = thing
    else:
        try:
            number = int(thing.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {thing!r}") from None
    if number < 0:
        raise ValueError(f"Invalid file descriptor: {number}")
    return number


def free_fileno(loop: WatchingLoop, thing: Any) -> int:
    """The same, for a caller who wants to watch it; RuntimeError when a live transport does so already."""
    number = fileno(thing)
    transport = loop._transports.get(number)
    if transport is not None and not transport.is_closing():
        raise RuntimeError(f"File descriptor {thing!r} is used by transport {transport!r}")
    return number


def watched_fileno(loop: WatchingLoop, thing: Any) -> int:
    """The same for something that is watched and may have been closed since: the number it had then."""
    try:
        return free_fileno(loop, thing)
    except ValueError:
        number = loop._poller.number_of(thing)
        if number is None:
            raise
        return number


def name_or_none(ask: Callable[[], Any]) -> Any:
    """What `getsockname` or `getpeername` of a socket says; None when there is none, or none any more."""
    try:
        return ask()
    except OSError:
        return None


async def wait_readable(loop: WatchingLoop, thing: object) -> None:
    """Return when `thing`, the one object that owns its descriptor, can be read without blocking."""
    fd = free_fileno(loop, thing)
    future = loop.create_future()
    note = functools.partial(_settle, future)
    loop._poller.watch_reader(fd, note, thing)
    try:
        await future
    finally:
        # Only what we set: another call may have taken the descriptor over since this one was cancelled.
        loop._poller.release_reader(fd, note)


async def wait_writable(loop: WatchingLoop, thing: object) -> None:
    """Return when `thing` can be written without blocking."""
    fd = free_fileno(loop, thing)
    future = loop.create_future()
    note = functools.partial(_settle, future)
    loop._poller.watch_writer(fd, note, thing)
    try:
        await future
    finally:
        loop._poller.release_writer(fd, note)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
