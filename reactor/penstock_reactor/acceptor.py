"""create_server: listening sockets, and a Server that turns what they accept into transports.

When a listener is readable, connections are accepted until none waits; each gets its protocol and transport, is told so and is
registered for reading in one step, in the accepting callback: no task, and no gap in which a closing server could lose it.
(With TLS the handshake runs by itself, and the protocol hears of the connection when it has succeeded.)
When the process is out of descriptors or memory, accepting rests for a second instead of spinning.

`listeners.py` binds the sockets; this file only listens on them.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import socket
import sys
import weakref
from asyncio.log import logger
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from typing import Any

from .contract import ReactorLoop
from . import listeners
from .connector import check_stream_socket, check_unix_is_supported, open_transport, tls_options
from .transport import SocketTransport

REST_SECONDS = 1.0
OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# Up to 3.11, wait_closed after close returned at once; programs written for it may keep clients open.
WAITS_FOR_CLIENTS = sys.version_info >= (3, 12)


class Server(asyncio.AbstractServer):
    """Listening sockets and the connections that came from them; made by create_server and create_unix_server.

    `begin(sock, peername, server)` starts a transport on an accepted socket; `on_close` runs when listening ends.
    """

    def __init__(
        self,
        loop: ReactorLoop,
        sockets: list[socket.socket],
        begin: Callable[[socket.socket, Any, Server], None],
        backlog: int,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._loop = loop
        self._sockets: list[socket.socket] | None = sockets
        self._begin = begin
        self._backlog = backlog
        self._on_close = on_close
        self._is_listening = False
        # Weak, so that a transport nobody holds is still noticed and warned about.
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self._waiters: list[asyncio.Future[None]] | None = []
        self._forever: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} sockets={self.sockets!r}>"

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop it serves on."""
        return self._loop

    def is_serving(self) -> bool:
        """True while connections are accepted."""
        return self._is_listening

    @property
    def sockets(self) -> tuple[TransportSocket, ...]:
        """The listening sockets; none once closed."""
        return tuple(map(TransportSocket, self._sockets or ()))

    async def start_serving(self) -> None:
        """Begin to listen and accept. Again is harmless."""
        self._listen()

    async def serve_forever(self) -> None:
        """Accept until cancelled, then close; RuntimeError when closed or already awaited."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        if self._sockets is None:
            raise RuntimeError(f"server {self!r} is closed")
        self._listen()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise
        finally:
            self._forever = None

    def close(self) -> None:
        """Close the listening sockets; connections live on."""
        sockets, self._sockets = self._sockets, None
        if sockets is None:
            return
        self._is_listening = False
        for sock in sockets:
            self._loop._poller.unwatch_reader(sock.fileno())
            sock.close()
        if self._on_close is not None:
            self._on_close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        self._wake_if_over()

    def close_clients(self) -> None:
        """Close every connection that came from here; what they have written still leaves."""
        for transport in list(self._clients):
            transport.close()

    def abort_clients(self) -> None:
        """Cut every connection that came from here."""
        for transport in list(self._clients):
            transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the server is closed and its connections have ended (on Python 3.11: only until it is closed)."""
        if self._waiters is None or (self._sockets is None and not WAITS_FOR_CLIENTS):
            return
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    # Called by transports.

    def _attach(self, transport: Any) -> None:
        self._clients.add(transport)

    def _detach(self, transport: Any) -> None:
        self._clients.discard(transport)
        self._wake_if_over()

    def _wake_if_over(self) -> None:
        if self._sockets is not None or self._clients or self._waiters is None:
            return
        waiters, self._waiters = self._waiters, None
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # Accepting.

    def _prepare(self, start_serving: bool) -> None:
        for sock in self._sockets or ():
            sock.setblocking(False)
        if start_serving:
            self._listen()

    def _listen(self) -> None:
        if self._is_listening or self._sockets is None:
            return
        self._is_listening = True
        for sock in self._sockets:
            sock.listen(self._backlog)
            self._watch(sock, contextvars.copy_context())

    def _watch(self, sock: socket.socket, context: contextvars.Context) -> None:
        if self._is_listening:
            accept = functools.partial(context.run, self._accept, sock, context)
            self._loop._poller.watch_reader(sock.fileno(), accept)

    def _accept(self, sock: socket.socket, context: contextvars.Context) -> None:
        # No more than the backlog at a time, or a flood of connections would keep the loop from all else.
        for _ in range(max(self._backlog, 1)):
            if self._loop._poller.free_room() == 0:
                self._rest(sock, context, OSError(errno.EMFILE, "no room for another socket in select()"))
                return
            try:
                connection, peername = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in OUT_OF_RESOURCES:
                    raise
                self._rest(sock, context, exc)
                return
            self._take(connection, peername)
            if not self._is_listening:
                return

    def _take(self, connection: socket.socket, peername: Any) -> None:
        try:
            connection.setblocking(False)
            self._begin(connection, peername, self)
        except BaseException as exc:
            connection.close()
            if isinstance(exc, (SystemExit, KeyboardInterrupt)):
                raise
            self._loop.call_exception_handler(
                {"message": "Error on transport creation for incoming connection", "exception": exc}
            )

    def _rest(self, sock: socket.socket, context: contextvars.Context, exc: OSError) -> None:
        """Out of descriptors: the listener stays readable, so stop looking for a while."""
        self._loop.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",
                "exception": exc,
                "socket": TransportSocket(sock),
            }
        )
        self._loop._poller.unwatch_reader(sock.fileno())
        self._loop.call_later(REST_SECONDS, self._watch, sock, context)


