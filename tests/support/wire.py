"""A connection of the server without a server: a socket pair, a loop of our own, a clock that stands still.

    wire = Wire(loop, serve, limit_body=10)
    wire.say(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    assert wire.hear().startswith(b"HTTP/1.1 200 ")

`serve` answers exchanges as the room above does. `say` lets the loop do all it can before it returns; time passes
only by `wait`, which also lets the sweep look at the deadlines. Every move between states is checked.
"""

import asyncio
import select
import socket
import ssl
import sys
from collections.abc import Callable, Coroutine
from typing import Any, cast

from penstock.connection.exchange import ClientDisconnected, Exchange
from penstock.connection.http import HttpConnection
from penstock.connection.https import HttpsConnection
from penstock.connection.service import Service, ServeWebSocket
from penstock.connection.states import MOVES, State
from penstock.settings import Settings
from support.clock import Clock

Serve = Callable[[Exchange], Coroutine[Any, Any, None]]

TURNS = 20


def serving(answer: Serve) -> Serve:
    """Make the coroutine of an exchange that ends the exchange, whatever happens in `answer`."""

    async def serve(exchange: Exchange) -> None:
        try:
            await answer(exchange)
        except ClientDisconnected:
            pass
        finally:
            exchange.end()

    return serve


async def hello(exchange: Exchange) -> None:
    """Answer with the path, at once."""
    exchange.start(200, [])
    exchange.write(exchange.head.path, True)


def wait_for_loopback(sock: socket.socket) -> None:
    """On Windows a socket pair is a TCP connection, in which octets take their time; elsewhere they are there at once."""
    if sys.platform == "win32":
        select.select([sock], [], [], 0.05)


class Watched:
    """Notes each move of a connection that the table of states does not know."""

    wrong_moves: list[str] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "state":
            before = getattr(self, "state", value)
            if value is not before and value not in MOVES[before]:
                self.wrong_moves.append(f"{before} → {value}")
        super().__setattr__(name, value)


class WatchedConnection(Watched, HttpConnection):
    """A plain one."""


class WatchedHttpsConnection(Watched, HttpsConnection):
    """One over TLS."""


class Wire:
    """One connection and its client's end, `peer`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Serve = hello,
        *,
        sock: Callable[[socket.socket], object] | None = None,
        send_buffer: int | None = None,
        opens: bool = True,
        tls: ssl.SSLContext | None = None,
        websocket: ServeWebSocket | None = None,
        **options: Any,
    ) -> None:
        self.loop = loop
        self.clock = Clock()
        loop.time = self.clock  # type: ignore[method-assign]  # our loop asks itself through self
        self.answered: list[Exchange] = []
        self.service = Service(
            Settings(**{"date_header": False, "server_header": False, **options}), loop, serving(answer),
            on_answered=self.answered.append, tls=tls, serve_websocket=websocket,
        )
        ours, self.peer = socket.socketpair()
        if send_buffer is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        ours.setblocking(False)
        self.peer.setblocking(False)
        given = cast(socket.socket, sock(ours)) if sock is not None else ours
        kind = WatchedConnection if tls is None else WatchedHttpsConnection
        self.connection: HttpConnection = kind(self.service, given, ("192.0.2.1", 5000), ("192.0.2.2", 80))
        if opens:
            self.connection.open()

    def state(self) -> State:
        return self.connection.state

    def turn(self, turns: int = TURNS) -> None:
        """Let the loop do what can be done without time passing."""
        for _ in range(turns):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def say(self, octets: bytes) -> None:
        self.peer.sendall(octets)
        self.turn()

    def end(self) -> None:
        """The client sends its FIN."""
        self.peer.shutdown(socket.SHUT_WR)
        self.turn()

    def hear(self) -> bytes:
        """All that the client has been sent and has not read."""
        pieces = []
        while True:
            self.turn()
            wait_for_loopback(self.peer)
            try:
                piece = self.peer.recv(1 << 20)
            except BlockingIOError:
                break
            if not piece:
                break
            pieces.append(piece)
        return b"".join(pieces)

    def is_ended(self) -> bool:
        """The client sees the server's end, and nothing before it."""
        self.turn()
        wait_for_loopback(self.peer)
        try:
            return self.peer.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def wait(self, seconds: float) -> None:
        """Let time pass, and the sweep look."""
        self.clock.advance(seconds)
        self.service._sweep()
        self.turn()

    def close(self) -> None:
        self.connection.close()
        self.peer.close()
        for exchange in list(self.service.running):
            if exchange.task is not None:
                exchange.task.cancel()
        self.turn()
        if self.service._sweeper is not None:
            self.service._sweeper.cancel()
