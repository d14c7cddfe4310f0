"""The application every server is measured with: plain ASGI, 13 bytes or what a WebSocket says, no framework in the way."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]

ANSWER = b"Hello, World!"

START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"13")],
}
BODY: Message = {"type": "http.response.body", "body": ANSWER}


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer every request with the same 13 bytes; agree to a lifespan."""
    if scope["type"] != "http":
        await (live if scope["type"] == "lifespan" else echo)(receive, send)
        return
    # Fresh dicts, as a framework would make: a server may keep or change what it is given.
    await send(dict(START))
    await send(dict(BODY))


async def live(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    """Agree to a lifespan."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def echo(receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
    """Each message of a WebSocket comes back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
