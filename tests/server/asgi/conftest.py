"""Connections that an ASGI app answers, without a server: see support/wire.py."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from penstock_reactor import EventLoop
from support.client import request
from support.wire import Wire

from penstock.asgi.http import server_of

GET = request()


class AppWire(Wire):
    """A connection that an ASGI app answers."""

    def __init__(self, loop: EventLoop, app: Any, **options: Any) -> None:
        super().__init__(loop, **options, opens=False)
        self.service.serve = server_of(app, "", None)
        self.connection.open()


@pytest.fixture
def serve() -> Iterator[Callable[..., Wire]]:
    """Makes a connection and sends it a request; nothing may go wrong on its loop unseen."""
    loop = EventLoop()
    reports: list[Any] = []
    loop.set_exception_handler(lambda _loop, report: reports.append(report))
    wires: list[Wire] = []

    def make(app: Any, octets: bytes = GET, **options: Any) -> Wire:
        wires.append(AppWire(loop, app, **options))
        wires[-1].say(octets)
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()
    loop.close()
    assert reports == []
