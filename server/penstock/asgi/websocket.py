"""One call of an ASGI app for one WebSocket: scope, receive, send (ASGI WebSocket spec 2.5).

`serve` is the coroutine that each WebSocket's task runs. An app's failure is caught here: 500 before it has accepted, a
Close with 1011 after that, the traceback in the error log. One that returns has closed with 1000. Whatever a client does,
the app sees `websocket.disconnect` and nothing else of it, and ClientDisconnected (an OSError) where it still sends.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..codec.events import Close
from ..connection.exchange import ResponseError
from ..connection.session import Session
from .forwarded import Forward
from .http import COST_OF_SEND, MOST_IN_TURN, Application, answer_instead, is_farewell, traceback_of_app
from .messages import Message, explained, kind_of, octets_of, take, wrong
from .scope import websocket_scope

_log = logging.getLogger("penstock.error")

_DENIAL = "websocket.http.response."
_KNOWN = ("websocket.accept", "websocket.send", "websocket.close", _DENIAL + "start", _DENIAL + "body")


def websocket_server_of(
    app: Application, root_path: str, state: dict[str, Any] | None, forward: Forward | None = None
) -> Callable[[Session], Coroutine[None, None, None]]:
    """Bind the app: what comes back makes the coroutine that answers one WebSocket."""

    async def serve(session: Session) -> None:
        call = _Call(session)
        try:
            await app(websocket_scope(session, root_path, state, forward), call.receive, call.send)
            call.finish()
        # SystemExit and KeyboardInterrupt of an app end that WebSocket, never the server.
        except BaseException as error:
            call.fail(error)
        finally:
            session.end()

    return serve


class _Call:
    """The two callables of one call, and what they have to remember."""

    __slots__ = ("_session", "_is_told", "_is_denying", "_burst")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_told = False
        self._is_denying = False
        self._burst = 0

    async def receive(self) -> Message:
        """`websocket.connect`, `websocket.receive` for each message, then `websocket.disconnect`, again and again."""
        session = self._session
        if not self._is_told:
            self._is_told = True
            return {"type": "websocket.connect"}
        while True:
            content = session.take_message()
            if content is not None:
                return {"type": "websocket.receive", "text" if type(content) is str else "bytes": content}
            ended = session.ended
            if ended is not None:
                return {"type": "websocket.disconnect", "code": ended.code, "reason": ended.reason}
            await session.waiter()

    async def send(self, message: Message) -> None:
        """`websocket.accept`, then `websocket.send` and at last `websocket.close`; or a refusal instead of the first.

        Raises ClientDisconnected (an OSError) when the client is gone, and TypeError, ValueError or RuntimeError for
        a message that is wrong or comes out of order.
        """
        session = self._session
        try:
            kind = message["type"]
            if kind == "websocket.send" and session.web is not None:
                content = message.get("text")
                if type(content) is not str or "bytes" in message:
                    content = _content_of(message)
                is_full = session.send_message(content)
                self._burst += len(content) + COST_OF_SEND
                if is_full:
                    await session.wait_writable()
                elif self._burst > MOST_IN_TURN:
                    # A client that takes messages as fast as they come: the others have their turn.
                    self._burst = 0
                    await asyncio.sleep(0)
            else:
                await self._send_once(kind_of(message), message)
        except (KeyError, TypeError, ResponseError) as error:
            raise explained(error, message) from None

    async def _send_once(self, kind: str, message: Message) -> None:
        """What an app sends at most once, or piece by piece instead of accepting."""
        session, is_denying = self._session, self._is_denying
        if kind == "websocket.close" and not is_denying:
            close = Close(take(message, "code", int, "an int", 1000), take(message, "reason", str, "a str", None) or "")
            if session.web is not None or session.ended is not None:
                session.close(close)
            else:
                session.refuse(close)
        elif kind not in _KNOWN:
            raise ValueError(f"unknown message type {kind!r}; expected one of {', '.join(_KNOWN)}")
        elif session.is_closed_by_app:
            raise RuntimeError(f"{kind} after the application has closed")
        elif session.web is not None:
            raise RuntimeError(f"{kind} after websocket.accept")
        elif kind == "websocket.accept" and not is_denying:
            session.accept(take(message, "subprotocol", str, "a str", None), message.get("headers") or ())
        elif kind == _DENIAL + "start" and not is_denying:
            if session.ended is not None:
                raise session.cannot_send()
            session.start(take(message, "status", int, "an int"), message.get("headers") or ())
            self._is_denying = True
        elif kind == _DENIAL + "body" and is_denying:
            if not session.is_answered:
                session.write(octets_of({"body": b"", **message}, "body"), not take(message, "more_body", bool, "a bool", False))
                if session.is_full:
                    await session.wait_writable()
        else:
            raise RuntimeError(f"{kind} " + ("within a response that denies the WebSocket" if is_denying else "before websocket.accept"))

    def finish(self) -> None:
        """The app has returned."""
        session = self._session
        if session.ended is not None or session.is_answered:
            return
        if session.web is not None:
            session.close(Close(1000, ""))
            return
        _log.error("ASGI application returned without accepting or closing: %s", session.head.path.decode("ascii", "replace"))
        answer_instead(session, 500, b"Internal Server Error")

    def fail(self, error: BaseException) -> None:
        """The app raised: 500, or 1011; tell the log."""
        session = self._session
        is_stopped = isinstance(error, (asyncio.CancelledError, GeneratorExit))
        if is_stopped and session.connection.service.is_draining:
            # The server cancels what outlives the grace period of a drain.
            session.cut()
            return
        if session.ended is None or not is_farewell(error):
            _log.error("Exception in ASGI application", exc_info=(type(error), error, traceback_of_app(error)))
        if session.web is None:
            answer_instead(session, 500, b"Internal Server Error")
        elif session.ended is None:
            session.close(Close(1011, "the application failed"))


def _content_of(message: Message) -> str | bytes:
    """The one of 'text' and 'bytes' that a message has."""
    text, octets = message.get("text"), message.get("bytes")
    if (text is None) == (octets is None):
        raise ValueError("websocket.send: exactly one of 'text' and 'bytes' must be given")
    if octets is not None:
        return octets if type(octets) is bytes else octets_of(message, "bytes")
    if not isinstance(text, str):
        raise wrong(message, "text", "a str")
    return str(text)
