"""Raw sockets: sock_recv, sock_sendall, sock_accept, sock_connect and their kin.

The system call is tried at once, and again each time the descriptor becomes ready, until it does not block. So a call
that need not wait costs no registration, and errors come from the call itself. The socket stays the caller's.

Sockets must be non-blocking (checked in debug mode) and plain: a TLS socket's readiness says nothing about its data.
"""

import asyncio
import errno
import socket
import sys
from collections.abc import Coroutine
from typing import Any

from .readiness import wait_readable, wait_writable

Buffer = Any

_BLOCKED = (BlockingIOError, InterruptedError)
_INTERNET = (socket.AF_INET, socket.AF_INET6)


def recv(loop: Any, sock: socket.socket, size: int) -> Coroutine[Any, Any, bytes]:
    """Up to `size` bytes; empty at the end of the stream."""
    return _until_done(loop, sock, wait_readable, "recv", size)


def recv_into(loop: Any, sock: socket.socket, buffer: Buffer) -> Coroutine[Any, Any, int]:
    """Fill `buffer` as far as there are bytes; how many there were."""
    return _until_done(loop, sock, wait_readable, "recv_into", buffer)


def recvfrom(loop: Any, sock: socket.socket, size: int) -> Coroutine[Any, Any, tuple[bytes, Any]]:
    """One datagram, cut to `size` bytes, and the sender's address."""
    return _until_done(loop, sock, wait_readable, "recvfrom", size)


def recvfrom_into(loop: Any, sock: socket.socket, buffer: Buffer, size: int) -> Coroutine[Any, Any, tuple[int, Any]]:
    """One datagram into `buffer`, at most `size` bytes (0: its whole length); how many, and the sender's address."""
    return _until_done(loop, sock, wait_readable, "recvfrom_into", buffer, size or len(buffer))


async def sendall(loop: Any, sock: socket.socket, data: Buffer) -> None:
    """Send all of `data`. After an error nobody can say how much of it was sent."""
    _check(loop, sock)
    rest = memoryview(data).cast("B")
    while True:
        try:
            sent = sock.send(rest)
        except _BLOCKED:
            await wait_writable(loop, sock)
        else:
            if sent == len(rest):
                return
            rest = rest[sent:]


def sendto(loop: Any, sock: socket.socket, data: Buffer, address: Any) -> Coroutine[Any, Any, int]:
    """Send one datagram to `address`; how many bytes were sent."""
    return _until_done(loop, sock, wait_writable, "sendto", data, address)


async def accept(loop: Any, sock: socket.socket) -> tuple[socket.socket, Any]:
    """The next connection, non-blocking, and the peer's address."""
    _check(loop, sock)
    while True:
        try:
            connection, address = sock.accept()
        except _BLOCKED:
            await wait_readable(loop, sock)
        else:
            connection.setblocking(False)
            return connection, address


async def connect(loop: Any, sock: socket.socket, address: Any) -> None:
    """Connect to `address`, whose host name is looked up first if it is one."""
    _check(loop, sock)
    if sock.family in _INTERNET:
        address = await _resolve(loop, sock, address)
    try:
        sock.connect(address)
    except _BLOCKED as error:
        if error.errno == errno.EAGAIN and sock.family not in _INTERNET:
            # A Unix listener's backlog is full: nothing is under way that could become ready.
            raise
        await wait_writable(loop, sock)
        reason = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if reason:
            raise OSError(reason, f"Connect call failed {address}") from None


async def _until_done(loop: Any, sock: socket.socket, wait: Any, method: str, *args: Any) -> Any:
    # The method by its name, looked up each time: it may be another after a wait, as in CPython's own tests.
    _check(loop, sock)
    while True:
        try:
            return getattr(sock, method)(*args)
        except _BLOCKED:
            await wait(loop, sock)


def _check(loop: Any, sock: socket.socket) -> None:
    if type(sock) is not socket.socket:
        ssl = sys.modules.get("ssl")
        if ssl is not None and isinstance(sock, ssl.SSLSocket):
            raise TypeError("Socket cannot be of type SSLSocket")
    if loop.get_debug() and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")


async def _resolve(loop: Any, sock: socket.socket, address: Any) -> Any:
    host, port = address[:2]
    found = await loop.getaddrinfo(host, port, family=sock.family, type=sock.type, proto=sock.proto)
    if not found:
        raise OSError(f"getaddrinfo() returned empty list for {host!r}")
    # An IPv6 address may bring its flow and its scope, without which a link-local one leads nowhere.
    return found[0][4][:2] + tuple(address[2:]) if address[2:] else found[0][4]


async def sendfile(loop: Any, sock: socket.socket, file: Any, offset: int, count: int | None, fallback: bool) -> int:
    """Send `count` bytes of `file` from `offset` (None: to its end), in the kernel where it can; how many were sent.

    The file's position is moved behind what was sent. asyncio.SendfileNotAvailableError when the kernel
    cannot and `fallback` is false.
    """
    _check(loop, sock)
    if sock.type != socket.SOCK_STREAM:
        raise ValueError("only SOCK_STREAM type sockets are supported")
    from .sendfile import check_part, send_blocks, send_in_kernel

    check_part(file, offset, count)
    try:
        return await send_in_kernel(sock, file, offset, count, lambda: wait_writable(loop, sock))
    except asyncio.SendfileNotAvailableError:
        if not fallback:
            raise
    return await send_blocks(loop, file, offset, count, lambda block: sendall(loop, sock, block))
