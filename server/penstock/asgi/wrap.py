"""What stands around an application when an option asks for it, and costs nothing otherwise.

    --disconnect silent   what is sent to a client that is gone goes nowhere, instead of raising ClientDisconnected
    --log-level trace     every message both ways is shown in the log `penstock.asgi`, long bodies by their beginning

The same for HTTP, WebSocket and lifespan.
"""

import asyncio
import logging
from itertools import count
from typing import Any

from ..connection.exchange import ClientDisconnected
from ..settings import Settings
from .messages import Message

TRACE = 5

_SHOWN = 64
"""Octets or characters of a body that are shown."""

_log = logging.getLogger("penstock.asgi")


def wrap(app: Any, settings: Settings) -> Any:
    """`app` with what the settings ask for around it: mostly nothing."""
    if settings.disconnect == "silent":
        app = _silenced(app)
    return _traced(app) if _log.isEnabledFor(TRACE) else app


def _silenced(app: Any) -> Any:
    async def silenced(scope: Message, receive: Any, send: Any) -> None:
        async def send_if_there(message: Message) -> None:
            try:
                await send(message)
            except ClientDisconnected:
                # One that sends for ever must not keep the loop for itself.
                await asyncio.sleep(0)

        await app(scope, receive, send_if_there)

    return silenced


def _traced(app: Any) -> Any:
    numbers = count(1)

    async def traced(scope: Message, receive: Any, send: Any) -> None:
        number = next(numbers)

        async def receive_seen() -> Message:
            message: Message = await receive()
            _log.log(TRACE, "%d receives %s", number, _shown(message))
            return message

        async def send_seen(message: Message) -> None:
            _log.log(TRACE, "%d sends %s", number, _shown(message))
            await send(message)

        _log.log(TRACE, "%d begins %s", number, _shown(scope))
        try:
            await app(scope, receive_seen, send_seen)
        except BaseException as error:
            _log.log(TRACE, "%d raises %r", number, error)
            raise
        _log.log(TRACE, "%d returns", number)

    return traced


def _shown(message: object) -> str:
    if not isinstance(message, dict):
        return repr(message)
    return "{" + ", ".join(f"{key!r}: {_short(value)}" for key, value in message.items()) + "}"


def _short(value: object) -> str:
    if isinstance(value, (bytes, bytearray, str)) and len(value) > _SHOWN:
        return f"{value[:_SHOWN]!r}… ({len(value)} in all)"
    return repr(value)
