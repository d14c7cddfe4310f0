"""What all connections of one server share, and the sweep that watches their deadlines.

The server makes one, hands it down to its acceptors and connections, and reads it: a value, not a way back up. There
is no timer per connection or request: setting a deadline is an assignment, and twice a second the sweep looks for
those that have passed. The sweep also renews the Date line. Without connections it does not run at all.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from email.utils import formatdate
from typing import TYPE_CHECKING

from ..codec.http1 import Limits
from ..codec.response import Defaults
from ..settings import Settings
from .exchange import Exchange
from .outbox import Outbox
from .refusals import Refusals

if TYPE_CHECKING:
    from .life import Connection
    from .session import Session

SWEEP_INTERVAL = 0.5
"""Seconds between two looks at the deadlines; a limit is exceeded by this much at most."""

AT_ONCE = 64
"""Overdue connections that act in one turn of the loop: of thousands the others follow in the next turns, so that those
that are in order are not kept waiting."""

FAREWELLS_A_SECOND = 200
"""WebSockets that are told to leave in a second of a drain, where the grace period is long enough for all."""

Address = tuple[str, int]
Serve = Callable[[Exchange], Coroutine[None, None, None]]
ServeWebSocket = Callable[["Session"], Coroutine[None, None, None]]


class Service:
    """Settings, hooks and the open connections of one server."""

    keeps_idle: float | None = None
    """While draining: see `drain`."""
    farewells = 0.0
    """While draining: over how many seconds the WebSockets are told to leave."""
    on_accepted: Callable[[], None] | None = None
    """Called when connections were taken, when somebody wants to know (a supervisor that balances workers)."""
    fair_share: float | None = None
    """With more running requests than this, new connections are left to other processes for a moment."""
    keeps_fields = False
    """Exchanges remember the fields of their responses, because the access log shows some."""
    answered = 0
    """Responses completed on connections that are closed."""

    def __init__(
        self,
        settings: Settings, loop: asyncio.AbstractEventLoop, serve: Serve, *,
        serve_websocket: ServeWebSocket | None = None,
        on_answered: Callable[[Exchange], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.now = loop.time
        """The loop's clock, bound once."""
        self.keep_alive = settings.timeout_keep_alive
        """Seconds that a connection may be idle behind an answer; fewer while draining for a successor at a reload."""
        self.serve = serve
        """Makes the coroutine that answers an exchange."""
        self.serve_websocket = serve_websocket
        """The same for a WebSocket; None where there are none: who asks for one is answered as any other request."""
        self.on_answered = on_answered
        """Called at the end of each exchange, however it ended, when somebody wants to know (the access log)."""
        self.tls = tls
        """What connections are encrypted by; None: they are not."""
        self.refusals = Refusals()
        self.context = copy_context()
        """What each request starts from, so that nothing leaks from one into the next."""
        self.limits = Limits(
            settings.limit_head, settings.limit_fields, settings.lenient_requests, tls is not None, settings.drop_underscores
        )
        self.connections: set["Connection"] = set()
        self.outbox = Outbox(self)
        self._clients: dict[str, int] | None = None if settings.limit_connections_per_client is None else {}
        self.running: set[Exchange] = set()
        """Exchanges whose app has not ended, answered or not. It keeps their tasks alive: asyncio does not."""
        self.is_draining = False
        self._idle: asyncio.Future[None] | None = None
        self._second = 0
        self._own_lines = _lines_of(settings.headers)
        self._sweeper: asyncio.TimerHandle | None = None
        self.defaults = Defaults(b"", b"", b"")
        """The field lines every response gets: Date and Server, as the settings have it."""
        self._renew_date()

    def add(self, connection: "Connection") -> None:
        """A connection was opened."""
        self.connections.add(connection)
        if self._clients is not None and connection.client is not None:
            host = connection.client[0]
            self._clients[host] = self._clients.get(host, 0) + 1
        if self._sweeper is None:
            self._renew_date()
            self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)

    def discard(self, connection: "Connection") -> None:
        """A connection was closed."""
        self.answered += connection.answered
        self.connections.discard(connection)
        if self._clients is not None and connection.client is not None:
            host = connection.client[0]
            self._clients[host] -= 1
            if not self._clients[host]:
                del self._clients[host]
        self.notice_idle()

    def replace(self, old: "Connection", new: "Connection") -> None:
        """A connection goes on as another one: another protocol is spoken."""
        self.connections.discard(old)
        self.connections.add(new)

    def crowding(self, client: Address | None) -> list[tuple[int, str]]:
        """For each limit of connections by how many it is exceeded (0: reached), and what to say when it is."""
        settings, found = self.settings, []
        if settings.limit_connections is not None:
            found.append((len(self.connections) - settings.limit_connections, "too many connections are open"))
        if settings.limit_connections_per_client is not None and self._clients is not None and client is not None:
            excess = self._clients.get(client[0], 0) - settings.limit_connections_per_client
            found.append((excess, "too many connections of this client are open"))
        return found

    async def drain(self, keeps_idle: float | None = None, grace: float | None = None) -> None:
        """Finish what is open and take nothing new; returns when no connection and no app is left.

        `keeps_idle` is for how many seconds since its last answer a connection may still bring a request; None: it is
        closed at once. `grace` is for how many seconds there will be patience.
        """
        # Clients that are told at the same moment come back at the same moment.
        self.farewells = min((10.0 if grace is None else grace) / 2, len(self.connections) / FAREWELLS_A_SECOND)
        serve, self.is_draining, self.keeps_idle = self.serve, True, keeps_idle

        def serve_last(exchange: Exchange) -> Coroutine[None, None, None]:
            exchange.connection.codec.wants_close = True
            return serve(exchange)

        self.serve = serve_last
        self.keep_alive = self.keep_alive if keeps_idle is None else keeps_idle
        self._idle = self.loop.create_future()
        for connection in list(self.connections):
            connection.drain()
        self.notice_idle()
        await self._idle

    def close(self) -> None:
        """Let go of the connections that are left, and of the loop."""
        for connection in list(self.connections):
            connection.close("drained")
        self.refusals.flush()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def notice_idle(self) -> None:
        """A connection or an app has ended: perhaps it was the last."""
        if self._idle is not None and not self._idle.done() and not self.connections and not self.running:
            self._idle.set_result(None)

    def _sweep(self) -> None:
        """Twice a second: renew the date, let every overdue connection act, look for clients that left unseen."""
        self._sweeper = None
        now = self.now()
        self.refusals.settle(now)
        if not self.connections:
            self.refusals.flush()
            return
        self._renew_date()
        overdue = [each for each in self.connections if each.deadline <= now or each.channel.stalls_at <= now]
        self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)
        if overdue:
            self._expire(overdue, now)
        self._tell_unread_ends()

    def _tell_unread_ends(self) -> None:
        """Where a client has sent more requests than are kept, its end waits behind them: an app should not wait on for it."""
        for exchange in self.running:
            is_waiting = exchange.is_body_complete and not exchange.is_over and not exchange.is_websocket
            if is_waiting and exchange.connection.channel.has_unread_end():
                exchange.tell_to_leave()

    def _expire(self, overdue: list["Connection"], now: float) -> None:
        """Let overdue connections act, unless they have done something since they were found."""
        for connection in overdue[-AT_ONCE:]:
            if connection.deadline <= now or connection.channel.stalls_at <= now:
                connection.expire(now)
        del overdue[-AT_ONCE:]
        if overdue:
            self.loop.call_soon(self._expire, overdue, now)

    def _renew_date(self) -> None:
        """Make the lines anew when the second has changed (IMF-fixdate, RFC 9110 5.6.7)."""
        second = int(time.time())
        if second == self._second:
            return
        self._second = second
        own = self._own_lines
        has_date = self.settings.date_header and b"\ndate: " not in b"\n" + own
        has_server = self.settings.server_header and b"\nserver: " not in b"\n" + own
        date = b"date: %s\r\n" % formatdate(second, usegmt=True).encode() if has_date else b""
        server = b"server: penstock\r\n" if has_server else b""
        self.defaults = Defaults(date, server, date + server + own)


def _lines_of(headers: Iterable[str]) -> bytes:
    """The settings' own headers (NAME:VALUE, checked there) as field lines."""
    pairs = (header.partition(":") for header in headers)
    return "".join(f"{name.lower()}: {value.strip()}\r\n" for name, _, value in pairs).encode("latin-1")
