"""One WebSocket, as the room above sees it: messages to take and to send, from the handshake to the end.

Until it is accepted it is an exchange like any other, which a response can refuse. From then on the upper room pulls
messages (`take_message`, and `waiter` when there is none), sends (`send_message`, and `wait_writable` when it says so)
and closes. What came before the end is taken before the end is seen. Knows no frames and no socket; the connection does.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..codec.deflate import Deflate, negotiate
from ..codec.errors import ProtocolError
from ..codec.events import Close, Field, RequestHead
from ..codec.frames import NO_CLOSE
from ..codec.handshake import Handshake, encode_accept
from .channel import HIGH_WATER
from .exchange import ClientDisconnected, Exchange

if TYPE_CHECKING:
    from .http import HttpConnection
    from .websocket import WebSocketConnection

QUEUE_HIGH_WATER = 262144
"""With more octets than this in messages that wait for the app, nothing is read from the socket."""


class Session(Exchange):
    """A WebSocket. The client is gone, or was told to go, when `ended` says so."""

    overdue = ProtocolError(503, "the application did not answer the WebSocket's handshake in time", "RFC 9110 15.6.4")

    is_websocket = True
    web: "WebSocketConnection | None" = None
    """What it is on since it was accepted."""
    ended: Close | None = None
    """How it ended: the client's code and reason, ours, or 1006 when there was no Close."""
    is_ending = False
    """It ends as soon as the app has taken what came before, and comes for more."""
    is_closed_by_app = False
    is_sated = False
    """Enough messages wait: no more are to come before some are taken."""

    def __init__(
        self, connection: "HttpConnection", head: RequestHead, started_at: float, handshake: Handshake, max_queue: int
    ) -> None:
        super().__init__(connection, head, started_at)
        self.handshake = handshake
        self._max_queue = max_queue
        self._queue: list[str | bytes] = []
        self._size = 0

    # ── messages ──

    def take_message(self) -> str | bytes | None:
        """The next message; None when it must be waited for, or when none will come (`ended`)."""
        queue = self._queue
        if not queue:
            if self.is_ending and self.web is not None:
                self.web.end_at_last()
            return None
        content = queue.pop(0)
        self._size -= len(content)
        if self.is_sated and len(queue) * 2 <= self._max_queue and self._size * 2 <= QUEUE_HIGH_WATER:
            self.is_sated = False
            if self.web is not None:
                self.web.resume_soon()
        return content

    @property
    def is_taken(self) -> bool:
        """No message waits for the app."""
        return not self._queue

    def send_message(self, content: str | bytes) -> bool:
        """Send a message; True when `wait_writable` is due. ClientDisconnected when nobody is there, RuntimeError after
        the app's own Close."""
        web = self.web
        if self.ended is not None or web is None:
            raise self.cannot_send()
        channel = web.channel
        channel.write(web.frames.encode_message(content))
        self.sent += len(content)
        if channel.is_broken:
            web.close()
            raise ClientDisconnected("the client is gone")
        return channel.queued > HIGH_WATER

    # ── the beginning and the end ──

    def accept(self, subprotocol: str | None, fields: Iterable[Field]) -> None:
        """Open the WebSocket. ResponseError for what the app may not say, ClientDisconnected when nobody is there."""
        connection, handshake = self.connection, self.handshake
        service = connection.service
        agreed = negotiate(handshake.offers) if service.settings.ws_per_message_deflate else None
        extension = b"" if agreed is None else agreed.encode()
        response = encode_accept(handshake, subprotocol, extension, fields, service.defaults)
        if self.ended is not None:
            raise ClientDisconnected("the client is gone")
        self.status = 101
        connection.upgrade(self, response, None if agreed is None else Deflate(agreed))
        if service.on_answered is not None:
            service.on_answered(self)

    def close(self, close: Close) -> None:
        """The app ends it. ValueError for a code that cannot be sent, else as `send_message`."""
        if self.ended is not None or self.web is None:
            raise self.cannot_send()
        self.web.say_close(close)
        self.is_closed_by_app = True
        self._queue.clear()

    def refuse(self, close: Close) -> None:
        """The app does not want it, and closes before it has accepted: 403 (ASGI), and this is how it ended."""
        self.start(403, ())
        self.is_closed_by_app = True
        self.ended = close
        self.write(b"", True)

    def write(self, octets: bytes, is_last: bool) -> None:
        # A response instead of the WebSocket: when it is whole, that was all.
        super().write(octets, is_last)
        if is_last:
            self.leave(Close(NO_CLOSE, ""))

    def cut(self, ending: str = "failed") -> None:
        if self.web is None:
            super().cut(ending)
        else:
            self.web.close()

    # ── the connection's part ──

    def feed_message(self, content: str | bytes) -> None:
        """A message has come."""
        self._queue.append(content)
        self._size += len(content)
        if len(self._queue) >= self._max_queue or self._size > QUEUE_HIGH_WATER:
            self.is_sated = True
        if self._waiters is not None:
            self.wake()

    def leave(self, close: Close) -> None:
        """It has ended so."""
        if self.ended is None:
            self.ended = close
        self.wake()

    def lose(self) -> None:
        self.is_gone = True
        self.leave(Close(NO_CLOSE, ""))

    def tell_to_leave(self) -> None:
        # In a drain it is accepted yet, and then told in its own words; a client that sends no more is gone.
        if self.connection.has_ended:
            self.lose()

    def cannot_send(self) -> Exception:
        """Why nothing can be sent."""
        if self.is_closed_by_app:
            return RuntimeError("the application has closed the WebSocket")
        ended = self.ended
        how = "" if ended is None or ended.code == NO_CLOSE else f" (code {ended.code}{': ' if ended.reason else ''}{ended.reason})"
        return ClientDisconnected(f"the client is gone{how}")
