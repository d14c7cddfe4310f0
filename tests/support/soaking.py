"""The application of the soak: a normal answer that is counted, an upload that is read, a stream that never ends.

The count stands in a file that the soak maps into its memory, named by SOAK_COUNT: so it is read as often as one
likes, without a request of its own.
"""

import mmap
import os
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE = b"x" * 65536

START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
BODY: Message = {"type": "http.response.body", "body": b"Hello, World!"}


def mapped(path: str) -> memoryview:
    """The count, as a sequence of one number."""
    with open(path, "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")


answered = mapped(os.environ["SOAK_COUNT"]) if "SOAK_COUNT" in os.environ else memoryview(bytearray(8)).cast("Q")


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """`/` answers at once, `/upload` when the body is whole, `/stream` for ever."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        return
    path = scope["path"]
    if path == "/upload":
        while (await receive()).get("more_body"):
            pass
    await send(START)
    while path == "/stream":
        await send({"type": "http.response.body", "body": PIECE, "more_body": True})
    await send(BODY)
    answered[0] += 1
