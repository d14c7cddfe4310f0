"""Pipe ends: which transports drive pipes on this system, and joining a pipe to a loop.

Where the poller takes pipes they are polled (`pipes.py`); where it takes sockets only, which is Windows, threads do the
reading and writing (`threaded_pipes.py`).
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from .contract import ReactorLoop
from .pipes import PipeTransport, ReadPipeTransport, WritePipeTransport
from .starting import start
from .threaded_pipes import ThreadedReadPipeTransport, ThreadedWritePipeTransport

PipeKind = Callable[[ReactorLoop, Any, Any, contextvars.Context], PipeTransport]


class PipeEnds(NamedTuple):
    """The two kinds of transport of one way to drive pipes."""

    read: PipeKind
    write: PipeKind
    sees_hangup: bool  # whether an idle write end learns that nobody reads any more


POLLED = PipeEnds(ReadPipeTransport, WritePipeTransport, sees_hangup=True)
THREADED = PipeEnds(ThreadedReadPipeTransport, ThreadedWritePipeTransport, sees_hangup=False)

NATIVE = THREADED if sys.platform == "win32" else POLLED
"""The way that works on this system."""


async def connect_read_pipe(
    loop: ReactorLoop, protocol_factory: Callable[[], asyncio.BaseProtocol], pipe: Any
) -> tuple[PipeTransport, asyncio.BaseProtocol]:
    """loop.connect_read_pipe: a transport that owns the file object `pipe` from here on, and its protocol."""
    return await connect(loop, NATIVE.read, protocol_factory, pipe)


async def connect_write_pipe(
    loop: ReactorLoop, protocol_factory: Callable[[], asyncio.BaseProtocol], pipe: Any
) -> tuple[PipeTransport, asyncio.BaseProtocol]:
    """loop.connect_write_pipe: a transport that owns the file object `pipe` from here on, and its protocol."""
    return await connect(loop, NATIVE.write, protocol_factory, pipe)


async def connect(
    loop: ReactorLoop,
    kind: PipeKind,
    protocol_factory: Callable[[], asyncio.BaseProtocol],
    pipe: Any,
) -> tuple[PipeTransport, asyncio.BaseProtocol]:
    """A started transport of this kind."""
    protocol = protocol_factory()
    context = contextvars.copy_context()
    transport = kind(loop, pipe, protocol, context)
    await start(loop, transport, protocol, transport.begin, context)
    return transport, protocol
