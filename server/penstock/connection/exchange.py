"""One request and its response, as the room above sees them.

The upper room pulls the body (`take`, and `wait_readable` when there is nothing yet), starts the response and writes
its body (`start`, `write`, and `wait_writable` when `is_full`). Plain calls, except where something must be waited
for. The exchange is over for the connection when its response is complete, which then goes on to the next request;
the app behind it may still be at work, and says `end` when it is done.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..codec.errors import ProtocolError
from ..codec.errors import ResponseError as ResponseError
from ..codec.events import RequestHead

if TYPE_CHECKING:
    from .http import HttpConnection

BODY_HIGH_WATER = 65536
"""With more than this of a body waiting for the app, nothing is read from the socket."""


class ClientDisconnected(OSError):
    """The client is gone: what was to be sent cannot arrive (ASGI HTTP spec 2.4)."""


class Exchange:
    """One request and its response.

    What most requests never set has its first value in the class, not in the constructor: that is half a
    microsecond of each.
    """

    task: asyncio.Task[None] | None = None
    """The app's task; None while it is being started."""
    status = 0
    """The status that was sent; 0 before."""
    sent = 0
    """Octets of body that were sent."""
    first_byte_at = 0.0
    """When the first of them was, where the answer came in several pieces."""
    fields: Iterable[tuple[bytes, bytes]] = ()
    """Those of the response, when the service keeps them."""
    ending = "ok"
    """How it ended: ok, or in a word or two why not. For the log."""
    forwarded_client: tuple[str, int] | None = None
    """Who sent the request, as a trusted proxy says."""
    received = 0
    """Octets of body that came."""
    waited = 0.0
    """Seconds the app has waited for them."""
    is_websocket = False
    is_gone = False
    """The client is gone: no answer can reach it."""
    is_answered = False
    """The response is complete."""
    is_told_to_leave = False
    """The app is asked to end: the server drains, or the client has stopped sending."""
    overdue = ProtocolError(408, "the request's body took too long", "RFC 9110 15.5.9")
    """What is wrong when the connection's deadline passes while this one runs."""
    _is_body_taken = False
    _waiting = 0
    _readers = 0
    _pieces: list[bytes] | None = None
    _waiters: list[asyncio.Future[None]] | None = None

    def __init__(self, connection: "HttpConnection", head: RequestHead, started_at: float) -> None:
        self.connection = connection
        self.head = head
        self.started_at = started_at
        self.is_body_complete = not head.body_length

    # ── the request's body ──

    @property
    def is_over(self) -> bool:
        """Nothing more will be received: the client left, the answer is complete, or the app is asked to end."""
        return self.is_gone or self.is_answered or (self._is_body_taken and self.is_told_to_leave)

    def take(self) -> tuple[bytes, bool] | None:
        """What of the body has come, and whether more follows; None when it must be waited for, or was all taken.

        The first call is what lets a waiting client send (100 Continue, RFC 9110 10.1.1).
        """
        if self._is_body_taken:
            return None
        pieces = self._pieces
        if pieces or self.is_body_complete:
            octets = b"" if not pieces else pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._pieces = None
            self._waiting = 0
            has_more = not self.is_body_complete
            if has_more:
                self.connection.resume_body()
            else:
                self._is_body_taken = True
            return octets, has_more
        self.connection.want_body(self)
        return None

    async def wait_readable(self) -> None:
        """Wait until `take` or `is_over` may say something new."""
        self._readers += 1
        try:
            await self.waiter()
        finally:
            self._readers -= 1
            if not self._readers:
                self.connection.stop_clock(self)

    @property
    def is_hungry(self) -> bool:
        """More of the body may be read from the socket."""
        return self._waiting <= BODY_HIGH_WATER

    def feed(self, octets: bytes) -> None:
        """The connection hands over a piece of the body."""
        if self._pieces is None:
            self._pieces = []
        self._pieces.append(octets)
        self._waiting += len(octets)
        self.received += len(octets)
        self.wake()

    def feed_end(self) -> None:
        """The connection says that the body is complete."""
        self.is_body_complete = True
        self.wake()

    # ── the response ──

    def start(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin the response; its head leaves with the first piece of the body. ResponseError: see the codec."""
        connection = self.connection
        service = connection.service
        if service.keeps_fields:
            self.fields = fields = list(fields)
        connection.codec.encode_head(status, fields, service.defaults)
        self.status = status

    def write(self, octets: bytes, is_last: bool) -> None:
        """Send a piece of the body. ClientDisconnected when nobody is there; ResponseError when it does not fit."""
        if self.is_gone:
            raise ClientDisconnected("the client is gone")
        connection = self.connection
        channel, codec = connection.channel, connection.codec
        parts = codec.encode_body(octets, is_last)
        if is_last:
            now = connection.service.now()
            if codec.wants_close:
                channel.write(parts, True)
            else:
                connection.service.outbox.post(connection, parts, now - self.started_at)
        else:
            channel.write(parts)
        self.sent += len(octets)
        if channel.is_broken:
            connection.close()
            raise ClientDisconnected("the client is gone")
        if is_last:
            self.is_answered = True
            if self._waiters is not None:
                self.wake()
            connection.end_answer(self, now)
        elif not self.first_byte_at:
            self.first_byte_at = connection.service.now()

    def put(self, parts: list[bytes]) -> None:
        """Send octets of the response as they are. ClientDisconnected when nobody is there."""
        if not self.is_gone:
            self.connection.channel.write([part for part in parts if part])
            if self.connection.channel.is_broken:
                self.connection.close()
        if self.is_gone:
            raise ClientDisconnected("the client is gone")

    def hint(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Tell the client something before the response begins (RFC 8297); left out where it cannot be told."""
        self.put([self.connection.codec.encode_interim(103, fields)])

    def trail(self, fields: Iterable[tuple[bytes, bytes]]) -> None:
        """Keep fields for the end of the body."""
        self.connection.codec.hold_trailers(fields)

    @property
    def is_begun(self) -> bool:
        """Some of the response is on its way: another one can no longer take its place."""
        return self.is_answered or self.connection.codec.is_response_begun

    @property
    def is_full(self) -> bool:
        """The client takes its answer slowly: `wait_writable` before the next piece."""
        return self.connection.channel.is_full

    async def wait_writable(self) -> None:
        """Wait until the client has taken enough. ClientDisconnected when it went instead."""
        while self.connection.channel.is_full and not self.is_gone:
            await self.waiter()
        if self.is_gone:
            raise ClientDisconnected("the client is gone")

    async def wait_flushed(self) -> None:
        """Wait until the client has taken all that was written. ClientDisconnected when it went instead."""
        self.connection.channel.release()
        while self.connection.channel.queued and not self.is_gone:
            await self.waiter()
        self.put([])

    async def pause(self) -> None:
        """Between two pieces: wait until the client has taken enough, or let the others have their turn."""
        if self.is_full:
            await self.wait_writable()
        else:
            await asyncio.sleep(0)

    def drop_start(self) -> None:
        """Forget a response that was started, none of which is on its way."""
        self.connection.codec.drop_head()
        self.status = 0

    def cut(self, ending: str = "failed") -> None:
        """The response cannot be completed: end the connection so that the client notices."""
        if not self.is_answered and not self.is_gone:
            self.connection.cut(ending)

    def end(self) -> None:
        """The app is done with this exchange, in whatever way."""
        service = self.connection.service
        if self.task is not None:
            self.task = None
            service.running.discard(self)
        if service.is_draining:
            service.notice_idle()

    # ── the connection's part ──

    def tell_to_leave(self) -> None:
        """Ask the app to end: what waits in `wait_readable` wakes up."""
        self.is_told_to_leave = True
        self.wake()

    def lose(self) -> None:
        """The client is gone."""
        self.is_gone = True
        self.wake()

    def wake(self) -> None:
        """Something happened: let whoever waits look again."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def waiter(self) -> asyncio.Future[None]:
        """What to await until something happens, whatever it is."""
        waiter = self.connection.service.loop.create_future()
        # Who gave up is forgotten: an app may ask any number of times whether its client is still there.
        self._waiters = [waiter] if self._waiters is None else [*(each for each in self._waiters if not each.done()), waiter]
        return waiter
