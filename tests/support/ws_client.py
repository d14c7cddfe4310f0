"""A raw WebSocket client: it sends the octets it is given, however a client should not, and reads frames strictly.

It knows no product code: what it makes of an answer is a second opinion. Every wait is bounded.
"""

import socket
import zlib
from contextlib import suppress
from typing import Self

from .client import Client
from .ws_cases import frame
from .ws_wire import ACCEPT, handshake

OFFER = "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n"
Frame = tuple[int, bytes]


class SocketClient(Client):
    """One WebSocket, open."""

    def __init__(self, address: tuple[str, int], path: str = "/", *, offers: bool = False, receive_buffer: int | None = None) -> None:
        super().__init__(address, receive_buffer=receive_buffer)
        self.send(handshake(path, OFFER if offers else ""))
        self.answered = self.head()
        if self.answered.status != 101 or ACCEPT.split(b": ")[1].strip().decode() != self.answered.get("sec-websocket-accept"):
            raise AssertionError(f"not open: {self.answered}")
        self._inflator = zlib.decompressobj(-12)

    def __enter__(self) -> Self:
        return self

    def say(self, first: int, payload: bytes = b"") -> None:
        """Send a frame, masked."""
        self.send(frame(first, payload))

    def frame(self) -> Frame:
        """The next frame; compressed ones inflated, without their RSV1."""
        first, size = self.take(2)
        if size & 0x80:
            raise AssertionError("a server's frame is masked")
        if size >= 126:
            size = int.from_bytes(self.take(2 if size == 126 else 8), "big")
        payload = self.take(size)
        if first & 0x40:
            payload = self._inflator.decompress(payload + b"\0\0\xff\xff")
        return first & ~0x40, payload

    def frames(self) -> list[Frame]:
        """All frames up to the server's Close, with it; then the end must come."""
        found = [self.frame()]
        while found[-1][0] != 0x88:
            found.append(self.frame())
        # A server that has waited long enough for our end, on a busy machine, has reset the connection.
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        if not self.is_closed():
            raise AssertionError("something follows the Close")
        return found
