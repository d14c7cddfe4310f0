"""What all connections of one server share, and the sweep that watches their deadlines.

The server makes one, hands it down to its acceptors and connections, and reads it: a value, not a way back up. There
is no timer per connection or request: setting a deadline is an assignment, and twice a second the sweep looks for
those that have passed. The sweep also renews the Date line. Without connections it does not run at all.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import TYPE_CHECKING

from ..codec.errors import ProtocolError
from ..codec.http1 import Limits
from ..codec.response import Defaults
from ..settings import Settings
from .exchange import Exchange

if TYPE_CHECKING:
    from .http import HttpConnection

SWEEP_INTERVAL = 0.5
"""Seconds between two looks at the deadlines; a limit is exceeded by this much at most."""

Serve = Callable[[Exchange], Coroutine[None, None, None]]


class Service:
    """Settings, hooks and the open connections of one server."""

    def __init__(
        self,
        settings: Settings,
        loop: asyncio.AbstractEventLoop,
        serve: Serve,
        *,
        on_answered: Callable[[Exchange], None] | None = None,
        on_refused: Callable[["HttpConnection", ProtocolError], None] | None = None,
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.serve = serve
        """Makes the coroutine that answers an exchange."""
        self.on_answered = on_answered
        """Called at the end of each response, when somebody wants to know (the access log)."""
        self.on_refused = on_refused
        """Called with each request that broke the protocol."""
        self.limits = Limits(settings.limit_head, settings.limit_fields)
        self.connections: set["HttpConnection"] = set()
        self.running: set[Exchange] = set()
        """Exchanges whose app has not ended, answered or not. It keeps their tasks alive: asyncio does not."""
        self.is_draining = False
        self._idle: asyncio.Future[None] | None = None
        self._second = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self.defaults = Defaults(b"", b"", b"")
        """The field lines every response gets: Date and Server, as the settings have it."""
        self._renew_date()

    def add(self, connection: "HttpConnection") -> None:
        """A connection was opened."""
        self.connections.add(connection)
        if self._sweeper is None:
            self._renew_date()
            self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)

    def discard(self, connection: "HttpConnection") -> None:
        """A connection was closed."""
        self.connections.discard(connection)
        self._notice_idle()

    def end(self, exchange: Exchange) -> None:
        """An exchange's app has ended."""
        self.running.discard(exchange)
        if self._idle is not None:
            self._notice_idle()

    async def drain(self) -> None:
        """Finish what is open and take nothing new; returns when no connection and no app is left."""
        self.is_draining = True
        self._idle = self.loop.create_future()
        for connection in list(self.connections):
            connection.drain()
        self._notice_idle()
        await self._idle

    def _notice_idle(self) -> None:
        if self._idle is not None and not self._idle.done() and not self.connections and not self.running:
            self._idle.set_result(None)

    def _sweep(self) -> None:
        """Twice a second: renew the date, let every overdue connection act."""
        self._sweeper = None
        if not self.connections:
            return
        self._renew_date()
        now = self.loop.time()
        overdue = [each for each in self.connections if each.deadline <= now or each.channel.stalls_at <= now]
        self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)
        for connection in overdue:
            connection.expire(now)

    def _renew_date(self) -> None:
        """Make the lines anew when the second has changed (IMF-fixdate, RFC 9110 5.6.7)."""
        second = int(time.time())
        if second == self._second:
            return
        self._second = second
        date = b"date: %s\r\n" % formatdate(second, usegmt=True).encode() if self.settings.date_header else b""
        server = b"server: penstock\r\n" if self.settings.server_header else b""
        self.defaults = Defaults(date, server, date + server)
