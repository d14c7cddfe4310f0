"""A WebSocket of the server without a server: see `wire.py`.

    wire = SocketWire(loop, echo)
    wire.say_text("hello")
    assert wire.frames() == [(0x81, b"hello")]

`talk` is what an app does with a session, as the room above the connection would. What it learns stays in the session.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from penstock.connection.exchange import ClientDisconnected
from penstock.connection.session import Session
from penstock.connection.states import State
from penstock.connection.websocket import WebSocketConnection

from .wire import Watched, Wire, hello
from .ws_cases import frame

Talk = Callable[[Session], Coroutine[Any, Any, None]]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"


def handshake(path: str = "/", more: str = "") -> bytes:
    """A request for a WebSocket; `more` are lines with CRLF."""
    return (
        f"GET {path} HTTP/1.1\r\nhost: test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        f"sec-websocket-key: {KEY}\r\nsec-websocket-version: 13\r\n{more}\r\n"
    ).encode()


def split_frames(octets: bytes) -> list[tuple[int, bytes]]:
    """Frames of a server: first octet and payload. All of them have come whole, or it fails."""
    found = []
    while octets:
        size, start = octets[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(octets[2:start], "big")
        if len(octets) < start + size:
            raise AssertionError(f"a frame is not whole: {octets[:80]!r}")
        found.append((octets[0], octets[start : start + size]))
        octets = octets[start + size :]
    return found


async def receive(session: Session) -> str | bytes | None:
    """The next message; None at the end."""
    while True:
        content = session.take_message()
        if content is not None or session.ended is not None:
            return content
        await session.waiter()


async def echo(session: Session) -> None:
    """Accept, and say everything back until the end."""
    session.accept(None, [])
    while (content := await receive(session)) is not None:
        session.send_message(content)
        if session.is_full:
            await session.wait_writable()


class WatchedWebSocket(Watched, WebSocketConnection):
    """One whose moves are checked."""


class SocketWire(Wire):
    """One WebSocket and its client's end, `peer`. The answer to the handshake was read, and stands in `head`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, talk: Talk, *, asks: bytes = handshake(), **options: Any) -> None:
        self.sessions: list[Session] = []
        self.failures: list[Exception] = []

        async def serve(session: Session) -> None:
            self.sessions.append(session)
            try:
                await talk(session)
            except ClientDisconnected as error:
                self.failures.append(error)
            finally:
                session.end()

        super().__init__(loop, hello, websocket=serve, **options)
        self._heard = b""
        self.say(asks)
        self.head = self.hear_head()

    @property
    def session(self) -> Session:
        return self.sessions[-1]

    @property
    def web(self) -> WebSocketConnection:
        web = self.session.web
        assert web is not None
        return web

    def state(self) -> State:
        return self.web.state

    def hear_head(self) -> bytes:
        head, _, rest = self.hear().partition(b"\r\n\r\n")
        self._heard = rest
        return head

    def say_frame(self, first: int, payload: bytes = b"") -> None:
        self.say(frame(first, payload))

    def say_text(self, text: str) -> None:
        self.say_frame(0x81, text.encode())

    def frames(self) -> list[tuple[int, bytes]]:
        """All frames that have come since the last look."""
        heard, self._heard = self._heard + self.hear(), b""
        return split_frames(heard)

    def close(self) -> None:
        for session in self.sessions:
            if session.web is not None:
                session.web.close()
        super().close()
