"""Handles: what `call_soon` and `call_later` give back, and what the ready queue holds.

asyncio promises `asyncio.Handle` and `asyncio.TimerHandle` objects, but their constructor costs more than
running an empty callback. These two have no constructor at all: the loop makes an empty one and
stores the four fields itself, which halves the price (110 against 200 ns). Whether a handle is cancelled is no field of
its own; a handle without a callback is a cancelled one.

In debug mode the loop hands out asyncio's own classes, which remember where they were made. Both kinds
are run through the same three fields: `_callback`, `_args`, `_context`.
"""

import asyncio
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

# asyncio's handles or ours; the type stubs do not know the fields that both are run through.
AnyHandle = Any
AnyTimerHandle = Any
ReadyQueue = deque[AnyHandle]


class _Lean:
    """What our two handles share: the fields that are not stored are worked out."""

    __slots__ = ()

    if TYPE_CHECKING:
        _callback: Any
        _args: Any
        _context: Context
        _loop: Any

    _repr = None
    _source_traceback = None

    # A handle is filled in by the loop, so `Handle()` must cost nothing.
    __init__ = object.__init__

    @property
    def _cancelled(self) -> bool:
        return self._callback is None

    def cancel(self) -> None:
        """Make sure the callback is not called, unless it already was."""
        # In this order: another thread may cancel while the loop reads `_args` and then `_callback`.
        self._callback = None
        self._args = None

    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._callback is None

    def get_context(self) -> Context:
        """The context the callback runs in."""
        return self._context


class Handle(_Lean, asyncio.Handle):  # type: ignore[override]  # _cancelled is a field there
    """A callback waiting for its turn."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(self) -> None: ...


class TimerHandle(_Lean, asyncio.TimerHandle):  # type: ignore[override]
    """A callback waiting for a point in time."""

    __slots__ = ()

    if TYPE_CHECKING:
        _when: float
        _scheduled: bool

        def __init__(self) -> None: ...

    def cancel(self) -> None:
        """Make sure the callback is not called, and let the loop's timers count the loss."""
        if self._callback is not None:
            self._callback = None
            self._args = None
            self._loop._timer_handle_cancelled(self)
