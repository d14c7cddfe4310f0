"""One call of an ASGI app for one exchange: scope, receive, send (ASGI HTTP spec 2.5).

`serve` is the coroutine that each request's task runs. Here, and nowhere else, an app's failure is caught: it becomes
a 500 if nothing was sent, else the connection is cut, and the error log gets the traceback. Every message an app sends
is checked, and a mistake is raised to the app with the message's and the key's name.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any

from ..connection.exchange import ClientDisconnected, Exchange, ResponseError
from . import extensions
from .forwarded import Forward
from .messages import Message, explained, kind_of, octets_of, take, wrong
from .scope import Scope, http_scope
from .stack import is_ours

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

MOST_IN_TURN = 1 << 20
"""Octets of a stream that a client takes as fast as they come; then the other connections have their turn."""

COST_OF_SEND = 2048
"""What a message costs beside its octets, counted in octets."""

_log = logging.getLogger("penstock.error")

_KNOWN = {"http.response.start", "http.response.body", "http.response.early_hint", *extensions.OFFERED["1.1"]}

PLAIN_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


def server_of(
    app: Application, root_path: str, state: dict[str, Any] | None, forward: Forward | None = None
) -> Callable[[Exchange], Coroutine[None, None, None]]:
    """Bind the app: what comes back makes the coroutine that answers one exchange."""

    async def serve(exchange: Exchange) -> None:
        call = _Call(exchange)
        try:
            await app(http_scope(exchange, root_path, state, forward), call.receive, call.send)
            if not exchange.is_answered:
                call.close_unfinished()
        # SystemExit and KeyboardInterrupt of an app end that request, never the server.
        except BaseException as error:
            call.fail(error)
        finally:
            exchange.end()

    return serve


class _Stage(Enum):
    """What an app may send next."""

    START = "http.response.start"
    BODY = "http.response.body"
    # The same, with trailers to follow.
    BODY_AND_TRAILERS = "http.response.body before its trailers"
    TRAILERS = "http.response.trailers"
    FILE = "nothing until the file is sent"
    DONE = "nothing"


# Looking a member up in its class costs a microsecond's tenth each time.
_START, _BODY, _BODY_AND_TRAILERS, _TRAILERS, _FILE, _DONE = _Stage


class _Call:
    """The two callables of one call, and what they have to remember."""

    __slots__ = ("_exchange", "_stage", "_burst", "_trailers")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._stage = _START
        self._burst = 0

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
        a message that is wrong or comes out of order. What most apps send is done here, the rest is `_send_other`'s.
        """
        exchange = self._exchange
        try:
            kind = message["type"]
            if kind == "http.response.body" and self._stage is _BODY:
                body = message.get("body", b"")
                if type(body) is not bytes:
                    body = octets_of(message, "body")
                more = message.get("more_body", False)
                if more is False:
                    exchange.write(body, True)
                    self._stage = _DONE
                    return
                if more is not True:
                    raise wrong(message, "more_body", "a bool")
                exchange.write(body, False)
                self._burst += len(body) + COST_OF_SEND
                if exchange.is_full:
                    await exchange.wait_writable()
                elif self._burst > MOST_IN_TURN:
                    self._burst = 0
                    await asyncio.sleep(0)
            elif kind == "http.response.start" and self._stage is _START:
                status = message["status"]
                if type(status) is not int:
                    status = int(take(message, "status", int, "an int"))
                has_trailers = "trailers" in message and extensions.has_trailers(exchange, message)
                if exchange.is_gone:
                    raise ClientDisconnected("the client is gone")
                exchange.start(status, message.get("headers", ()))
                self._stage = _BODY_AND_TRAILERS if has_trailers else _BODY
            else:
                await self._send_other(kind_of(message), message)
        except (KeyError, TypeError, ResponseError) as error:
            raise explained(error, message) from None

    async def _send_other(self, kind: str, message: Message) -> None:
        """Extensions, and whatever is wrong."""
        exchange, stage = self._exchange, self._stage
        if stage is _DONE:
            return
        if exchange.is_gone:
            raise ClientDisconnected("the client is gone")
        has_body = stage is _BODY or stage is _BODY_AND_TRAILERS
        if kind == "http.response.early_hint" and (has_body or stage is _START):
            extensions.send_hint(exchange, message)
            await exchange.pause()
        elif kind == "http.response.zerocopysend" and has_body:
            part = extensions.part_of(message)
            await self._send_file(extensions.send_part(exchange, message, part))
            if part.is_last:
                self._end_body()
            else:
                await exchange.pause()
        elif kind == "http.response.pathsend" and has_body and not exchange.is_begun:
            await self._send_file(extensions.send_path(exchange, message))
            self._end_body()
        elif kind == "http.response.body" and has_body:
            exchange.write(octets_of({"body": b"", **message}, "body"), False)
            if not take(message, "more_body", bool, "a bool", False):
                self._end_body()
            await exchange.pause()
        elif kind == "http.response.trailers" and stage is _TRAILERS:
            self._trailers += extensions.fields_of(message)
            if not take(message, "more_trailers", bool, "a bool", False):
                exchange.trail(self._trailers)
                exchange.write(b"", True)
                self._stage = _DONE
        else:
            raise _misplaced(kind, stage)

    async def _send_file(self, sending: Coroutine[None, None, None]) -> None:
        """Let nothing else be sent meanwhile."""
        stage, self._stage = self._stage, _FILE
        try:
            await sending
        except asyncio.CancelledError:
            # All of it was announced: with anything behind it the client would read the wrong octets as its end.
            self._exchange.cut()
            raise
        finally:
            self._stage = stage

    def _end_body(self) -> None:
        """The body is complete: so is the response, unless trailers follow."""
        if self._stage is _BODY_AND_TRAILERS:
            self._stage = _TRAILERS
            self._trailers: list[Any] = []
        else:
            self._exchange.write(b"", True)
            self._stage = _DONE

    def fail(self, error: BaseException) -> None:
        """The app raised: answer 500 if nothing was sent, else cut the connection; tell the log."""
        exchange = self._exchange
        is_stopped = isinstance(error, (asyncio.CancelledError, GeneratorExit))
        if is_stopped and exchange.connection.service.is_draining:
            # The server cancels what outlives the grace period of a drain.
            exchange.cut("drained")
            return
        if not (exchange.is_gone and is_farewell(error)):
            _log.error("Exception in ASGI application", exc_info=(type(error), error, traceback_of_app(error)))
            self._answer_instead(500, b"Internal Server Error")

    def close_unfinished(self) -> None:
        """The app returned without completing its response."""
        exchange = self._exchange
        if exchange.is_gone:
            return
        if exchange.is_told_to_leave:
            # It was asked to: nobody's mistake.
            self._answer_instead(503, b"Service Unavailable")
            return
        how = "without completing its response" if exchange.is_begun else "without sending a response"
        _log.error("ASGI application returned %s: %s %s", how, exchange.head.method, exchange.head.path.decode("ascii", "replace"))
        self._answer_instead(500, b"Internal Server Error")

    def _answer_instead(self, status: int, text: bytes) -> None:
        """And from now on ignore what a task that the app has left behind sends: the connection is the next request's."""
        self._stage = _DONE
        answer_instead(self._exchange, status, text)


