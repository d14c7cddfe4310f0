import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.client import request
from support.wire import Wire

from penstock.connection.exchange import BODY_HIGH_WATER, ClientDisconnected, Exchange, ResponseError

Make = Callable[..., Wire]

GET = request()
POST = request("/", "POST", "content-length: 10\r\n")


class Keeper:
    """An app that leaves its exchange to the test, and stays until it is cancelled."""

    def __init__(self) -> None:
        self.exchange: Any = None

    async def __call__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        await asyncio.get_running_loop().create_future()


def kept(wired: Make, octets: bytes, **options: Any) -> tuple[Wire, Exchange]:
    """A request that runs, and its exchange."""
    keeper = Keeper()
    wire = wired(keeper, **options)
    wire.say(octets)
    return wire, keeper.exchange


# -- the body


def test_a_request_without_a_body_has_an_empty_one_once(wired: Make) -> None:
    _, exchange = kept(wired, GET)
    assert exchange.take() == (b"", False)
    assert exchange.take() is None


def test_a_body_is_taken_as_it_comes(wired: Make) -> None:
    wire, exchange = kept(wired, POST + b"123")
    assert exchange.take() == (b"123", True)
    assert exchange.take() is None
    wire.say(b"456")
    wire.say(b"789")
    assert exchange.take() == (b"456789", True)
    wire.say(b"0")
    assert exchange.take() == (b"0", False)
    assert exchange.take() is None
    assert exchange.received == 10


def test_the_end_of_a_body_may_come_alone(wired: Make) -> None:
    wire, exchange = kept(wired, request("/", "POST", "transfer-encoding: chunked\r\n") + b"1\r\nx\r\n")
    assert exchange.take() == (b"x", True)
    wire.say(b"0\r\n\r\n")
    assert exchange.take() == (b"", False)


def test_waiting_ends_with_the_next_piece(wired: Make) -> None:
    wire, exchange = kept(wired, POST)
    waiting = wire.loop.create_task(exchange.wait_readable())
    wire.turn()
    assert not waiting.done()
    wire.say(b"1")
    assert waiting.done() and exchange.take() == (b"1", True)


def test_several_may_wait_and_one_may_give_up(wired: Make) -> None:
    wire, exchange = kept(wired, POST)
    waiting = [wire.loop.create_task(exchange.wait_readable()) for _ in range(3)]
    wire.turn()
    waiting[1].cancel()
    wire.say(b"1")
    assert [each.cancelled() for each in waiting] == [False, True, False]
    assert all(each.done() for each in waiting)


def test_who_gives_up_waiting_leaves_nothing_behind(wired: Make) -> None:
    """So a framework asks whether the client is still there: it begins to wait and gives up at once."""
    wire, exchange = kept(wired, GET)
    exchange.take()
    for _ in range(50):
        asked = wire.loop.create_task(exchange.wait_readable())
        wire.turn(2)
        asked.cancel()
        wire.turn(2)
    assert asked.cancelled() and len(exchange._waiters or ()) <= 1


@pytest.mark.parametrize("gives_up", [True, False])
def test_the_clients_time_runs_on_while_one_of_several_waits(wired: Make, gives_up: bool) -> None:
    wire, exchange = kept(wired, POST, timeout_body=30)

    async def read() -> None:
        if exchange.take() is None:
            await exchange.wait_readable()

    first = wire.loop.create_task(read())
    wire.turn()
    wire.wait(20)
    second = wire.loop.create_task(read())
    wire.turn()
    if gives_up:
        second.cancel()
    wire.turn()
    assert not first.done()
    wire.wait(11)
    assert wire.hear().startswith(b"HTTP/1.1 408 ") and exchange.is_gone and first.done() and second.done()


