"""Which descriptor is meant, whose it is, and waiting for it."""

import asyncio
import socket
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.readiness import fileno, free_fileno, name_or_none, wait_readable, wait_writable

Pair = tuple[socket.socket, socket.socket]


class Transport:
    """As much of a transport as its descriptor's guard wants to know."""

    def __init__(self, closing: bool = False) -> None:
        self.closing = closing

    def is_closing(self) -> bool:
        return self.closing


class WithFileno:
    def __init__(self, number: Any) -> None:
        self.number = number

    def fileno(self) -> Any:
        return self.number


def test_a_descriptor_is_a_number_or_comes_from_a_file(pair: Pair) -> None:
    assert fileno(5) == 5
    assert fileno(pair[0]) == pair[0].fileno()
    assert fileno(WithFileno("7")) == 7


@pytest.mark.parametrize("thing", ["text", None, object(), 1.5, -1, WithFileno("x"), WithFileno(None), WithFileno(-1)])
def test_what_is_no_descriptor_is_refused(thing: Any) -> None:
    with pytest.raises(ValueError):
        fileno(thing)


def test_the_descriptor_of_a_live_transport_is_not_free(loop: EventLoop, pair: Pair) -> None:
    transport = Transport()
    loop._transports[pair[0].fileno()] = transport
    for thing in (pair[0], pair[0].fileno()):
        with pytest.raises(RuntimeError, match="used by transport"):
            free_fileno(loop, thing)
    transport.closing = True
    assert free_fileno(loop, pair[0]) == pair[0].fileno()
    del transport
    assert free_fileno(loop, pair[0]) == pair[0].fileno()


def test_waiting_ends_when_the_descriptor_is_ready_and_leaves_nothing(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        await wait_writable(loop, pair[0])
        task = asyncio.ensure_future(wait_readable(loop, pair[0]))
        await asyncio.sleep(0)
        assert not task.done()
        pair[1].send(b"x")
        await task

    loop.run_until_complete(main())
    assert loop._poller.unwatch_reader(pair[0].fileno()) is False
    assert loop._poller.unwatch_writer(pair[0].fileno()) is False


def test_a_wait_that_is_cancelled_when_its_descriptor_is_ready_stays_cancelled(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(wait_readable(loop, pair[0]))
        await asyncio.sleep(0)
        pair[1].send(b"x")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop._poller.unwatch_reader(pair[0].fileno()) is False

    loop.run_until_complete(main())


def test_a_cancelled_wait_does_not_take_a_later_one_with_it(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        first = asyncio.ensure_future(wait_readable(loop, pair[0]))
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.ensure_future(wait_readable(loop, pair[0]))
        await asyncio.wait([first])
        pair[1].send(b"x")
        await second

    loop.run_until_complete(main())


def test_the_name_of_a_socket_that_has_none_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert name_or_none(listener.getsockname) == listener.getsockname()
        assert name_or_none(listener.getpeername) is None
