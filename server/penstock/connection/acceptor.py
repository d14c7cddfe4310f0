"""A listening socket on the loop: each connection is accepted and opened in one step.

In one step, so that a drain cannot fall between the two and lose it. There is no task per connection: a new one costs
`accept`, an object, and mostly its first `recv`. When the process has no descriptor left, accepting pauses with a
warning and resumes by itself; it never spins.
"""

import asyncio
import logging
import socket
import sys
from functools import partial
from typing import cast

from ..codec.errors import ProtocolError
from .http import HttpConnection
from .https import HttpsConnection
from .proxied import ProxiedConnection
from .service import Address, Service
from .trust import Trust

BATCH = 64
"""Connections accepted in one turn of the loop at most, so that those that are open get their turn."""

FEW = 8
"""Connections accepted in any case. More are only for a fraction of the time that the others had since: a thousand
clients that come at once must not leave those that are there a tenth of their rate. Fewer than these would cost more turns."""

_SHARE = 0.2

MOST_UNSENT = 131072
"""Octets that the kernel takes for a client beyond what that client has room for. Left to itself it takes 4 MiB, which
cost a millisecond or more: 500 clients that ask for a stream and do not read it stop a server for seconds."""

PAUSE = 0.5
"""Seconds without accepting after the system refused: mostly it has no descriptors or memory left."""

WARN_EVERY = 60.0
"""Seconds between two warnings of it."""

ASIDE = 0.02
"""Seconds for which connections are left to other processes that run fewer requests. What then still waits is taken: the
others may be unable to."""

FLOOD = 64
"""A client too many is told so; but when so many are being told, the next ones are dropped without a word."""

_log = logging.getLogger("penstock.error")


class Acceptor:
    """Accepts from one bound, listening, non-blocking socket. It does not own the socket and never closes it."""

    def __init__(self, service: Service, sock: socket.socket) -> None:
        self._service = service
        self._socket = sock
        self._kind = HttpConnection if service.tls is None else HttpsConnection
        settings = service.settings
        self._proxies = Trust(settings.proxy_protocol_allow_ips) if settings.proxy_protocol else None
        self._is_started = False
        # Ends a pause.
        self._resuming: asyncio.TimerHandle | None = None
        self._has_stepped_aside = False
        self._left_at = 0.0
        self._next_warning = 0.0
        self._family, self._type, self._protocol = int(sock.family), int(sock.type), sock.proto
        self._is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        # A socket bound to every address knows only afterwards which one was called.
        name = sock.getsockname()
        is_wildcard = self._is_tcp and name[0] in ("0.0.0.0", "::")
        self._server: tuple[str, int | None] | None = None
        if not is_wildcard:
            self._server = (name[0], name[1]) if self._is_tcp else (str(name), None)
        if self._is_tcp and sys.platform == "linux":
            # Inherited by each connection.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MOST_UNSENT)

    def start(self) -> None:
        """Take connections from now on."""
        self._is_started = True
        self._service.loop.add_reader(self._socket.fileno(), self._on_readable)

    def stop(self, *, takes_backlog: bool) -> None:
        """Take no more. With `takes_backlog`, those that wait in the kernel already are still opened."""
        if self._is_started:
            self._is_started = False
            self._service.loop.remove_reader(self._socket.fileno())
        elif self._resuming is not None:
            self._resuming.cancel()
        if takes_backlog:
            while self._accept():
                pass

    def _on_readable(self) -> None:
        service = self._service
        is_over = service.fair_share is not None and len(service.running) > service.fair_share
        if is_over and not self._has_stepped_aside:
            self._has_stepped_aside = True
            self._leave_for(ASIDE)
            return
        self._has_stepped_aside = False
        self._accept_some()
        if service.on_accepted is not None:
            service.on_accepted()

    def _accept_some(self) -> None:
        time = self._service.loop.time
        now = time()
        end = now + (now - self._left_at) * _SHARE
        for taken in range(1, BATCH + 1):
            if not self._accept() or (taken >= FEW and time() >= end):
                break
        self._left_at = time()

    def _accept(self) -> bool:
        """Accept one connection and open it; False when none waits."""
        try:
            # What `accept` does, without looking up enums and with nothing but a bare socket: 4 µs a connection.
            descriptor, address = self._socket._accept()  # type: ignore[attr-defined]
            sock = socket.SocketType(self._family, self._type, self._protocol, descriptor)
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            # The client has left again.
            return True
        except OSError as error:
            self._pause(error)
            return False
        try:
            connection = self._connect(sock, cast(Address, address[:2]) if self._is_tcp else None)
        except OSError:
            # The client is gone, which some systems tell only here.
            sock.close()
            return True
        try:
            self._admit(connection)
        except OSError as error:
            # The loop can watch no more sockets.
            connection.close()
            self._pause(error)
            return False
        return True

    def _connect(self, sock: socket.SocketType, client: Address | None) -> HttpConnection | ProxiedConnection:
        sock.setblocking(False)
        if sys.platform == "win32" and self._is_tcp:
            # Elsewhere inherited from the listening socket.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = self._server or sock.getsockname()[:2]
        if self._proxies is not None:
            begin = partial(self._begin, sock)
            return ProxiedConnection(self._service, sock, client, server, self._proxies, begin)
        return self._kind(self._service, sock, client, server)

    def _begin(self, sock: socket.SocketType, client: Address | None, server: tuple[str, int | None]) -> None:
        """A proxy has said whose connection this is."""
        connection = self._kind(self._service, sock, client, server)
        try:
            self._admit(connection)
        except OSError as error:
            connection.close()
            self._pause(error)

    def _admit(self, connection: HttpConnection | ProxiedConnection) -> None:
        """Open a connection, unless a limit is reached."""
        for excess, reason in self._service.crowding(connection.client):
            if excess >= FLOOD:
                connection.channel.close()
                return
            if excess >= 0:
                connection.turn_away(ProtocolError(503, reason, "RFC 9110 15.6.4"))
                return
        connection.open()

    def _pause(self, error: OSError) -> None:
        """The system refuses: the backlog holds the others for a moment."""
        loop = self._service.loop
        if loop.time() >= self._next_warning:
            self._next_warning = loop.time() + WARN_EVERY
            hint = "Raise the limit of open files (ulimit -n) or set --limit-connections."
            _log.warning("Accepting pauses: %s. %s", error.strerror or error, hint)
        self._leave_for(PAUSE)

    def _leave_for(self, seconds: float) -> None:
        if self._is_started:
            self._is_started = False
            self._service.loop.remove_reader(self._socket.fileno())
            self._resuming = self._service.loop.call_later(seconds, self.start)
