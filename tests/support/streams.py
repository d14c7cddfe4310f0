"""Stream transports for tests: one end is ours, the other a plain socket or a recorder."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.transport import SocketTransport

from support.recorders import Recorder

needs_unix = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no UNIX sockets here")
CERTIFICATE = Path(__file__).with_name("localhost.pem")
PIECE = bytes(range(256)) * 4096


def opened(loop: EventLoop, sock: Any, protocol: Any) -> SocketTransport:
    """A started transport on `sock`."""
    transport = SocketTransport(loop, sock, protocol)
    transport.start()
    return transport


def flood(transport: Any) -> bytes:
    """Write until a piece waits as a whole; all that was written.

    How much a socket takes before that is the system's affair: megabytes on loopback TCP, and on Windows a block of any
    size while there is any room.
    """
    for count in range(1, 65):
        transport.write(PIECE)
        if transport.get_write_buffer_size() >= len(PIECE):
            return PIECE * count
    raise AssertionError(f"the socket never filled: {transport!r}")


async def read_exactly(sock: socket.socket, count: int) -> bytes:
    """That many bytes from a plain socket, or fewer at its end."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        block = await loop.sock_recv(sock, min(count - len(data), 1 << 20))
        if not block:
            break
        data += block
    return bytes(data)


async def turns(count: int = 3) -> None:
    """Let the loop turn a few times; for asserting that something does not happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def finish(transport: Any, protocol: Recorder) -> BaseException | None:
    """Cut the connection and wait for its end."""
    transport.abort()
    exc: BaseException | None = (await protocol.heard("connection_lost"))[1]
    return exc


class Into(asyncio.BufferedProtocol):
    """A buffered protocol that keeps what it was given; buffers of `size` bytes."""

    def __init__(self, size: int = 8) -> None:
        self.buffer = bytearray(size)
        self.pieces: list[bytes] = []
        self.lost: list[BaseException | None] = []
        self.ended = 0

    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint == -1
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.pieces.append(bytes(self.buffer[:nbytes]))

    def eof_received(self) -> None:
        self.ended += 1

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)
