import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.client import request
from support.wire import WatchedConnection, Wire, hello

from penstock.connection.exchange import Exchange
from penstock.connection.outbox import FEW, QUICK
from penstock.connection.states import State

Make = Callable[..., Wire]
Crowd = list[tuple[WatchedConnection, socket.socket]]
MakeCrowd = Callable[[Wire], Crowd]


@pytest.fixture
def crowded(wired: Make) -> Iterator[MakeCrowd]:
    """Makes as many other connections on a wire's service as it takes for answers to be gathered."""
    crowd: Crowd = []

    def make(wire: Wire) -> Crowd:
        for _ in range(FEW - 1):
            ours, peer = socket.socketpair()
            ours.setblocking(False)
            peer.setblocking(False)
            crowd.append((WatchedConnection(wire.service, ours, ("192.0.2.1", 5001), ("192.0.2.2", 80)), peer))
            crowd[-1][0].open()
        return crowd

    yield make
    for connection, peer in crowd:
        connection.close()
        peer.close()


def has_heard(peer: socket.socket) -> bool:
    try:
        return bool(peer.recv(4096, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def turn_until(wire: Wire, is_so: Callable[[], bool]) -> None:
    """Turn by turn; where tasks cannot start eagerly the app runs in the turn after."""
    for _ in range(5):
        if is_so():
            return
        wire.turn(1)
    raise AssertionError("it did not come to that")


def test_quick_answers_of_one_turn_leave_together_at_its_end(wired: Make, crowded: MakeCrowd) -> None:
    wire = wired()
    crowd = crowded(wire)
    for _, peer in crowd:
        peer.sendall(request("/turn"))
    turn_until(wire, lambda: all(connection.answered for connection, _ in crowd))
    assert not any(has_heard(peer) for _, peer in crowd)
    wire.turn(1)
    assert all(has_heard(peer) for _, peer in crowd)
    assert all(not connection.channel.queued and connection.state is State.IDLE for connection, _ in crowd)


def test_where_few_connections_are_open_an_answer_leaves_at_once(wired: Make) -> None:
    wire = wired()
    wire.peer.sendall(request("/few"))
    turn_until(wire, lambda: bool(wire.connection.answered))
    assert has_heard(wire.peer)


def test_an_answer_that_took_its_time_leaves_at_once_and_so_does_what_was_ready_before(wired: Make, crowded: MakeCrowd) -> None:
    async def slow(exchange: Exchange) -> None:
        if exchange.head.path == b"/slow":
            wire.clock.advance(2 * QUICK)
        await hello(exchange)

    wire = wired(slow)
    (first, quick), (second, tardy) = crowded(wire)[:2]
    quick.sendall(request("/quick"))
    tardy.sendall(request("/slow"))
    turn_until(wire, lambda: bool(first.answered and second.answered))
    assert has_heard(tardy) and has_heard(quick)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks cannot start eagerly: each is answered in a turn of its own")
def test_pipelined_requests_are_answered_in_one_packet(wired: Make) -> None:
    sent: list[int] = []
    wire = wired()
    transmit = wire.connection.channel._send

    def note(octets: Any, *flags: int) -> int:
        sent.append(len(octets))
        return transmit(octets, *flags)

    wire.connection.channel._send = note
    wire.say(request("/1") + request("/2"))
    assert wire.hear().count(b"HTTP/1.1 200") == 2
    assert len(sent) == 1


def test_a_client_that_has_gone_meanwhile_loses_its_connection(wired: Make, crowded: MakeCrowd) -> None:
    wire = wired()
    connection, peer = crowded(wire)[0]
    peer.sendall(request("/gone"))
    turn_until(wire, lambda: bool(connection.answered))
    connection.channel.stop_reading()
    peer.close()
    wire.turn(1)
    assert connection.state is State.CLOSED


def test_an_app_that_filled_the_channel_while_nothing_left_it_goes_on(wired: Make) -> None:
    async def much(exchange: Exchange) -> None:
        if exchange.head.path == b"/much":
            exchange.start(200, [])
            for _ in range(3):
                exchange.write(b"x" * 100_000, False)
                await exchange.wait_writable()
            exchange.write(b"end", True)
        else:
            await hello(exchange)

    wire = wired(much)
    wire.say(request("/before") + request("/much") + request("/after"))
    heard = b""
    while not heard.endswith(b"/after"):
        assert (more := wire.hear())
        heard += more
    assert heard.count(b"x") == 300_000


def test_the_last_answer_does_not_leave_before_those_that_wait(wired: Make) -> None:
    wire = wired()
    wire.say(request("/first") + request("/last", fields="connection: close\r\n"))
    assert wire.hear().endswith(b"connection: close\r\n\r\n/last")
    assert wire.is_ended()


def test_an_answer_that_waits_is_not_lost_with_the_next_request(wired: Make) -> None:
    """Request, whole request, half a request and the end, while the first one runs."""
    go = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        if exchange.head.path == b"/held":
            await go.wait()
        while exchange.take() is None and not exchange.is_over:
            await exchange.wait_readable()
        await hello(exchange)

    wire = wired(answer)
    wire.say(request("/held") + request("/whole") + request("/half", fields="content-length: 5\r\n") + b"1")
    wire.end()
    go.set()
    heard = wire.hear()
    assert b"/held" in heard and b"/whole" in heard and b"/half" not in heard
    assert wire.is_ended()


def test_a_drain_sends_what_waits(wired: Make, crowded: MakeCrowd) -> None:
    wire = wired()
    connection, peer = crowded(wire)[0]
    peer.sendall(request("/drained"))
    turn_until(wire, lambda: bool(connection.answered))
    draining = wire.loop.create_task(wire.service.drain())
    wire.turn(1)
    assert has_heard(peer)
    assert connection.state is not State.IDLE
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        wire.loop.run_until_complete(draining)