def test_a_body_that_is_not_taken_makes_the_exchange_less_hungry(wired: Make) -> None:
    wire, exchange = kept(wired, request("/", "POST", "content-length: 1000000\r\n"))
    assert exchange.is_hungry
    for _ in range(3):
        wire.peer.sendall(b"x" * 50_000)
        wire.turn()
    assert not exchange.is_hungry and exchange.received > BODY_HIGH_WATER
    exchange.take()
    assert exchange.is_hungry and wire.connection.channel.is_reading


# -- the response


def test_the_head_waits_for_the_first_piece(wired: Make) -> None:
    wire, exchange = kept(wired, GET)
    exchange.start(201, [(b"x-a", b"1")])
    assert wire.hear() == b"" and not exchange.is_begun
    exchange.write(b"x", False)
    assert exchange.is_begun
    assert wire.hear() == b"HTTP/1.1 201 Created\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n"
    exchange.write(b"", True)
    assert wire.hear() == b"0\r\n\r\n" and exchange.is_answered and exchange.is_over
    assert (exchange.status, exchange.sent) == (201, 1)


def test_a_started_response_can_be_dropped_for_another(wired: Make) -> None:
    wire, exchange = kept(wired, GET)
    exchange.start(200, [(b"x-a", b"1")])
    exchange.drop_start()
    exchange.start(500, [])
    exchange.write(b"", True)
    assert wire.hear() == b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


def test_a_body_that_does_not_fit_is_raised_to_the_app(wired: Make) -> None:
    wire, exchange = kept(wired, GET)
    exchange.start(200, [(b"content-length", b"3")])
    with pytest.raises(ResponseError):
        exchange.write(b"1234", True)
    assert not exchange.is_answered


def test_a_full_channel_is_waited_for(wired: Make) -> None:
    wire, exchange = kept(wired, GET, send_buffer=4096)
    exchange.start(200, [])
    exchange.write(b"x" * 500_000, False)
    assert exchange.is_full
    waiting = wire.loop.create_task(exchange.wait_writable())
    wire.turn()
    assert not waiting.done()
    wire.hear()
    assert waiting.done() and not exchange.is_full


def test_waiting_for_a_client_that_leaves_raises(wired: Make) -> None:
    wire, exchange = kept(wired, GET, send_buffer=4096)
    exchange.start(200, [])
    exchange.write(b"x" * 500_000, False)
    waiting = wire.loop.create_task(exchange.wait_writable())
    wire.turn()
    wire.peer.close()
    wire.turn()
    assert isinstance(waiting.exception(), ClientDisconnected)
    with pytest.raises(ClientDisconnected):
        exchange.write(b"more", True)


def test_who_waits_for_a_message_is_woken_by_the_end_of_the_answer(wired: Make) -> None:
    wire, exchange = kept(wired, GET)
    exchange.take()
    waiting = wire.loop.create_task(exchange.wait_readable())
    wire.turn()
    exchange.start(200, [])
    exchange.write(b"", True)
    wire.turn()
    assert waiting.done() and exchange.is_over


def test_an_app_that_works_on_after_its_answer_does_not_hold_up_the_next_request(wired: Make) -> None:
    wire, exchange = kept(wired, GET)
    exchange.start(200, [])
    exchange.write(b"", True)
    wire.hear()
    wire.say(request("/next"))
    assert len(wire.service.running) == 2
    assert wire.connection.exchange is not exchange


# -- leaving


def test_to_be_told_to_leave_is_over_only_when_the_body_was_taken(wired: Make) -> None:
    _, exchange = kept(wired, GET)
    exchange.tell_to_leave()
    assert not exchange.is_over
    exchange.take()
    assert exchange.is_over and not exchange.is_gone


def test_cutting_an_answer_that_is_whole_or_lost_does_nothing(wired: Make) -> None:
    wire, exchange = kept(wired, GET)
    exchange.start(200, [])
    exchange.write(b"whole", True)
    exchange.cut()
    assert wire.hear().endswith(b"whole") and wire.connection in wire.service.connections


def test_the_error_of_a_client_that_left_is_an_os_error() -> None:
    assert issubclass(ClientDisconnected, OSError)
