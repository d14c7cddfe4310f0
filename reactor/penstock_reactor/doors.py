"""Doors: the methods of an event loop that only hand the call to the room that knows.

One line each, so that `loop.py` can be read for what a loop *is*. A room that few programs enter is imported when its
door is first opened. The rooms' functions state the whole signature, so a wrong argument is a TypeError at the call.
The coroutine a room returns is handed out as it is: a door adds no layer to the await.
"""

import asyncio
import functools
import socket
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from . import debugging, sockets
from .contract import ReactorLoop
from .readiness import free_fileno, watched_fileno
from .signals import Signals

T = TypeVar("T")
Waiting = Coroutine[Any, Any, T]


class Doors(ReactorLoop):
    """Readiness, raw sockets, streams, datagrams, pipes, processes and signals of an event loop."""

    _signals: Signals

    # Readiness and raw sockets

    def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Call `callback(*args)` in every turn in which `fd` can be read."""
        _check_open(self)
        number = free_fileno(self, fd)
        self._poller.watch_reader(number, _in_context(self, callback, args), fd)

    def remove_reader(self, fd: Any) -> bool:
        """Stop that; False when there was no reader."""
        return not self.is_closed() and self._poller.unwatch_reader(watched_fileno(self, fd))

    def add_writer(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:  # type: ignore[override]
        """Call `callback(*args)` in every turn in which `fd` can be written."""
        _check_open(self)
        number = free_fileno(self, fd)
        self._poller.watch_writer(number, _in_context(self, callback, args), fd)

    def remove_writer(self, fd: Any) -> bool:
        """Stop that; False when there was no writer."""
        return not self.is_closed() and self._poller.unwatch_writer(watched_fileno(self, fd))

    def free_room(self) -> int | None:
        """How many more descriptors the platform lets this loop watch; None when it sets no limit."""
        return self._poller.free_room()

    def sock_recv(self, sock: socket.socket, nbytes: int) -> Waiting[bytes]:
        """Up to `nbytes` bytes from the socket."""
        return sockets.recv(self, sock, nbytes)

    def sock_recv_into(self, sock: socket.socket, buf: Any) -> Waiting[int]:
        """Receive into a buffer."""
        return sockets.recv_into(self, sock, buf)

    def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> Waiting[Any]:
        """A datagram and its sender."""
        return sockets.recvfrom(self, sock, bufsize)

    def sock_recvfrom_into(self, sock: socket.socket, buf: Any, nbytes: int = 0) -> Waiting[Any]:
        """A datagram into a buffer, and its sender."""
        return sockets.recvfrom_into(self, sock, buf, nbytes)

    def sock_sendall(self, sock: socket.socket, data: Any) -> Waiting[None]:
        """Send all of `data`."""
        return sockets.sendall(self, sock, data)

    def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> Waiting[int]:
        """Send one datagram."""
        return sockets.sendto(self, sock, data, address)

    def sock_accept(self, sock: socket.socket) -> Waiting[tuple[socket.socket, Any]]:
        """The next connection of a listening socket."""
        return sockets.accept(self, sock)

    def sock_connect(self, sock: socket.socket, address: Any) -> Waiting[None]:
        """Connect a socket."""
        return sockets.connect(self, sock, address)

    def sock_sendfile(
        self, sock: socket.socket, file: Any, offset: int = 0, count: int | None = None, *, fallback: bool | None = True
    ) -> Waiting[int]:
        """Send a file through a socket."""
        return sockets.sendfile(self, sock, file, offset, count, bool(fallback))

    # Streams, datagrams, pipes, processes: see the rooms for what they take

    def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Waiting[Any]:
        """Connect a stream socket: `connector.create_connection`."""
        from . import connector

        return connector.create_connection(self, protocol_factory, host, port, **options)

    def create_unix_connection(self, protocol_factory: Any, path: Any = None, **options: Any) -> Waiting[Any]:
        """Connect to a Unix socket: `connector.create_unix_connection`."""
        from . import connector

        return connector.create_unix_connection(self, protocol_factory, path, **options)

    def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Waiting[Any]:
        """Listen on TCP: `acceptor.create_server`."""
        from . import acceptor

        return acceptor.create_server(self, protocol_factory, host, port, **options)

    def create_unix_server(self, protocol_factory: Any, path: Any = None, **options: Any) -> Waiting[Any]:
        """Listen on a Unix socket: `acceptor.create_unix_server`."""
        from . import acceptor

        return acceptor.create_unix_server(self, protocol_factory, path, **options)

    def connect_accepted_socket(self, protocol_factory: Any, sock: Any, **options: Any) -> Waiting[Any]:
        """Take over a socket that was accepted elsewhere: `acceptor.connect_accepted_socket`."""
        from . import acceptor

        return acceptor.connect_accepted_socket(self, protocol_factory, sock, **options)

    def start_tls(self, transport: Any, protocol: Any, sslcontext: Any, **options: Any) -> Waiting[Any]:
        """Go on in TLS: `tls.start_tls`."""
        from . import tls

        return tls.start_tls(self, transport, protocol, sslcontext, **options)

    def sendfile(
        self, transport: Any, file: Any, offset: int = 0, count: int | None = None, *, fallback: bool = True
    ) -> Waiting[int]:
        """Send a file through a transport: `sendfile.sendfile`."""
        from . import sendfile

        return sendfile.sendfile(self, transport, file, offset, count, fallback)

    def create_datagram_endpoint(
        self, protocol_factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any
    ) -> Waiting[Any]:
        """Open a datagram socket: `datagram.create_datagram_endpoint`."""
        from . import datagram

        return datagram.create_datagram_endpoint(self, protocol_factory, local_addr, remote_addr, **options)

    def connect_read_pipe(self, protocol_factory: Any, pipe: Any) -> Waiting[Any]:
        """Read from a pipe: `pipe_ends.connect_read_pipe`."""
        from . import pipe_ends

        return pipe_ends.connect_read_pipe(self, protocol_factory, pipe)

    def connect_write_pipe(self, protocol_factory: Any, pipe: Any) -> Waiting[Any]:
        """Write to a pipe: `pipe_ends.connect_write_pipe`."""
        from . import pipe_ends

        return pipe_ends.connect_write_pipe(self, protocol_factory, pipe)

    def subprocess_exec(self, protocol_factory: Any, *args: Any, **options: Any) -> Waiting[Any]:
        """Start a program: `subprocess.subprocess_exec`."""
        from . import subprocess

        return subprocess.subprocess_exec(self, protocol_factory, *args, **options)

    def subprocess_shell(self, protocol_factory: Any, cmd: Any, **options: Any) -> Waiting[Any]:
        """Start a shell command: `subprocess.subprocess_shell`."""
        from . import subprocess

        return subprocess.subprocess_shell(self, protocol_factory, cmd, **options)

    # Signals

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        """Call `callback(*args)` on the loop when the signal comes."""
        _check_open(self)
        self._signals.add(sig, callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Stop that; False when there was no handler."""
        return self._signals.remove(sig)


def _in_context(loop: ReactorLoop, callback: Callable[..., object], args: tuple[Any, ...]) -> Callable[[], object]:
    # One call from the selector to the user's function, in C: no handle, and the context is copied once.
    if loop.get_debug():
        return functools.partial(debugging.run_handle, loop, asyncio.Handle(callback, args, loop))
    return functools.partial(copy_context().run, callback, *args)


def _check_open(loop: ReactorLoop) -> None:
    if loop.is_closed():
        raise RuntimeError("Event loop is closed")
