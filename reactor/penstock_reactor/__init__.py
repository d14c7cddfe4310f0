"""penstock_reactor: a complete asyncio event loop in plain Python, on `selectors.DefaultSelector`.

`run(main())` runs a coroutine on a loop of its own; `new_event_loop` is what `asyncio.Runner(loop_factory=...)` wants.
Where to read on: `loop.py` is the front, `scheduler.py` the heart, every other file one idea.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .loop import EventLoop

__all__ = ["EventLoop", "new_event_loop", "run"]

T = TypeVar("T")


def new_event_loop() -> EventLoop:
    """A new event loop; close it when done."""
    return EventLoop()


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run `main` on a new loop, then cancel what is left, close generators and threads; as `asyncio.run` does."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
