"""A Starlette application: Server-Sent Events, static files, middleware, bodies read and written in pieces."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

left: asyncio.Queue[str] = asyncio.Queue()


async def events(request: Request) -> StreamingResponse:
    """Events without end: only the client's leaving ends them."""

    async def endless() -> AsyncIterator[str]:
        try:
            number = 0
            while True:
                yield f"id: {number}\ndata: tick {number}\n\n"
                number += 1
                await asyncio.sleep(0.01)
        finally:
            left.put_nowait("the reader of events")

    return StreamingResponse(endless(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def poem(request: Request) -> Response:
    """Text, not a file: a file is sent as it is, and Starlette does not compress it then."""
    return PlainTextResponse(open(os.environ["STATIC"] + "/poem.txt").read())


async def wait_for_nothing(request: Request) -> Response:
    """Answers only when the client has gone, so never."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    left.put_nowait("the one who waited")
    return Response(status_code=499)


async def who_left(request: Request) -> PlainTextResponse:
    return PlainTextResponse(await asyncio.wait_for(left.get(), 10))


async def digest(request: Request) -> PlainTextResponse:
    """The body's digest, taken piece by piece."""
    sha256 = hashlib.sha256()
    try:
        async for piece in request.stream():
            sha256.update(piece)
    except ClientDisconnect:
        left.put_nowait("the one who posted")
        raise
    return PlainTextResponse(sha256.hexdigest())


async def large(request: Request) -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(int(request.query_params["pieces"])):
            yield bytes([number % 251]) * 65536

    return StreamingResponse(pieces(), media_type="application/octet-stream")


class Through(BaseHTTPMiddleware):
    """Middleware of the kind that reads like a function around the next one."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["X-Through"] = "middleware"
        return response


app = Starlette(
    routes=[
        Route("/events", events),
        Route("/wait", wait_for_nothing),
        Route("/left", who_left),
        Route("/digest", digest, methods=["POST", "PUT"]),
        Route("/large", large),
        Mount("/static", StaticFiles(directory=os.environ["STATIC"]), middleware=[Middleware(Through)]),
        Mount("/zipped", routes=[Route("/poem.txt", poem)], middleware=[Middleware(GZipMiddleware)]),
    ],
)
