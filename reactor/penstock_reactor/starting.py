"""Starting a transport: its protocol hears first, then it begins to work, then the caller's wait ends.

The same for datagrams, pipes and child processes. A protocol that raises in connection_made does not keep the
transport from working: the exception is reported by the loop, as asyncio does it. A transport that cannot begin fails
the caller.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

from .contract import ReactorLoop


async def start(
    loop: ReactorLoop, transport: asyncio.BaseTransport, protocol: Any, begin: Callable[[], None], context: Context
) -> None:
    """Start `transport` from the ready queue, in `context`, and wait for it; close it when that fails or is cancelled."""
    waiter = loop.create_future()
    loop.call_soon(_start, transport, protocol, begin, waiter, context=context)
    try:
        await waiter
    except BaseException:
        transport.close()
        raise


def _start(
    transport: asyncio.BaseTransport, protocol: Any, begin: Callable[[], None], waiter: "asyncio.Future[None]"
) -> None:
    try:
        protocol.connection_made(transport)
    finally:
        try:
            begin()
        except Exception as exc:
            if not waiter.done():
                waiter.set_exception(exc)
        else:
            if not waiter.done():
                waiter.set_result(None)
