"""One app served in one process: starting → serving → draining → closed.

    start   the app's lifespan, requests on trial, then the listening sockets go on the loop
    drain   the sockets leave the loop, what is open is finished, within one grace period; what hangs is named and
            cancelled; then the app's lifespan is ended

Written against asyncio's public interface: it runs on any loop that has `add_reader`. It installs no signal handlers
and reads no configuration but its settings.
"""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum

from .asgi.forwarded import forward_of
from .asgi.http import Application, server_of
from .asgi.lifespan import Lifespan, LifespanFailed
from .asgi.smoke import smoke
from .asgi.stack import waiting_at
from .asgi.websocket import websocket_server_of
from .asgi.wrap import wrap
from .connection.acceptor import Acceptor
from .connection.exchange import Exchange
from .connection.service import Service
from .connection.states import State
from .log import access_logger, escape, wants_response_fields
from .settings import Settings

_LAST_TURN = 1.0
"""Seconds a cancelled app gets to clean up."""

_MOST_NAMED = 20
"""Requests that are named when they outlive the grace period; the others are counted."""

_RECENTLY = 1.0
"""At a reload the old code answers on connections that were in use so lately. Who saves a file and then looks at a page
finds them closed, and meets the new code on a new one.
"""

_log = logging.getLogger("penstock.error")


class Phase(Enum):
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    CLOSED = "closed"


class Server:
    """Serves `app` on sockets that are bound and listening."""

    def __init__(
        self, app: Application, settings: Settings, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None
    ) -> None:
        self.phase = Phase.STARTING
        self._app = app = wrap(app, settings)
        self._settings = settings
        self.sockets = sockets
        self.worn: asyncio.Future[str]
        """From `start` on: done when as many answers were given as may be (`limit_max_requests`); says so."""
        self._tls = tls
        self._lifespan = Lifespan(app, settings.lifespan, _log, settings.timeout_startup, settings.timeout_shutdown)
        self.service: Service | None = None
        """What its connections share, from `start` on."""
        self._acceptors: list[Acceptor] = []

    async def start(self) -> None:
        """Start the app, try it, and take connections.

        Raises LifespanFailed and SmokeFailed; NotImplementedError on a loop without readers.
        """
        loop = asyncio.get_running_loop()
        self.worn = loop.create_future()
        await self._lifespan.startup()
        try:
            await smoke(self._app, self._settings, self._lifespan.state)
            self._open(loop)
        except BaseException:
            with suppress(LifespanFailed):
                await self._lifespan.shutdown()
            raise
        self.phase = Phase.SERVING

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        settings = self._settings
        forward = forward_of(settings)
        self.service = Service(
            settings,
            loop,
            server_of(self._app, settings.root_path, self._lifespan.state, forward),
            on_answered=self._counting_hook(access_logger(settings, loop.time)),
            serve_websocket=None if settings.ws == "none" else websocket_server_of(self._app, settings.root_path, self._lifespan.state, forward),
            tls=self._tls,
        )
        self.service.keeps_fields = wants_response_fields(settings.access_log_format)
        self._acceptors = [Acceptor(self.service, sock) for sock in self.sockets]
        for acceptor in self._acceptors:
            acceptor.start()

    @property
    def running(self) -> int:
        """Requests whose app has not ended."""
        return len(self.service.running) if self.service is not None else 0

    @property
    def answered(self) -> int:
        """Answers given. Takes a moment for each open connection."""
        service = self.service
        return service.answered + sum(each.answered for each in service.connections) if service is not None else 0

    def balance(self, *, on_accepted: Callable[[], None] | None = None, fair_share: float | None = None) -> None:
        """Leave new connections to others for a moment where more than `fair_share` requests run; say when some were taken."""
        if self.service is not None:
            self.service.on_accepted = on_accepted or self.service.on_accepted
            self.service.fair_share = fair_share

    async def drain(self, *, has_successor: bool = False) -> None:
        """Finish what is open, within the grace period, and end the app. Raises LifespanFailed.

        Without a successor on the same sockets, connections that wait in the backlog are still taken and answered, and
        the sockets are closed: later clients are refused at once instead of waiting for nobody. With one, connections
        that are idle are kept for their next request, lest they be closed under it.
        """
        service = self.service
        if service is None or self.phase is not Phase.SERVING:
            return
        self.phase = Phase.DRAINING
        for acceptor in self._acceptors:
            acceptor.stop(takes_backlog=not has_successor)
        for sock in () if has_successor else self.sockets:
            sock.close()
        grace, keeps_idle = self._settings.timeout_graceful_shutdown, self._settings.timeout_keep_alive
        if self._settings.reload and has_successor:
            grace, keeps_idle = self._settings.timeout_reload, min(keeps_idle, _RECENTLY)
        draining = asyncio.ensure_future(service.drain(keeps_idle if has_successor else None, grace))
        try:
            done, _ = await asyncio.wait([draining], timeout=grace)
            if not done:
                _name_what_hangs(service)
                await _cancel_what_hangs(service)
        except asyncio.CancelledError:
            self._lifespan.cancel()
            raise
        finally:
            # Also where the drain is itself cut short, in a program that goes on.
            draining.cancel()
            for task in [exchange.task for exchange in service.running if exchange.task is not None]:
                task.cancel()
            service.close()
            self.phase = Phase.CLOSED
        await self._lifespan.shutdown()

    def _counting_hook(self, hook: Callable[[Exchange], None] | None) -> Callable[[Exchange], None] | None:
        """`hook`, and the count of answers where they are limited."""
        limit = self._settings.limit_max_requests
        if limit is None:
            return hook
        left = limit = limit + random.randint(0, self._settings.limit_max_requests_jitter)

        def count(exchange: Exchange) -> None:
            nonlocal left
            left -= 1
            if hook is not None:
                hook(exchange)
            if left == 0:
                self.worn.set_result(f"has given {limit} answers")

        return count


def _name_what_hangs(service: Service) -> None:
    """Say what outlived the grace period, and where it stands."""
    now = service.loop.time()
    for exchange in list(service.running)[:_MOST_NAMED]:
        head, lines = exchange.head, waiting_at(exchange.task) if exchange.task is not None else ""
        method = "WebSocket" if exchange.is_websocket else head.method
        what = f"{method} {escape(head.path.decode('latin-1'))}" + (" (its background work)" if exchange.is_answered else "")
        where = f" It waits here:\n{lines}" if lines else ""
        _log.warning("Cancelling %s after %.1f s.%s", what, now - exchange.started_at, where)
    if len(service.running) > _MOST_NAMED:
        _log.warning("Cancelling %d more", len(service.running) - _MOST_NAMED)
    idle = sum(each.state is State.IDLE and each.answered > 0 for each in service.connections)
    waiting = len(service.connections) - idle - sum(not each.is_answered for each in service.running)
    if waiting > 0:
        _log.warning("Closing %d connections that were not finished", waiting)


async def _cancel_what_hangs(service: Service) -> None:
    """Cancel the apps, and give them a moment to clean up."""
    tasks = [exchange.task for exchange in service.running if exchange.task is not None]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_LAST_TURN)
