"""Every reactor test has a loop of its own, a list of what went wrong on it, and a bounded time."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from penstock_reactor import EventLoop
from support.hangs import bounded


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded():
        yield


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    """A new loop that is closed afterwards."""
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture
def reports(loop: EventLoop) -> list[dict[str, Any]]:
    """What the loop gave to its exception handler."""
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, report: reports.append(report))
    return reports


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected, non-blocking sockets."""
    first, second = socket.socketpair()
    first.setblocking(False)
    second.setblocking(False)
    with first, second:
        yield first, second