async def create_server(
    loop: ReactorLoop, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, *,
    family: int = socket.AF_UNSPEC, flags: int = socket.AI_PASSIVE, sock: socket.socket | None = None,
    backlog: int = 100, ssl: Any = None,
    reuse_address: bool | None = None, reuse_port: bool | None = None, keep_alive: bool | None = None,
    ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True,
) -> Server:
    """Listen on `port` of one host, of several, or of all interfaces ('' or None); or on the bound `sock`."""
    begin = _beginner(loop, protocol_factory, ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if host is None and port is None:
        if sock is None:
            raise ValueError("Neither host/port nor sock were specified")
        check_stream_socket(sock)
        return _open(Server(loop, [sock], begin, backlog), start_serving)
    if sock is not None:
        raise ValueError("host/port and sock can not be specified at the same time")
    options = listeners.Options(reuse_address, reuse_port, keep_alive)
    sockets = await listeners.bind_all(loop, host, port, family, flags, options)
    return _open(Server(loop, sockets, begin, backlog), start_serving, owns_sockets=True)


async def create_unix_server(
    loop: ReactorLoop, protocol_factory: Callable[[], Any], path: Any = None, *,
    sock: socket.socket | None = None, backlog: int = 100, ssl: Any = None,
    ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
    start_serving: bool = True, cleanup_socket: bool = sys.version_info >= (3, 13),
) -> Server:
    """Listen on the UNIX socket at `path`, or on the bound `sock`; `cleanup_socket` removes the file at close."""
    check_unix_is_supported()
    begin = _beginner(loop, protocol_factory, ssl, ssl_handshake_timeout, ssl_shutdown_timeout)
    if path is None:
        if sock is None:
            raise ValueError("path was not specified, and no sock specified")
        check_stream_socket(sock, socket.AF_UNIX)
        bound = sock
    elif sock is not None:
        raise ValueError("path and sock can not be specified at the same time")
    else:
        bound = listeners.bind_unix(path)
    on_close = listeners.unlinker(bound) if cleanup_socket else None
    return _open(Server(loop, [bound], begin, backlog, on_close), start_serving, owns_sockets=sock is None)


async def connect_accepted_socket(
    loop: ReactorLoop, protocol_factory: Callable[[], Any], sock: socket.socket, *,
    ssl: Any = None, ssl_handshake_timeout: float | None = None, ssl_shutdown_timeout: float | None = None,
) -> tuple[Any, Any]:
    """Make a transport for a connection that was accepted elsewhere; (transport, protocol)."""
    check_stream_socket(sock)
    tls = tls_options(ssl, True, None, ssl_handshake_timeout, ssl_shutdown_timeout)
    return await open_transport(loop, sock, protocol_factory, tls)


def _open(server: Server, start_serving: bool, owns_sockets: bool = False) -> Server:
    try:
        server._prepare(start_serving)
    except BaseException:
        if owns_sockets:  # those that were given stay the caller's
            server.close()
        raise
    if server._loop.get_debug():
        logger.info("%r is serving", server)
    return server


def _beginner(
    loop: ReactorLoop, protocol_factory: Callable[[], Any], ssl: Any,
    handshake_timeout: float | None, shutdown_timeout: float | None,
) -> Callable[[socket.socket, Any, Server], None]:
    """The function that begins a connection on an accepted socket."""
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    tls = tls_options(ssl, True, None, handshake_timeout, shutdown_timeout)

    def begin_plain(sock: socket.socket, peername: Any, server: Server) -> None:
        SocketTransport(loop, sock, protocol_factory(), peername=peername, server=server).start()

    if tls is None:
        return begin_plain

    from .tls import accept_secure

    def begin_secure(sock: socket.socket, peername: Any, server: Server) -> None:
        accept_secure(loop, sock, protocol_factory(), tls, peername, server)

    return begin_secure
