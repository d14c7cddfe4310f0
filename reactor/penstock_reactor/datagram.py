"""Datagrams: UDP and UNIX datagram sockets as asyncio transports.

A datagram is sent at once when nothing waits; what the socket refuses for now is queued whole, with its address. Each
readable event reads one datagram and hands it to the protocol in that same turn. The network's errors (an ICMP "port
unreachable", a datagram too big) go to `protocol.error_received` and the transport lives on. Reads ask for 64 KiB,
the most an IP datagram can hold, which malloc serves from its heap; more would go through mmap and cost ten
microseconds a read. Other families may carry more and get 256 KiB. The protocol's calls run in a copy of the context
in which the transport was made.
"""

from __future__ import annotations

import asyncio
import collections
import contextvars
import enum
import functools
import socket
import sys
import warnings
from asyncio.log import logger
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Any

from . import datagram_sockets
from .contract import ReactorLoop
from .flow import WriteLimits
from .readiness import name_or_none
from .starting import start

SIZE_OF_IP_DATAGRAM = 64 * 1024
SIZE_OF_ANY_DATAGRAM = 256 * 1024
# Documented in 3.13: empty datagrams are sent, and each queued datagram counts its header towards the write limits.
SENDS_EMPTY = sys.version_info >= (3, 13)
HEADER_BYTES = 8 if sys.version_info >= (3, 13) else 0
WARN_AFTER_DROPS = 5
# How often a full receiver is tried that the poller cannot watch for us.
RETRY_SECONDS = 0.01


class State(enum.Enum):
    OPEN = enum.auto()
    CLOSING = enum.auto()
    LOST = enum.auto()


# On the hot path a global is found faster than an enum's member.
OPEN = State.OPEN


