"""The WebSocket load: messages that come back, over one connection or a hundred.

Each connection has one message under way: the next one is sent when the last has come back whole. Frames are masked
and, where asked for, compressed beforehand, and of an answer only its length is looked at, so that the load costs a
fraction of what the server does; the first answer of each connection is compared octet for octet.
"""

import random
import select
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.load import BenchError, Echo, Load

HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
VARIANTS = 8
PATIENCE = 30.0


def text_of(size: int, seed: int) -> bytes:
    """JSON as it is said between a page and its server, cut to size."""
    chosen = random.Random(seed)
    words = ("status", "user", "message", "update", "value", "price", "count", "channel", "session", "error")
    parts, have = [], 0
    while have < size:
        part = f'{{"{chosen.choice(words)}": {chosen.randrange(100000)}, "{chosen.choice(words)}": "{chosen.choice(words)}"}}, '
        parts.append(part)
        have += len(part)
    return "".join(parts)[:size].encode()


def frame_of(payload: bytes, first: int) -> bytes:
    """A masked frame."""
    size, key = len(payload), b"\x37\xfa\x21\x3d"
    if size < 126:
        head = bytes((first, size | 0x80))
    elif size < 65536:
        head = bytes((first, 126 | 0x80)) + size.to_bytes(2)
    else:
        head = bytes((first, 127 | 0x80)) + size.to_bytes(8)
    mask = int.from_bytes((key * (size // 4 + 1))[:size])
    return head + key + (int.from_bytes(payload) ^ mask).to_bytes(size)


def frames_of(echo: Echo) -> list[tuple[bytes, bytes]]:
    """What is sent, and the text in it."""
    made = []
    for seed in range(VARIANTS if echo.size < 100_000 else 2):
        text = text_of(echo.size, seed)
        if echo.is_compressed:
            deflate = zlib.compressobj(6, zlib.DEFLATED, -12, 5)
            made.append((frame_of(deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4], 0xC1), text))
        else:
            made.append((frame_of(text, 0x81), text))
    return made


class Talk:
    """One connection."""

    def __init__(self, port: int, echo: Echo, frames: list[tuple[bytes, bytes]], start: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(HANDSHAKE + (OFFER if echo.is_compressed else b"") + b"\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            octets = self.socket.recv(1)
            if not octets:
                raise BenchError(f"the handshake was answered with {head!r}")
            head += octets
        if b" 101 " not in head or (b"permessage-deflate" in head.lower()) is not echo.is_compressed:
            raise BenchError(f"the handshake was answered with {head!r}")
        self.frames, self.turn, self.done = frames, start, 0
        # What is to be sent, and how much of the answer is still to come; -1: its head is not whole.
        self._out = memoryview(b"")
        self.is_waiting = False
        self._left = -1
        self._head = b""
        self._verify()
        self.socket.setblocking(False)

    def _verify(self) -> None:
        frame, text = self.frames[0]
        self.socket.sendall(frame)
        said = b""
        while len(said) < 2 or len(said) < sum(_size_of(said)):
            octets = self.socket.recv(1 << 20)
            if not octets:
                raise BenchError(f"the connection ended with {said[:80]!r}")
            said += octets
        start, _ = _size_of(said)
        payload = said[start:]
        if said[0] & 0x40:
            payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
        if payload != text:
            raise BenchError(f"{text[:40]!r} came back as {payload[:40]!r}")

    def say(self) -> None:
        """Send the next message."""
        self.turn = (self.turn + 1) % len(self.frames)
        self._out = memoryview(self.frames[self.turn][0])
        self.push()

    def push(self) -> bool:
        """Send what can be sent; True when something is left."""
        try:
            if self._out:
                self._out = self._out[self.socket.send(self._out) :]
        except BlockingIOError:
            pass
        return bool(self._out)

    def hear(self, buffer: bytearray) -> bool:
        """Take what has come; True when the message is back."""
        if self._left < 0:
            self._head += self.socket.recv(65536)
            start, size = _size_of(self._head)
            if not start:
                if not self._head:
                    raise BenchError("the server ended a connection")
                return False
            self._left = start + size - len(self._head)
            self._head = b""
        elif self._left:
            came = self.socket.recv_into(buffer, min(len(buffer), self._left))
            if not came:
                raise BenchError("the server ended a connection")
            self._left -= came
        if self._left:
            return False
        self._left = -1
        self.done += 1
        return True


def _size_of(said: bytes) -> tuple[int, int]:
    """Octets of a frame's head, and of its payload; 0, 0 while that cannot be told."""
    if len(said) < 2:
        return 0, 0
    size = said[1]
    if size < 126:
        return 2, size
    wide = 2 if size == 126 else 8
    return (2 + wide, int.from_bytes(said[2 : 2 + wide])) if len(said) >= 2 + wide else (0, 0)


def press(echo: Echo, port: int, seconds: float) -> Load:
    """Send messages for so many seconds."""
    frames = frames_of(echo)
    talks = {}
    poll = select.epoll()
    buffer = bytearray(1 << 20)
    for number in range(echo.connections):
        talk = Talk(port, echo, frames, number)
        talks[talk.socket.fileno()] = talk
        poll.register(talk.socket, select.EPOLLIN)
    before = time.monotonic()
    begun = sum(talk.done for talk in talks.values())
    for talk in talks.values():
        talk.say()
    end = before + seconds
    while (now := time.monotonic()) < end:
        for descriptor, events in poll.poll(1.0):
            talk = talks[descriptor]
            if events & select.EPOLLIN and talk.hear(buffer):
                talk.say()
            if talk.push() != talk.is_waiting:
                talk.is_waiting = not talk.is_waiting
                poll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if talk.is_waiting else 0))
    for talk in talks.values():
        talk.socket.close()
    return Load(sum(talk.done for talk in talks.values()) - begun, now - before)


@contextmanager
def idle_websockets(count: int, port: int) -> Iterator[None]:
    """Hold so many WebSockets, each of which has had one message; BenchError when one is ended meanwhile."""
    echo = Echo(64, count, is_compressed=True)
    frames = frames_of(echo)
    with ExitStack() as stack:
        poll = select.poll()
        for _ in range(count):
            talk = Talk(port, echo, frames, 0)
            stack.callback(talk.socket.close)
            poll.register(talk.socket, select.POLLRDHUP)
        yield
        if closed := len(poll.poll(0)):
            raise BenchError(f"the server closed {closed} of {count} idle WebSockets while they were held")
