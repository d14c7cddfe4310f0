"""The application of the whole-server tests: each path is one way to behave. Plain ASGI.

What a test cannot see from outside is printed, a line each, so that it can be waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = b"x" * 65536


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Do what the path says; a query is its argument."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    try:
        await BEHAVIOURS[scope["path"]](scope, receive, send)
    except OSError as error:
        say(f"send raised {type(error).__name__} on {scope['path']}")
        raise


def say(text: str) -> None:
    print(text, flush=True)


def argument(scope: Message, default: str = "0") -> str:
    return scope["query_string"].decode() or default


async def answer(send: Send, body: bytes, *fields: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(fields)})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def hello(scope: Message, receive: Receive, send: Send) -> None:
    await answer(send, b"hello")


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    await answer(send, await body_of(receive))


async def mirror(scope: Message, receive: Receive, send: Send) -> None:
    """Each piece back as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})


async def count(scope: Message, receive: Receive, send: Send) -> None:
    """How long the body is, read piece by piece after a moment of something else."""
    await asyncio.sleep(float(argument(scope)))
    size, largest, more = 0, 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            say("upload cut")
            return
        size += len(message["body"])
        largest = max(largest, len(message["body"]))
        more = message["more_body"]
    await answer(send, b"%d %d" % (size, largest))


async def unread(scope: Message, receive: Receive, send: Send) -> None:
    await answer(send, b"y" * int(argument(scope, "5")))


async def big(scope: Message, receive: Receive, send: Send) -> None:
    """So many octets, in pieces."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(int(argument(scope)) // len(PIECE)):
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send({"type": "http.response.body"})
    say("all sent")


async def endless(scope: Message, receive: Receive, send: Send) -> None:
    """A stream that never ends by itself and asks nobody."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
        await asyncio.sleep(0.02)


async def events(scope: Message, receive: Receive, send: Send) -> None:
    """A stream that ends when the client is gone, as frameworks send events."""
    ticking = asyncio.ensure_future(endless(scope, receive, send))
    while (await receive())["type"] != "http.disconnect":
        pass
    say("told to leave")
    ticking.cancel()
    await asyncio.wait([ticking])
    await send({"type": "http.response.body"})


async def wait(scope: Message, receive: Receive, send: Send) -> None:
    """Wait for the client to go."""
    say("waiting")
    while (await receive())["type"] != "http.disconnect":
        pass
    say("told")


async def sleep(scope: Message, receive: Receive, send: Send) -> None:
    say("sleeping")
    await asyncio.sleep(float(argument(scope)))
    await answer(send, b"slept")


async def hold(scope: Message, receive: Receive, send: Send) -> None:
    """Answer when there is a file of that name."""
    say("holding")
    while not Path(unquote(argument(scope))).exists():
        await asyncio.sleep(0.01)
    await answer(send, b"let go")


async def background(scope: Message, receive: Receive, send: Send) -> None:
    await answer(send, b"answered")
    await asyncio.sleep(float(argument(scope)))
    say("background done")


async def fail(scope: Message, receive: Receive, send: Send) -> None:
    raise ZeroDivisionError("the app's own fault")


async def fail_late(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ZeroDivisionError("the app's own fault")


async def nothing(scope: Message, receive: Receive, send: Send) -> None:
    return


BEHAVIOURS = {
    "/": hello, "/echo": echo, "/mirror": mirror, "/count": count, "/unread": unread, "/big": big, "/endless": endless,
    "/events": events, "/wait": wait, "/sleep": sleep, "/hold": hold, "/background": background, "/fail": fail, "/fail-late": fail_late,
    "/nothing": nothing,
}
