"""The contract between the rooms: what they may use of the loop beyond asyncio's public interface.

Rooms take their loop as a `ReactorLoop` and never import `loop.py`, so every arrow between the files points down.
"""

import asyncio
from typing import Any
from weakref import WeakValueDictionary

from .poller import Poller


class ReactorLoop(asyncio.AbstractEventLoop):
    """An asyncio event loop with a poller that its rooms may use directly."""

    # Watch descriptors here without a handle or a context: `watch_reader(fd, bound_method)`.
    _poller: Poller
    # Which transport owns a descriptor; nobody else may watch it while it is open.
    _transports: "WeakValueDictionary[int, Any]"
