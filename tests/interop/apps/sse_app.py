"""Server-Sent Events by sse-starlette, without end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route


async def events(request: Request) -> EventSourceResponse:
    async def ticks() -> AsyncIterator[dict[str, Any]]:
        try:
            for number in range(1_000_000):
                yield {"event": "tick", "id": str(number), "data": f"{number}\n{number}"}
                await asyncio.sleep(0.01)
        finally:
            print("events ended", flush=True)

    return EventSourceResponse(ticks())


app = Starlette(routes=[Route("/", events)])
