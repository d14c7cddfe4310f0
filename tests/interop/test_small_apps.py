"""Applications of single libraries: events for a browser, metrics for Prometheus, Socket.IO by polling, asgiref's adapters."""

import asyncio
import time
from contextlib import AbstractContextManager

import httpx
import pytest
import socketio

from interop.conftest import APPS
from support.serving import Server, serving


def serve(name: str, *options: str) -> AbstractContextManager[Server]:
    return serving(name, "--app-dir", str(APPS), *options)


def get(server: Server, path: str = "/", **more: str) -> httpx.Response:
    return httpx.get(server.url + path, trust_env=False, timeout=15, headers=more)


def test_events_arrive_one_by_one_and_end_when_nobody_reads() -> None:
    with serve("sse_app") as server:
        with httpx.stream("GET", server.url, trust_env=False, timeout=15) as answer:
            lines = answer.iter_lines()
            assert [next(lines) for _ in range(5)] == ["id: 0", "event: tick", "data: 0", "data: 0", ""]
        server.wait_line("events ended")
        assert server.stop() == 0


def test_events_do_not_hold_up_the_end_of_the_server() -> None:
    with serve("sse_app") as server, httpx.stream("GET", server.url, trust_env=False, timeout=15) as answer:
        next(answer.iter_lines())
        begin = time.monotonic()
        assert server.stop() == 0
        # Less than the grace period: it was told to leave.
        assert time.monotonic() - begin < 8


@pytest.mark.parametrize("name", ["metrics_app", "metrics_app:wsgi"])
def test_metrics_are_read(name: str) -> None:
    with serve(name) as server:
        assert "looks_total 3.0" in get(server, "/metrics").text
        packed = get(server, "/metrics", **{"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip" and "looks_total 3.0" in packed.text


def test_socket_io_talks_by_polling() -> None:
    async def talk(url: str) -> None:
        welcome: asyncio.Queue[object] = asyncio.Queue()
        client = socketio.AsyncClient()
        client.on("welcome", welcome.put_nowait)
        client.on("heard", welcome.put_nowait)
        await client.connect(url, transports=["polling"])
        assert await asyncio.wait_for(welcome.get(), 10) == {"path": "/socket.io/"}
        assert [await client.call("double", number, timeout=10) for number in (1, 21)] == [2, 42]
        await client.emit("shout", b"hear \x00 me" * 1000)
        assert await asyncio.wait_for(welcome.get(), 10) == b"HEAR \x00 ME" * 1000
        # Without it the client waits for the end of a poll that the server answers half a minute later.
        await client.eio.disconnect(abort=True)

    with serve("socketio_app", "--timeout-graceful-shutdown", "1") as server:
        asyncio.run(asyncio.wait_for(talk(server.url), 30))
        assert server.stop() == 0


@pytest.mark.parametrize("name", ["asgiref_app:Double", "asgiref_app:single"])
def test_a_double_callable_answers_as_it_is_and_made_single(name: str) -> None:
    with serve(name) as server:
        assert get(server, "/path").text == "/path"


def test_a_wsgi_application_answers_through_an_adapter_mounted_and_as_it_is() -> None:
    for name, path, seen in [("wrapped", "/x", ":/x"), ("plain", "/x", ":/x"), ("mounted", "/old/x", "/old:/x")]:
        with serve(f"asgiref_app:{name}") as server:
            answer = httpx.post(server.url + path, content=b"hello" * 1000, trust_env=False)
            assert answer.text == f"POST {seen} " + "hello" * 1000
