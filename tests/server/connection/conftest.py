"""Connections without a server: see support/wire.py. Whatever a test does, no move between states may be unknown."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from penstock_reactor import EventLoop
from support.hangs import bounded
from support.wire import Serve, Watched, Wire, hello
from support.ws_wire import SocketWire, Talk, WatchedWebSocket


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded():
        yield


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    """A new loop on which nothing may go wrong unseen."""
    loop = EventLoop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, report: reports.append(report))
    yield loop
    loop.close()
    assert reports == []


@pytest.fixture
def wired(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Wire]]:
    """Makes connections, and closes them afterwards."""
    monkeypatch.setattr("penstock.connection.http.WebSocketConnection", WatchedWebSocket)
    made: list[Wire] = []
    Watched.wrong_moves.clear()

    def make(answer: Serve = hello, **options: Any) -> Wire:
        made.append(Wire(loop, answer, **options))
        return made[-1]

    yield make
    for wire in made:
        wire.close()
    assert Watched.wrong_moves == []


@pytest.fixture
def socketed(wired: Callable[..., Wire], loop: EventLoop, request: pytest.FixtureRequest) -> Iterator[Callable[..., SocketWire]]:
    """Makes WebSockets, whose handshake is asked for, and closes them afterwards."""
    made: list[SocketWire] = []

    def make(talk: Talk, **options: Any) -> SocketWire:
        made.append(SocketWire(loop, talk, **options))
        return made[-1]

    yield make
    for wire in made:
        wire.close()
