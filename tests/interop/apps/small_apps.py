"""Small applications of single libraries: sse-starlette, Prometheus' client, python-socketio, asgiref."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import socketio
from asgiref.compatibility import guarantee_single_callable
from asgiref.sync import sync_to_async
from asgiref.wsgi import WsgiToAsgi
from penstock import WSGIMiddleware
from prometheus_client import CollectorRegistry, Counter, make_asgi_app, make_wsgi_app
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount, Route

Send = Callable[[dict[str, Any]], Awaitable[None]]


# ── sse-starlette ──


async def events(request: Request) -> EventSourceResponse:
    async def ticks() -> AsyncIterator[dict[str, Any]]:
        try:
            for number in range(1_000_000):
                yield {"event": "tick", "id": str(number), "data": f"{number}\n{number}"}
                await asyncio.sleep(0.01)
        finally:
            print("events ended", flush=True)

    return EventSourceResponse(ticks())


sse = Starlette(routes=[Route("/", events)])

# ── Prometheus ──

registry = CollectorRegistry()
looks = Counter("looks", "How often somebody looked", registry=registry)
looks.inc(3)
metrics = make_asgi_app(registry)
metrics_wsgi = make_wsgi_app(registry)

# ── python-socketio ──

server = socketio.AsyncServer(async_mode="asgi")
io = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    await server.emit("welcome", {"path": environ["PATH_INFO"]}, to=sid)


@server.event
async def double(sid: str, number: int) -> int:
    return 2 * number


@server.event
async def shout(sid: str, data: bytes) -> None:
    await server.emit("heard", data.upper())


# ── asgiref ──


class Double:
    """An ASGI 2 application: called twice."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope

    async def __call__(self, receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
        if self.scope["type"] != "http":
            raise NotImplementedError
        text = await sync_to_async(lambda: self.scope["path"].encode())()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})


single = guarantee_single_callable(Double)


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    where = f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']}:{environ['PATH_INFO']} "
    return [where.encode(), environ["wsgi.input"].read()]


wrapped = WsgiToAsgi(plain)
mounted = Starlette(routes=[Mount("/old", WSGIMiddleware(plain))])