def answer_instead(exchange: Exchange, status: int, text: bytes) -> None:
    """Say what the app does not, if anything can still be said; else what was begun is cut."""
    if exchange.is_answered or exchange.is_gone:
        return
    if exchange.is_begun:
        exchange.cut()
        return
    exchange.drop_start()
    with suppress(ClientDisconnected):
        # RFC 9110 15.6.4: a server that leaves has a successor, mostly.
        exchange.start(status, [*PLAIN_TEXT, (b"retry-after", b"1")] if status == 503 else PLAIN_TEXT)
        exchange.write(text, True)


def _misplaced(kind: str, stage: _Stage) -> Exception:
    """What is wrong with a message that does not fit: its type, or its place."""
    if kind not in _KNOWN:
        return ValueError(f"unknown message type {kind!r}; {stage.value} was expected")
    if kind == "http.response.start":
        return RuntimeError(f"http.response.start was sent already; {stage.value} was expected")
    if stage is _START:
        return RuntimeError(f"{kind} came before http.response.start")
    return RuntimeError(f"{kind} came where {stage.value} was expected")


def is_farewell(error: BaseException) -> bool:
    """An app ends so when its client has left: with our own error, with what a framework makes of it, or of
    http.disconnect (Starlette's ClientDisconnect), or with a group of nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_farewell, error.exceptions))
    if isinstance(error, OSError) or "Disconnect" in type(error).__name__:
        return True
    return error.__context__ is not None and is_farewell(error.__context__)


def traceback_of_app(error: BaseException) -> Any:
    """The traceback from the app's first frame on: ours above it tell the app's author nothing. All, if it has none."""
    trace = error.__traceback__
    while trace is not None and is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace or error.__traceback__
