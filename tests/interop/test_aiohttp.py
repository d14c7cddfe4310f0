"""aiohttp's server and client, and httpx as a client over TLS, on our event loop."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web

from interop.looping import make_certificate, on_our_loop


async def echo(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in request.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


async def talk(request: web.Request) -> web.WebSocketResponse:
    talking = web.WebSocketResponse()
    await talking.prepare(request)
    async for message in talking:
        await talking.send_str(message.data.upper())
    return talking


@asynccontextmanager
async def served(context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """An aiohttp server on a free port of 127.0.0.1."""
    app = web.Application()
    app.add_routes([web.post("/echo", echo), web.get("/talk", talk)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def test_an_aiohttp_client_and_server_exchange_megabytes() -> None:
    body = os.urandom(2 << 20)

    async def main() -> None:
        async with served() as port, aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.post(f"http://127.0.0.1:{port}/echo", data=body) as answer:
                    assert await answer.read() == body

    on_our_loop(main())


def test_many_aiohttp_requests_run_at_once() -> None:
    async def main() -> None:
        async with served() as port, aiohttp.ClientSession() as session:
            async def ask(number: int) -> str:
                async with session.post(f"http://127.0.0.1:{port}/echo", data=str(number)) as answer:
                    text: str = await answer.text()
                    return text

            answers = await asyncio.gather(*(ask(number) for number in range(100)))
            assert answers == [str(number) for number in range(100)]

    on_our_loop(main())


def test_an_aiohttp_websocket_talks() -> None:
    async def main() -> None:
        async with served() as port, aiohttp.ClientSession() as session:
            async with session.ws_connect(f"http://127.0.0.1:{port}/talk") as talking:
                for word in ("one", "two" * 50_000):
                    await talking.send_str(word)
                    assert await talking.receive_str() == word.upper()

    on_our_loop(main())


def test_an_aiohttp_client_times_out_and_leaves_nothing_behind() -> None:
    async def main() -> None:
        never = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await never.wait()
            writer.close()

        async with await asyncio.start_server(silent, "127.0.0.1", 0) as server, aiohttp.ClientSession() as session:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(TimeoutError):
                await session.get(f"http://127.0.0.1:{port}/", timeout=aiohttp.ClientTimeout(total=0.1))
            never.set()

    on_our_loop(main())


def test_httpx_and_aiohttp_speak_tls(tmp_path: Path) -> None:
    server_context, client_context = make_certificate(tmp_path)
    body = os.urandom(1 << 20)

    async def main() -> None:
        async with served(server_context) as port:
            async with httpx.AsyncClient(verify=client_context, trust_env=False, timeout=15) as client:
                for _ in range(3):
                    answer = await client.post(f"https://127.0.0.1:{port}/echo", content=body)
                    assert answer.content == body
            async with aiohttp.ClientSession() as session:
                async with session.post(f"https://localhost:{port}/echo", data=body, ssl=client_context) as other:
                    assert await other.read() == body

    on_our_loop(main())


def test_httpx_refuses_a_certificate_it_does_not_trust(tmp_path: Path) -> None:
    server_context, _ = make_certificate(tmp_path)

    async def main() -> None:
        async with served(server_context) as port, httpx.AsyncClient(trust_env=False, timeout=15) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"https://127.0.0.1:{port}/echo")

    on_our_loop(main())
