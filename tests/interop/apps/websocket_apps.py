"""WebSockets of real frameworks: Starlette, FastAPI, Django Channels, Quart, Strawberry's GraphQL subscriptions."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import strawberry
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path
from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect, WebSocketException
from quart import Quart, websocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from strawberry.asgi import GraphQL

# ── Starlette ──


async def echo(socket: WebSocket) -> None:
    await socket.accept(subprotocol="chat" if "chat" in socket.scope["subprotocols"] else None, headers=[(b"x-a", b"1")])
    try:
        while True:
            message = await socket.receive()
            socket._raise_on_disconnect(message)
            await socket.send({**message, "type": "websocket.send"})
    except WebSocketDisconnect as end:
        print(f"left {end.code} {end.reason!r}", flush=True)


async def deny(socket: WebSocket) -> None:
    await socket.send_denial_response(PlainTextResponse("not you", 401))


async def closes(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close(4005, "enough")


starlette = Starlette(routes=[WebSocketRoute("/", echo), WebSocketRoute("/deny", deny), WebSocketRoute("/closes", closes)])

# ── FastAPI ──

fast = FastAPI()
_here: set[WebSocket] = set()


async def token_of(socket: WebSocket, token: str = "") -> str:
    if token != "secret":
        raise WebSocketException(1008, "no token")
    return token


@fast.websocket("/rooms/{room}")
async def talk(socket: WebSocket, room: str, token: Annotated[str, Depends(token_of)]) -> None:
    await socket.accept()
    _here.add(socket)
    try:
        while True:
            said = await socket.receive_json()
            for each in list(_here):
                await each.send_json({"room": room, "said": said})
    except WebSocketDisconnect:
        _here.discard(socket)


# ── Django Channels ──

settings.configure(SECRET_KEY="k", CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})


class Room(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def receive_json(self, content: Any) -> None:
        await self.channel_layer.group_send("room", {"type": "room.said", "said": content})

    async def room_said(self, event: dict[str, Any]) -> None:
        await self.send_json(event["said"])

    async def disconnect(self, code: int) -> None:
        print(f"room left {code}", flush=True)
        await self.channel_layer.group_discard("room", self.channel_name)


channels = ProtocolTypeRouter({"websocket": URLRouter([path("room", Room.as_asgi())])})

# ── Quart ──

quart = Quart("quart_sockets")


@quart.websocket("/ws")
async def doubling() -> None:
    while True:
        data = json.loads(await websocket.receive())
        await websocket.send(json.dumps(data * 2))


# ── Strawberry ──


@strawberry.type
class Query:
    hello: str = "hello"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number
            await asyncio.sleep(0)


graphql = GraphQL(strawberry.Schema(Query, subscription=Subscription))
