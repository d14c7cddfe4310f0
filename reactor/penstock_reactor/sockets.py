"""Raw sockets: sock_recv, sock_sendall, sock_accept, sock_connect and their kin.

The operation is tried at once; only when it would block is the descriptor watched, and the try repeated each time
it is ready.
"""

import asyncio
from typing import Any


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


def free_fileno(loop: Any, thing: Any) -> int:
    """The same, for a caller who wants to watch it; RuntimeError when a live transport does so already."""
    number = fileno(thing)
    transport = loop._transports.get(number)
    if transport is not None and not transport.is_closing():
        raise RuntimeError(f"File descriptor {thing!r} is used by transport {transport!r}")
    return number
