"""The application of the whole-server tests of WebSockets: each path is one way to behave. Plain ASGI.

What a test cannot see from outside is printed, a line each, so that it can be waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})
    else:
        try:
            await BEHAVIOURS[scope["path"]](scope, receive, send)
        except OSError as error:
            say(f"send raised {type(error).__name__} on {scope['path']}")
            raise


def say(text: str) -> None:
    print(text, flush=True)


async def open_up(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    await open_up(receive, send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    say(f"ended with {message['code']} {message['reason']!r}")


async def flood(scope: Message, receive: Receive, send: Send) -> None:
    """Send without end."""
    await open_up(receive, send)
    while True:
        await send({"type": "websocket.send", "bytes": b"x" * 100_000})


async def sink(scope: Message, receive: Receive, send: Send) -> None:
    """Take nothing, and stay."""
    await open_up(receive, send)
    say("open")
    await asyncio.Event().wait()


async def wait(scope: Message, receive: Receive, send: Send) -> None:
    """Wait for the end."""
    await open_up(receive, send)
    say("waiting")
    message = await receive()
    say(f"told {message['code']} {message['reason']!r}")


async def deaf(scope: Message, receive: Receive, send: Send) -> None:
    """Work on, whatever is said."""
    await open_up(receive, send)
    say("deaf")
    await asyncio.sleep(3600)


async def deny(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


BEHAVIOURS = {"/": echo, "/flood": flood, "/sink": sink, "/wait": wait, "/deaf": deaf, "/deny": deny}
