"""Asynchronous generators: none of them is left half-way when the loop ends.

While a loop runs, the interpreter tells it of every generator's first step and of every generator that is collected
before its end. The loop then closes the collected ones in a task, and `shutdown_asyncgens` closes all the rest.
"""

import asyncio
import sys
import warnings
import weakref
from collections.abc import AsyncGenerator
from typing import Any

AnyAsyncGenerator = AsyncGenerator[Any, Any]


class AsyncGenerators:
    """The generators that were started on one loop and are not finished."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._open: weakref.WeakSet[AnyAsyncGenerator] = weakref.WeakSet()
        self._shut_down = False
        self._former: Any = None

    def install(self) -> None:
        """Take the interpreter's two hooks for this thread."""
        self._former = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._started, finalizer=self._collected)

    def uninstall(self) -> None:
        """Give the hooks back to whom they belonged, if they were taken."""
        former, self._former = self._former, None
        if former is not None:
            sys.set_asyncgen_hooks(*former)

    async def shutdown(self) -> None:
        """Close every open generator; what goes wrong there is reported, not raised."""
        self._shut_down = True
        closing, self._open = list(self._open), weakref.WeakSet()
        results = await asyncio.gather(*[agen.aclose() for agen in closing], return_exceptions=True)
        for agen, result in zip(closing, results):
            if isinstance(result, Exception):
                self._loop.call_exception_handler(
                    {
                        "message": f"an error occurred during closing of asynchronous generator {agen!r}",
                        "exception": result,
                        "asyncgen": agen,
                    }
                )

    def _started(self, agen: AnyAsyncGenerator) -> None:
        if self._shut_down:
            warnings.warn(
                f"asynchronous generator {agen!r} was scheduled after loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self._loop,
            )
        self._open.add(agen)

    def _collected(self, agen: AnyAsyncGenerator) -> None:
        # In whatever thread the collector ran.
        self._open.discard(agen)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.create_task, agen.aclose())
