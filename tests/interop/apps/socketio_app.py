"""A Socket.IO server."""

from typing import Any

import socketio

server = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    await server.emit("welcome", {"path": environ["PATH_INFO"]}, to=sid)


@server.event
async def double(sid: str, number: int) -> int:
    return 2 * number


@server.event
async def shout(sid: str, data: bytes) -> None:
    await server.emit("heard", data.upper())
