"""WebSockets of real frameworks, spoken to by real clients: websockets, httpx-ws, python-socketio's own."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio
import websockets
from httpx_ws import WebSocketDisconnect, aconnect_ws, connect_ws
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from support.serving import Server, serving

APPS = Path(__file__).parent / "apps"


def served(name: str, *options: str) -> AbstractContextManager[Server]:
    return serving(f"websocket_apps:{name}" if ":" not in name else name, "--app-dir", str(APPS), *options)


@pytest.fixture(scope="module")
def starlette() -> Iterator[Server]:
    with served("starlette") as server:
        yield server
        assert "Traceback" not in server.stderr


def url(server: Server, path: str = "/") -> str:
    return server.url.replace("http", "ws", 1) + path


def opened(server: Server, path: str = "/", **options: Any) -> ClientConnection:
    return connect(url(server, path), open_timeout=15, close_timeout=15, proxy=None, max_size=None, **options)


# -- Starlette, with websockets


@pytest.mark.parametrize("compression", ["deflate", None])
def test_messages_of_all_kinds_come_back(starlette: Server, compression: str | None) -> None:
    with opened(starlette, compression=compression) as client:
        for message in ("", "hello", "h\u00e9 \u20ac \U0001f601" * 1000, b"", b"\0\xff", os.urandom(300_000), "x" * 3_000_000):
            client.send(message)
            assert client.recv() == message
        client.send(iter(["in ", "", "fragments"]))
        assert client.recv() == "in fragments"


def test_subprotocol_headers_and_the_end_are_what_the_app_says(starlette: Server) -> None:
    with opened(starlette, subprotocols=["other", "chat"]) as client:
        assert client.subprotocol == "chat" and client.response is not None and client.response.headers["x-a"] == "1"
        client.close(4001, "done")
    starlette.wait_line("left 4001 'done'")
    with opened(starlette, "/closes") as client, pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert caught.value.rcvd is not None and (caught.value.rcvd.code, caught.value.rcvd.reason) == (4005, "enough")


def test_a_denial_is_an_ordinary_response(starlette: Server) -> None:
    with pytest.raises(InvalidStatus) as caught:
        opened(starlette, "/deny")
    assert (caught.value.response.status_code, caught.value.response.body) == (401, b"not you")
    with pytest.raises(InvalidStatus) as caught:
        opened(starlette, "/no-such-route")
    assert caught.value.response.status_code == 403


def test_pings_are_answered_and_many_messages_under_way_come_back_in_order(starlette: Server) -> None:
    async def main() -> None:
        async with websockets.connect(url(starlette), proxy=None) as client:
            waiter = await client.ping(b"are you there")
            sending = asyncio.ensure_future(send_all(client))
            for number in range(5000):
                assert await client.recv() == str(number)
            await sending
            await asyncio.wait_for(waiter, 15)

    async def send_all(client: Any) -> None:
        for number in range(5000):
            await client.send(str(number))

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_message_over_the_limit_closes_with_1009() -> None:
    with served("starlette", "--ws-max-size", "1000") as server, opened(server) as client:
        client.send("x" * 1001)
        with pytest.raises(ConnectionClosedError) as caught:
            client.recv()
        assert caught.value.rcvd is not None and caught.value.rcvd.code == 1009


# -- FastAPI, with httpx-ws


def test_fastapi_talks_in_json_and_to_everybody() -> None:
    async def main(server: Server) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            path = server.url + "/rooms/blue?token=secret"
            async with aconnect_ws(path, http) as one, aconnect_ws(path, http) as other:
                await one.send_json({"a": 1})
                for each in (one, other):
                    assert await each.receive_json(timeout=15) == {"room": "blue", "said": {"a": 1}}

    with served("fast") as server:
        asyncio.run(asyncio.wait_for(main(server), 60))


def test_fastapi_refuses_by_a_dependency() -> None:
    with served("fast") as server, pytest.raises((WebSocketDisconnect, Exception)) as caught:
        with connect_ws(server.url + "/rooms/blue?token=wrong", httpx.Client(trust_env=False)):
            pass
    assert "403" in str(caught.value) or getattr(getattr(caught.value, "response", None), "status_code", 0) == 403


# -- Django Channels, Quart, GraphQL, Socket.IO


def test_channels_sends_to_a_group() -> None:
    with served("channels") as server:
        with opened(server, "/room") as one, opened(server, "/room") as other:
            one.send('{"said": [1, 2]}')
            assert json.loads(one.recv(15)) == json.loads(other.recv(15)) == {"said": [1, 2]}
        server.wait_line("room left 1000")


def test_quart_talks() -> None:
    with served("quart") as server, opened(server, "/ws") as client:
        for data in (21, "ab", [1]):
            client.send(json.dumps(data))
            assert json.loads(client.recv(15)) == data * 2


def test_a_graphql_subscription_brings_all_it_promises() -> None:
    with served("graphql") as server, opened(server, subprotocols=["graphql-transport-ws"]) as client:
        client.send('{"type": "connection_init"}')
        assert json.loads(client.recv(15))["type"] == "connection_ack"
        client.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": "subscription { count(to: 200) }"}}))
        got = [json.loads(client.recv(15)) for _ in range(201)]
        assert [each["payload"]["data"]["count"] for each in got[:-1]] == list(range(200)) and got[-1]["type"] == "complete"


@pytest.mark.parametrize("transports", [["websocket"], ["polling", "websocket"]])
def test_socket_io_talks_over_a_websocket(transports: list[str]) -> None:
    async def main(server: Server) -> None:
        client = socketio.AsyncClient()
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        client.on("heard", heard.put)
        await client.connect(server.url, transports=transports)
        try:
            assert await client.call("double", 21, timeout=15) == 42
            await client.emit("shout", b"bytes " * 10_000)
            assert await asyncio.wait_for(heard.get(), 15) == b"BYTES " * 10_000
            assert client.transport() == "websocket" or len(transports) > 1
        finally:
            await client.disconnect()

    with served("socketio_app:app") as server:
        asyncio.run(asyncio.wait_for(main(server), 60))
        server.wait_line('transport=websocket.* 101 ')
