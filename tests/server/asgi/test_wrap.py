import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.asgi import ask
from support.client import request
from support.wire import Wire

from penstock.asgi.wrap import TRACE, wrap
from penstock.connection.exchange import ClientDisconnected
from penstock.settings import Settings

Serve = Callable[..., Wire]

PIECE = {"type": "http.response.body", "body": b"x" * 1000, "more_body": True}


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def trace() -> Iterator[None]:
    logger = logging.getLogger("penstock.asgi")
    logger.setLevel(TRACE)
    yield
    logger.setLevel(logging.NOTSET)


def test_without_such_options_nothing_is_around_an_app() -> None:
    assert wrap(hello, Settings()) is hello


# -- silence


def streams(seen: list[str]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send(PIECE)
            await asyncio.sleep(0)
        seen.append("the end")
    return app


@pytest.mark.parametrize("how, seen", [("raise", []), ("silent", ["the end"])])
def test_an_app_may_send_on_to_nobody_if_it_likes(
    serve: Serve, how: str, seen: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []
    wire = serve(wrap(streams(ended), Settings(disconnect=how)))
    wire.peer.close()
    wire.turn(3000)
    assert ended == seen and not wire.service.running and caplog.records == []


def test_sending_for_ever_to_nobody_leaves_others_their_turn() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            await send(PIECE)

    async def gone(message: Any) -> None:
        raise ClientDisconnected("gone")

    async def main() -> None:
        task = asyncio.ensure_future(wrap(app, Settings(disconnect="silent"))({"type": "http"}, None, gone))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(main())


def test_silence_is_for_clients_that_left_and_for_no_mistake(serve: Serve) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "nonsense"})

    assert serve(wrap(app, Settings(disconnect="silent"))).hear().startswith(b"HTTP/1.1 500 ")


# -- trace


@pytest.mark.usefixtures("trace")
def test_every_message_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    ask(wrap(hello, Settings()))
    first, *others = caplog.messages
    assert first.startswith("1 begins {'type': 'http', 'asgi': {'version': '3.0'")
    assert others == [
        "1 receives {'type': 'http.request', 'body': b'', 'more_body': False}",
        "1 sends {'type': 'http.response.start', 'status': 200, 'headers': []}",
        "1 sends {'type': 'http.response.body', 'body': b'hello'}",
        "1 returns",
    ]


@pytest.mark.usefixtures("trace")
@pytest.mark.parametrize("body, shown", [(b"x" * 1000, f"b'{'x' * 64}'… (1000 in all)"), ("y" * 65, f"'{'y' * 64}'… (65 in all)")])
def test_a_long_body_is_shown_by_its_beginning(body: Any, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body", "body": body})

    async def send(message: Any) -> None: ...

    asyncio.run(wrap(app, Settings())({"type": "http"}, None, send))
    assert caplog.messages[1] == f"1 sends {{'type': 'http.response.body', 'body': {shown}}}"


@pytest.mark.usefixtures("trace")
def test_what_is_no_message_and_what_is_raised_is_shown_too(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(None)

    serve(wrap(app, Settings()), request())
    assert "1 sends None" in caplog.messages
    assert "1 raises TypeError('a message must be a dict, not NoneType')" in caplog.messages
