"""Tasks: one way to make them on every Python.

Tasks and futures are asyncio's own, written in C. What differs between versions is only what a task factory is
given: up to 3.13 the coroutine and, when there is one, the context, and the name is set afterwards; from 3.14 on
every keyword goes through. An option that a version's `Task` does not know (`eager_start` before 3.12) raises
TypeError there.
"""

import asyncio
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

AnyCoroutine = Coroutine[Any, Any, Any]

_PASS_ALL = sys.version_info >= (3, 14)


def make(
    loop: asyncio.AbstractEventLoop,
    factory: Any,
    coro: AnyCoroutine,
    name: str | None,
    context: Context | None,
    options: dict[str, Any],
) -> "asyncio.Task[Any]":
    """Ask the factory for a task that runs `coro`."""
    if context is not None:
        options["context"] = context
    if _PASS_ALL:
        if name is not None:
            options["name"] = name
        return factory(loop, coro, **options)  # type: ignore[no-any-return]  # a factory is the user's
    task: asyncio.Task[Any] = factory(loop, coro, **options)
    # A factory may return a future that is like a task but has no name.
    set_name = getattr(task, "set_name", None)
    if name is not None and set_name is not None:
        set_name(name)
    return task
