"""One call of an ASGI app for one exchange: scope, receive, send (ASGI HTTP spec 2.5).

`serve` is the coroutine that each request's task runs. Here, and nowhere else, an app's failure is caught: it becomes
a 500 if nothing was sent, else the connection is cut, and the error log gets the traceback. Every message an app sends
is checked, and a mistake is raised to the app with the message's and the key's name.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from ..connection.exchange import ClientDisconnected, Exchange
from .scope import Scope, http_scope

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("penstock.error")

_PLAIN_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


def server_of(app: Application, root_path: str, state: dict[str, Any] | None) -> Callable[[Exchange], Coroutine[None, None, None]]:
    """Bind the app: what comes back makes the coroutine that answers one exchange."""

    async def serve(exchange: Exchange) -> None:
        call = _Call(exchange)
        try:
            await app(http_scope(exchange, root_path, state), call.receive, call.send)
            if not exchange.is_answered:
                call.close_unfinished()
        # SystemExit and KeyboardInterrupt of an app end that request, never the server.
        except BaseException as error:
            call.fail(error)
        finally:
            exchange.end()

    return serve


class _Call:
    """The two callables of one call, and what they have to remember."""

    __slots__ = ("_exchange", "_is_started")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._is_started = False

    async def receive(self) -> Message:
        """`http.request` for each piece of the body, then `http.disconnect`, again and again."""
        exchange = self._exchange
        while True:
            if exchange.is_over:
                return {"type": "http.disconnect"}
            piece = exchange.take()
            if piece is not None:
                return {"type": "http.request", "body": piece[0], "more_body": piece[1]}
            await exchange.wait_readable()

    async def send(self, message: Message) -> None:
        """`http.response.start`, then `http.response.body` until the last; after that, messages are ignored.

        Raises ClientDisconnected (an OSError) when the client is gone, and TypeError, ValueError or RuntimeError for
        a message that is wrong or comes out of order.
        """
        exchange = self._exchange
        kind = message["type"]
        if kind == "http.response.body" and self._is_started:
            if exchange.is_answered:
                return
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = _octets(body)
            exchange.write(body, not message.get("more_body", False))
            if exchange.is_full:
                await exchange.wait_writable()
        elif kind == "http.response.start" and not self._is_started:
            if exchange.is_gone:
                raise ClientDisconnected("the client is gone")
            if "status" not in message:
                raise ValueError("http.response.start: no 'status'")
            exchange.start(message["status"], message.get("headers", ()))
            self._is_started = True
        else:
            raise self._mistake(kind)

    def fail(self, error: BaseException) -> None:
        """The app raised: answer 500 if nothing was sent, else cut the connection; tell the log."""
        exchange = self._exchange
        if isinstance(error, asyncio.CancelledError) and exchange.connection.service.is_draining:
            # The server cancels what outlives the grace period of a drain.
            exchange.cut()
            return
        if isinstance(error, ClientDisconnected) or (exchange.is_gone and isinstance(error, OSError)):
            return
        _log.error("Exception in ASGI application", exc_info=(type(error), error, _traceback_of_app(error)))
        self._answer_500()

    def close_unfinished(self) -> None:
        """The app returned without completing its response."""
        exchange = self._exchange
        if exchange.is_gone:
            return
        how = "without completing its response" if exchange.is_begun else "without sending a response"
        _log.error("ASGI application returned %s: %s %s", how, exchange.head.method, exchange.head.path.decode("ascii", "replace"))
        self._answer_500()

    def _answer_500(self) -> None:
        exchange = self._exchange
        if exchange.is_answered or exchange.is_gone:
            return
        if exchange.is_begun:
            exchange.cut()
            return
        exchange.drop_start()
        try:
            exchange.start(500, _PLAIN_TEXT)
            exchange.write(b"Internal Server Error", True)
        except ClientDisconnected:
            pass

    def _mistake(self, kind: object) -> Exception:
        """What is wrong with a message that does not fit: its type, or its place."""
        if kind == "http.response.start":
            return RuntimeError("http.response.start was sent already")
        if kind == "http.response.body":
            return RuntimeError("http.response.body came before http.response.start")
        return ValueError(f"unknown message type {kind!r}; expected http.response.start or http.response.body")


def _octets(body: object) -> bytes:
    """A body that is not bytes: other buffers are copied, anything else is a mistake."""
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    raise TypeError(f"http.response.body: 'body' must be bytes, not {type(body).__name__}")


def _traceback_of_app(error: BaseException) -> Any:
    """The traceback from the app's first frame on: ours above it tells the app's author nothing."""
    return error.__traceback__.tb_next if error.__traceback__ is not None else None
