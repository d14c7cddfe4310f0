"""A part of a file as a piece of a response's body: by the kernel where it can, else read and written.

`os.sendfile` moves octets from the file to the socket without any copy of ours. It is called whenever the socket takes
more, one call a turn, so that a fast client and a large file leave the others their turns; the app's task waits
meanwhile. Small pieces are read and leave together with the head, in one packet; so does what the kernel will not send
(TLS, Windows, some file systems), block by block. Memory is the same for every size.
"""

import os

from .exchange import ClientDisconnected, Exchange

SMALL = 32768
"""Up to this size reading costs less than another system call and another packet."""

BLOCK = 65536
AT_ONCE = 1 << 20
"""Octets that one call of os.sendfile may take."""


async def send_file(exchange: Exchange, descriptor: int, offset: int, count: int, *, is_whole: bool) -> None:
    """Send `count` octets from `offset`; with `is_whole` they are all of the body, whose length can be told then.

    The response is not ended. ClientDisconnected when the client goes, EOFError when the file cannot be read as far as
    was announced: then the connection is cut. ResponseError when it does not fit the Content-Length.
    """
    connection = exchange.connection
    start, end = connection.codec.encode_frame(count, is_whole)
    if connection.codec.is_bodiless:
        exchange.put([start])
        return
    sent = 0
    if count > SMALL and connection.channel.sends_files:
        _put(exchange, [start], 0)
        start = b""
        sent = await _send_by_kernel(exchange, descriptor, offset, count)
    if sent < count or start:
        await _send_by_copy(exchange, start, descriptor, offset + sent, count - sent)
    exchange.put([end])


async def _send_by_copy(exchange: Exchange, start: bytes, descriptor: int, offset: int, count: int) -> None:
    """Read and write, block by block, `start` before the first."""
    while count:
        try:
            block, trouble = _read_at(descriptor, offset, min(count, BLOCK)), "the file ended early; was it changed meanwhile?"
        except OSError as error:
            block, trouble = b"", str(error)
        if not block:
            exchange.cut()
            raise EOFError(f"the last {count} octets of a file could not be sent: {trouble}")
        _put(exchange, [start, block], len(block))
        start = b""
        offset += len(block)
        count -= len(block)
        if count:
            await exchange.pause()
    if start:
        _put(exchange, [start], 0)


def _put(exchange: Exchange, parts: list[bytes], count: int) -> None:
    """Send octets, `count` of them the file's. For the log: of a file that does not arrive it says how much was sent."""
    exchange.put(parts)
    exchange.sent += count
    exchange.first_byte_at = exchange.first_byte_at or exchange.connection.service.now()


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)


async def _send_by_kernel(exchange: Exchange, descriptor: int, offset: int, count: int) -> int:
    """Send as much as the kernel will; how many octets. Reading tells what is wrong with the others."""
    channel = exchange.connection.channel
    await exchange.wait_flushed()
    sending = _Sending(exchange, descriptor, offset, count)
    sending.go()
    if sending.is_under_way:
        channel.lend(sending.go)
        try:
            while sending.is_under_way and not exchange.is_gone:
                await exchange.waiter()
        finally:
            channel.take_back()
    if exchange.is_gone:
        raise ClientDisconnected("the client is gone")
    return count - sending.left


class _Sending:
    """What is left to be sent by the kernel. `go` is called whenever the socket takes more."""

    __slots__ = ("left", "is_under_way", "_exchange", "_descriptor", "_end")

    def __init__(self, exchange: Exchange, descriptor: int, offset: int, count: int) -> None:
        self.left = count
        self.is_under_way = True
        self._exchange = exchange
        self._descriptor = descriptor
        self._end = offset + count

    def go(self) -> None:
        """Send a piece, without waiting."""
        if not self.is_under_way:
            return
        connection = self._exchange.connection
        try:
            sent = connection.channel.send_file(self._descriptor, self._end - self.left, min(self.left, AT_ONCE))
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionError:
            connection.close()
            return
        except OSError:
            sent = 0
        self.left -= sent
        self._exchange.sent += sent
        if not sent or not self.left:
            self.is_under_way = False
            self._exchange.wake()