class DatagramTransport(WriteLimits, asyncio.DatagramTransport, asyncio.Transport):
    """A datagram socket; `default_address` is where datagrams without an address go (None: the connected peer)."""

    # None once closed, and in what a failed constructor leaves behind.
    _sock: Any = None

    def __init__(
        self, loop: ReactorLoop, sock: socket.socket, protocol: asyncio.DatagramProtocol, default_address: Any
    ) -> None:
        peername = name_or_none(sock.getpeername)
        super().__init__(
            {"socket": TransportSocket(sock), "sockname": name_or_none(sock.getsockname), "peername": peername}
        )
        self._loop = loop
        self._context = contextvars.copy_context()
        self._sock = sock
        self._fd = sock.fileno()
        self._protocol: Any = protocol
        self._address = default_address
        # An unnamed UNIX peer is called "", and is a peer.
        self._is_connected = peername is not None
        is_ip = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._max_bytes = SIZE_OF_IP_DATAGRAM if is_ip else SIZE_OF_ANY_DATAGRAM
        # The system calls an unconnected UNIX socket writable whatever its receivers' queues: polling it would spin.
        self._polls_in_vain = not self._is_connected and sock.family == getattr(socket, "AF_UNIX", None)
        self._state = State.OPEN
        self._queue: collections.deque[tuple[bytes, Any]] = collections.deque()
        self._queued_bytes = 0
        self._drops = 0
        loop._transports[self._fd] = self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self._fd} {self._state.name.lower()} waiting={self._queued_bytes}>"

    def __del__(self, _warn: Callable[..., None] = warnings.warn) -> None:
        if self._sock is not None:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            self._sock.close()

    def begin(self) -> None:
        """Begin to read, unless closed already. Called once."""
        if self._state is State.OPEN:
            self._loop._poller.watch_reader(self._fd, functools.partial(self._context.run, self._on_readable))

    # The documented methods.

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._state is not State.OPEN

    def get_write_buffer_size(self) -> int:
        return self._queued_bytes

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """Send a datagram, or queue it when the socket is full; dropped once the transport is closing."""
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._address is not None:
            if addr is not None and addr != self._address:
                raise ValueError(f"Invalid address: must be None or {self._address}")
            addr = self._address
        if not data and not SENDS_EMPTY:
            return
        if self._state is not OPEN:
            self._note_drop()
            return
        if not self._queue:
            # The usual case, so without a call of `_sends`.
            try:
                if self._is_connected:
                    self._sock.send(data)
                else:
                    self._sock.sendto(data, addr)
                return
            except (BlockingIOError, InterruptedError):
                self._await_room()
            except OSError as exc:
                self._protocol.error_received(exc)
                return
        # A copy, because the caller may reuse its buffer.
        datagram = bytes(data)
        self._queue.append((datagram, addr))
        self._queued_bytes += len(datagram) + HEADER_BYTES
        self._pause_if_full(self._queued_bytes)

    def close(self) -> None:
        """Stop reading, send what waits, then connection_lost(None)."""
        if self._state is not State.OPEN:
            return
        self._state = State.CLOSING
        self._loop._poller.unwatch_reader(self._fd)
        if not self._queue:
            self._lose(None)

    def abort(self) -> None:
        """Drop what waits and close now."""
        self._lose(None)

    # Called by the poller.

    def _on_readable(self) -> None:
        try:
            data, addr = self._sock.recvfrom(self._max_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as exc:
            self._protocol.error_received(exc)
            return
        self._protocol.datagram_received(data, addr)

    def _await_room(self) -> None:
        if self._polls_in_vain:
            self._loop.call_later(RETRY_SECONDS, self._send_queued, context=self._context)
        else:
            self._loop._poller.watch_writer(self._fd, functools.partial(self._context.run, self._send_queued))

    def _send_queued(self) -> None:
        while self._queue:
            # Taken off first: what the protocol does or raises when told of an error must find it gone.
            datagram, addr = self._queue.popleft()
            size = len(datagram) + HEADER_BYTES
            self._queued_bytes -= size
            if not self._sends(datagram, addr):
                self._queue.appendleft((datagram, addr))
                self._queued_bytes += size
                break
        if self._state is State.LOST:
            return
        if self._polls_in_vain and self._queue:
            self._await_room()
        elif not self._queue:
            self._loop._poller.unwatch_writer(self._fd)
        self._resume_if_drained(self._queued_bytes)  # the protocol may send more
        if not self._queue and self._state is State.CLOSING:
            self._lose(None)

    def _sends(self, data: bytes | bytearray | memoryview, addr: Any) -> bool:
        """Try to send; False when the socket is full. A datagram the network refuses is told and done with."""
        try:
            if self._is_connected:
                self._sock.send(data)
            else:
                self._sock.sendto(data, addr)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            self._protocol.error_received(exc)
        return True

    def _note_drop(self) -> None:
        self._drops += 1
        if self._drops == WARN_AFTER_DROPS:
            logger.warning("datagrams are being sent to a closed transport: %r", self)

    def _lose(self, exc: BaseException | None) -> None:
        if self._state is State.LOST:
            return
        self._state = State.LOST
        self._queue.clear()
        self._queued_bytes = 0
        self._loop._poller.unwatch_reader(self._fd)
        self._loop._poller.unwatch_writer(self._fd)
        self._loop.call_soon(self._tell_lost, exc, context=self._context)

    def _tell_lost(self, exc: BaseException | None) -> None:
        protocol, sock = self._protocol, self._sock
        try:
            protocol.connection_lost(exc)
        finally:
            # Break the cycle transport <-> protocol.
            self._sock = self._protocol = None
            if sock is not None:
                sock.close()


async def create_datagram_endpoint(
    loop: ReactorLoop,
    protocol_factory: Callable[[], asyncio.DatagramProtocol],
    local_addr: Any = None,
    remote_addr: Any = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: bool | None = None,
    allow_broadcast: bool | None = None,
    sock: socket.socket | None = None,
) -> tuple[DatagramTransport, asyncio.DatagramProtocol]:
    """loop.create_datagram_endpoint: bound to `local_addr`, connected to `remote_addr`, or on the given `sock`."""
    modifiers: dict[str, Any] = {
        "family": family,
        "proto": proto,
        "flags": flags,
        "reuse_port": reuse_port,
        "allow_broadcast": allow_broadcast,
    }
    default_address = None
    if sock is None:
        sock, default_address = await datagram_sockets.open_socket(loop, local_addr, remote_addr, **modifiers)
    else:
        datagram_sockets.check_given(sock, local_addr=local_addr, remote_addr=remote_addr, **modifiers)
        sock.setblocking(False)
    try:
        protocol = protocol_factory()
    except BaseException:
        sock.close()
        raise
    transport = DatagramTransport(loop, sock, protocol, default_address)
    await start(loop, transport, protocol, transport.begin, transport._context)
    return transport, protocol
