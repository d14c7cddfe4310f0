"""loop.sendfile: a file through a transport, in the kernel where it can be done, else block by block.

In the kernel: the transport's queue leaves first, then the socket is lent out, os.sendfile writes into it, and write() is refused
meanwhile. With TLS, or where os.sendfile does not know the file or the system, blocks are read in a thread and
written as any other data, with a protocol in between that hears when to pause.
Either way reading pauses, and the file's position afterwards tells how much was sent, also after a failure.
The two loops that do the sending know nothing of transports; `sockets.py` uses them for raw sockets.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from asyncio.constants import _SendfileMode
from collections.abc import Awaitable, Callable
from typing import Any

from .contract import ReactorLoop

# What the kernel is asked for at once, so that a fast peer and a large file do not keep the loop from all else.
KERNEL_BYTES = 1024 * 1024
BLOCK_BYTES = 64 * 1024
# What the system says when it cannot do it with this pair of descriptors; reading and writing can.
CANNOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EOVERFLOW}


async def sendfile(
    loop: ReactorLoop, transport: Any, file: Any, offset: int = 0, count: int | None = None, fallback: bool = True
) -> int:
    """Send `count` bytes of `file` from `offset`, or all to its end; how many were sent.

    RuntimeError when the transport is closing, cannot, or sends a file already; asyncio.SendfileNotAvailableError when the kernel cannot
    and `fallback` is false.
    """
    if transport.is_closing():
        raise RuntimeError("Transport is closing")
    mode = getattr(transport, "_sendfile_compatible", _SendfileMode.UNSUPPORTED)
    if mode is _SendfileMode.UNSUPPORTED:
        raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
    if mode is _SendfileMode.FALLBACK and not fallback:
        raise RuntimeError(f"fallback is disabled and native sendfile is not supported for transport {transport!r}")
    check_part(file, offset, count)
    if isinstance(transport.get_protocol(), _Valve):
        raise RuntimeError(f"another file is on its way through {transport!r}")
    if mode is _SendfileMode.TRY_NATIVE:
        try:
            return await _lend_to_kernel(transport, file, offset, count)
        except asyncio.SendfileNotAvailableError:
            if not fallback:
                raise
    return await _write_blocks(loop, transport, file, offset, count)


# The two loops.


def check_part(file: Any, offset: Any, count: Any) -> None:
    """TypeError or ValueError unless `file` is binary and the part of it makes sense."""
    if "b" not in getattr(file, "mode", "b"):
        raise ValueError("file should be opened in binary mode")
    if count is not None and not isinstance(count, int):
        raise TypeError(f"count must be a positive integer (got {count!r})")
    if count is not None and count <= 0:
        raise ValueError(f"count must be a positive integer (got {count!r})")
    if not isinstance(offset, int):
        raise TypeError(f"offset must be a non-negative integer (got {offset!r})")
    if offset < 0:
        raise ValueError(f"offset must be a non-negative integer (got {offset!r})")


async def send_in_kernel(
    sock: socket.socket, file: Any, offset: int, count: int | None, wait_writable: Callable[[], Awaitable[None]]
) -> int:
    """Let the kernel send; how many bytes. SendfileNotAvailableError, with nothing sent, when it cannot."""
    descriptor = _descriptor(file)
    sent = 0
    try:
        while count is None or sent < count:
            size = KERNEL_BYTES if count is None else min(count - sent, KERNEL_BYTES)
            try:
                taken = os.sendfile(sock.fileno(), descriptor, offset + sent, size)
            except (BlockingIOError, InterruptedError):
                await wait_writable()
                continue
            if not taken:
                break
            sent += taken
            if taken == size and sent != count:
                # The socket would take more, but others wait for their turn.
                await asyncio.sleep(0)
        return sent
    except OSError as exc:
        if sent or exc.errno not in CANNOT:
            raise
        raise asyncio.SendfileNotAvailableError("os.sendfile call failed") from exc
    finally:
        if sent:
            file.seek(offset + sent)


def _descriptor(file: Any) -> int:
    """The descriptor of a file that the kernel can send."""
    if not hasattr(os, "sendfile"):
        raise asyncio.SendfileNotAvailableError("os.sendfile() is not available on this system")
    try:
        descriptor: int = file.fileno()
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
    except (AttributeError, OSError, ValueError):
        # io.BytesIO and others that have none.
        pass
    raise asyncio.SendfileNotAvailableError("not a regular file")


async def send_blocks(
    loop: ReactorLoop, file: Any, offset: int, count: int | None, send: Callable[[bytes], Awaitable[None]]
) -> int:
    """Read in a thread, because a disk can be slow, and `send` block by block; how many bytes."""
    if offset:
        file.seek(offset)
    sent = 0
    try:
        while count is None or sent < count:
            size = BLOCK_BYTES if count is None else min(count - sent, BLOCK_BYTES)
            block = await loop.run_in_executor(None, file.read, size)
            if not block:
                break
            await send(block)
            sent += len(block)
        return sent
    finally:
        if sent and hasattr(file, "seek"):
            file.seek(offset + sent)


# Through a transport.


async def _lend_to_kernel(transport: Any, file: Any, offset: int, count: int | None) -> int:
    # First of all: who does not get it must not return it, for it is another's.
    sock = transport.lend_socket()
    was_reading = transport.is_reading()
    transport.pause_reading()
    try:
        await transport.wait_empty()
        return await send_in_kernel(sock, file, offset, count, transport.wait_writable)
    except OSError as exc:
        if transport.is_closing() and not isinstance(exc, ConnectionError):
            raise ConnectionError("Connection is closed by peer") from exc
        raise
    finally:
        transport.return_socket()
        if was_reading:
            transport.resume_reading()


async def _write_blocks(loop: ReactorLoop, transport: Any, file: Any, offset: int, count: int | None) -> int:
    valve = _Valve(loop, transport)
    try:
        return await send_blocks(loop, file, offset, count, valve.write)
    finally:
        valve.remove()


class _Valve(asyncio.Protocol):
    """Stands in for the transport's protocol while a file is sent: hears when to pause, and lets nothing be read."""

    def __init__(self, loop: ReactorLoop, transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._was_reading = transport.is_reading()
        self._was_paused = getattr(transport, "_told_to_pause", False)
        self._opened: asyncio.Future[None] | None = loop.create_future() if self._was_paused else None
        self._failure: BaseException | None = None
        transport.pause_reading()
        transport.set_protocol(self)

    async def write(self, block: bytes) -> None:
        """Write when the transport takes more; ConnectionError when it has ended."""
        if self._opened is not None:
            await self._opened
        if self._transport.is_closing():
            raise self._failure or ConnectionError("Connection is closed by peer")
        self._transport.write(block)

    def remove(self) -> None:
        """Put the protocol back, and tell it what it has missed."""
        if self._transport.get_protocol() is not self:
            return  # the connection is lost, and the protocol has been told
        self._transport.set_protocol(self._protocol)
        if self._was_reading:
            self._transport.resume_reading()
        is_paused = self._opened is not None
        if is_paused and not self._was_paused:
            self._protocol.pause_writing()
        elif self._was_paused and not is_paused:
            self._protocol.resume_writing()

    def pause_writing(self) -> None:
        if self._opened is None:
            self._opened = self._loop.create_future()

    def resume_writing(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None and not opened.done():
            opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        raise RuntimeError("reading should be paused while a file is sent")

    def connection_lost(self, exc: BaseException | None) -> None:
        self._failure = exc
        self.resume_writing()
        self._protocol.connection_lost(exc)
