import socket
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.client import request
from support.faults import FaultySocket, Short
from support.wire import Wire

from penstock.codec.errors import ProtocolError
from penstock.connection.channel import LOW_WATER
from penstock.connection.exchange import Exchange
from penstock.connection.life import LINGER_TIMEOUT, MOST_UNTAKEN, NO_ANSWER, Connection
from penstock.connection.states import State

Make = Callable[..., Wire]

GET = request()
LAST = request("/", fields="connection: close\r\n")


async def waits(exchange: Exchange) -> None:
    """Answer when told to leave."""
    exchange.take()
    while not exchange.is_over:
        await exchange.wait_readable()
    if not exchange.is_gone:
        exchange.start(200, [])
        exchange.write(b"left", True)


def large(size: int) -> Callable[[Exchange], object]:
    async def answer(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"x" * size, True)

    return answer


# -- the last answer


def test_the_end_comes_before_the_socket_is_closed(wired: Make) -> None:
    """Octets that nobody reads would make the kernel send RST, which eats the answer."""
    wire = wired()
    wire.say(b"nonsense\r\n\r\n")
    assert wire.state() is State.LINGERING
    wire.say(b"more of it" * 1000)
    assert wire.hear().startswith(b"HTTP/1.1 400 ")
    assert wire.is_ended() and wire.state() is State.LINGERING
    wire.end()
    assert wire.state() is State.CLOSED


def test_a_client_that_does_not_end_is_waited_for_only_shortly(wired: Make) -> None:
    wire = wired()
    wire.say(b"nonsense\r\n\r\n")
    wire.wait(LINGER_TIMEOUT - 0.1)
    wire.say(b"x" * 100)
    assert wire.state() is State.LINGERING
    wire.wait(0.2)
    assert wire.state() is State.CLOSED


def test_a_client_that_asked_to_close_is_not_waited_for(wired: Make) -> None:
    wire = wired()
    wire.say(LAST)
    assert wire.state() is State.CLOSED
    assert wire.hear().endswith(b"\r\n\r\n/")


def test_a_last_answer_that_is_not_taken_at_once_is_waited_for(wired: Make) -> None:
    wire = wired(large(1_000_000), send_buffer=4096)
    wire.say(LAST + b"what comes now is discarded" * 10)
    assert wire.state() is State.FLUSHING
    wire.wait(20)
    for _ in range(10):
        wire.say(b"more" * 1000)
    assert wire.connection.codec.buffer.size < 1000
    assert wire.hear().count(b"x") >= 1_000_000
    assert wire.state() in (State.LINGERING, State.CLOSED)


def test_a_last_answer_that_nobody_takes_is_given_up(wired: Make) -> None:
    wire = wired(large(1_000_000), send_buffer=4096)
    wire.say(LAST)
    wire.wait(30.1)
    assert wire.state() is State.CLOSED


def test_a_client_that_resets_while_its_last_answer_is_sent_is_forgotten(wired: Make) -> None:
    wire = wired(large(1_000_000), send_buffer=4096)
    wire.say(LAST)
    wire.peer.close()
    wire.turn()
    assert wire.state() is State.CLOSED


def test_closing_twice_is_closing_once(wired: Make) -> None:
    wire = wired()
    wire.connection.close()
    wire.connection.close()
    assert wire.state() is State.CLOSED and not wire.service.connections


# -- cut


def test_a_cut_response_does_not_look_whole(wired: Make) -> None:
    async def cut(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"half", False)
        exchange.cut()
        assert exchange.is_gone

    wire = wired(cut)
    wire.say(GET)
    heard = wire.hear()
    assert not heard.endswith(b"0\r\n\r\n")
    assert wire.state() is State.CLOSED


@pytest.mark.parametrize("call", range(1, 8))
@pytest.mark.parametrize("fault", [ConnectionResetError(), BrokenPipeError(), TimeoutError()])
def test_a_network_that_fails_at_any_call_ends_the_connection_and_nothing_else(
    wired: Make, call: int, fault: OSError
) -> None:
    for name in ("recv", "send", "sendmsg"):
        wire = wired(large(200_000), sock=lambda real, name=name: FaultySocket(real, **{name: {call: fault}}), send_buffer=4096)
        # The client's end may notice.
        with suppress(OSError):
            wire.say(GET * 3)
            wire.hear()
        wire.peer.close()
        wire.turn()
        assert wire.state() is State.CLOSED and not wire.service.running


@pytest.mark.parametrize("call", range(1, 6))
def test_a_socket_that_would_block_or_takes_little_loses_nothing(wired: Make, call: int) -> None:
    for fault in (BlockingIOError(), InterruptedError(), Short(1), Short(100)):
        wire = wired(
            large(200_000),
            sock=lambda real, fault=fault: FaultySocket(real, send={call: fault}, sendmsg={call: fault}, recv={call: BlockingIOError()}),
            send_buffer=4096,
        )
        wire.say(GET)
        wire.say(GET)
        assert wire.hear().count(b"x") == 400_000


# -- drain


def test_a_connection_that_was_answered_is_closed_at_once(wired: Make) -> None:
    wire = wired()
    wire.say(GET)
    wire.hear()
    wire.connection.drain()
    assert wire.is_ended() and wire.state() is State.CLOSED


def test_a_request_that_has_come_already_is_answered(wired: Make) -> None:
    wire = wired()
    wire.say(GET)
    wire.hear()
    wire.peer.sendall(request("/second"))
    wire.connection.drain()
    heard = wire.hear()
    assert heard.endswith(b"/second") and b"\r\nconnection: close\r\n" in heard


def test_a_request_that_waits_behind_an_answer_is_answered(wired: Make) -> None:
    """Between the answer and the next turn, in which what came meanwhile is taken."""
    wire = wired(waits)
    wire.say(GET + request("/second"))
    (exchange,) = wire.service.running
    exchange.start(200, [])
    exchange.write(b"first", True)
    assert wire.state() is State.IDLE and wire.connection.codec.buffer.size
    wire.connection.drain()
    heard = wire.hear()
    assert heard.count(b"HTTP/1.1 200 OK") == 2 and heard.endswith(b"left")


def test_a_fresh_connection_is_owed_an_answer(wired: Make) -> None:
    wire = wired()
    wire.connection.drain()
    wire.wait(0.9)
    wire.say(GET)
    heard = wire.hear()
    assert heard.endswith(b"\r\n\r\n/") and b"\r\nconnection: close\r\n" in heard


def test_a_fresh_connection_that_says_nothing_is_let_go_soon(wired: Make) -> None:
    wire = wired()
    wire.connection.drain()
    wire.wait(1.1)
    assert wire.is_ended()


def test_half_a_head_may_become_a_whole_one(wired: Make) -> None:
    wire = wired()
    wire.say(GET[:10])
    wire.connection.drain()
    wire.wait(2)
    wire.say(GET[10:])
    assert b"\r\nconnection: close\r\n" in wire.hear()


def test_a_running_app_is_told_and_its_answer_is_the_last(wired: Make) -> None:
    wire = wired(waits)
    wire.say(GET)
    assert wire.hear() == b""
    wire.connection.drain()
    heard = wire.hear()
    assert heard.endswith(b"left") and b"\r\nconnection: close\r\n" in heard


def test_an_answer_on_its_way_is_not_lost(wired: Make) -> None:
    wire = wired(large(1_000_000), send_buffer=4096)
    wire.say(GET)
    wire.connection.drain()
    assert wire.state() is State.FLUSHING
    assert wire.hear().count(b"x") == 1_000_000
    assert wire.is_ended()


def test_a_body_nobody_reads_is_not_waited_for(wired: Make) -> None:
    wire = wired()
    wire.say(request("/", "POST", "content-length: 100\r\n"))
    wire.hear()
    assert wire.state() is State.SKIPPING
    wire.connection.drain()
    assert wire.state() is State.LINGERING


def test_an_app_that_starts_during_the_drain_is_told_too(wired: Make) -> None:
    wire = wired(waits)
    draining = wire.loop.create_task(wire.service.drain())
    wire.turn()
    wire.say(GET)
    assert wire.hear().endswith(b"left")
    wire.end()
    assert draining.done()


def test_an_app_behind_the_clients_end_is_told_too(wired: Make) -> None:
    wire = wired(waits)
    wire.peer.sendall(GET * 3)
    wire.end()
    assert wire.hear().count(b"left") == 3 and not wire.service.running


def test_nothing_is_read_after_the_end(wired: Make) -> None:
    sockets: list[FaultySocket] = []

    def counted(real: socket.socket) -> FaultySocket:
        sockets.append(FaultySocket(real, recv={}))
        return sockets[-1]

    for octets in (LAST, LAST + b"more", b"nonsense\r\n\r\n"):
        wire = wired(opens=False, sock=counted)
        wire.peer.sendall(octets)
        wire.peer.shutdown(socket.SHUT_WR)
        wire.connection.open()
        assert sockets[-1].calls["recv"] == 1
        wire.turn()
        assert wire.state() is State.CLOSED


# -- drain, with a successor: wire.service.keeps_idle says for how long connections are kept that are idle


def drained(wire: Wire, keeps_idle: float) -> None:
    """As the service drains, without waiting for the end of it."""
    wire.service.keeps_idle = keeps_idle
    wire.connection.drain()


def test_an_idle_connection_is_kept_for_its_next_request_which_is_its_last(wired: Make) -> None:
    wire = wired()
    wire.say(GET)
    wire.hear()
    drained(wire, 5.0)
    assert wire.state() is State.IDLE
    wire.wait(4.0)
    wire.say(GET)
    assert b"\r\nconnection: close\r\n" in wire.hear()
    assert wire.is_ended()


def test_it_is_kept_no_longer_than_it_would_be_anyway(wired: Make) -> None:
    wire = wired()
    wire.say(GET)
    wire.hear()
    wire.wait(3.0)
    drained(wire, 5.0)
    wire.wait(1.9)
    assert wire.state() is State.IDLE
    wire.wait(0.2)
    assert wire.is_ended()


def test_at_a_reload_only_one_that_was_in_use_just_now_is_kept(wired: Make) -> None:
    wire = wired()
    wire.say(GET)
    wire.hear()
    wire.wait(0.5)
    drained(wire, 1.0)
    wire.wait(0.4)
    assert wire.state() is State.IDLE
    wire.wait(0.2)
    assert wire.is_ended()


def test_one_that_was_not_is_closed_at_the_next_look(wired: Make) -> None:
    wire = wired()
    wire.say(GET)
    wire.hear()
    wire.wait(2.0)
    drained(wire, 1.0)
    wire.wait(0.1)
    assert wire.is_ended()


def test_a_fresh_connection_may_take_its_time_with_a_successor(wired: Make) -> None:
    wire = wired()
    drained(wire, 5.0)
    wire.wait(4.0)
    wire.say(GET)
    assert b"\r\nconnection: close\r\n" in wire.hear()


def test_a_client_that_was_promised_another_answer_gets_it(wired: Make) -> None:
    """The head went out before the drain, without Connection: close: closed behind its body, the next request would fail."""
    parts: list[Exchange] = []

    async def in_parts(exchange: Exchange) -> None:
        parts.append(exchange)
        exchange.start(200, [])
        exchange.write(b"first", False)

    wire = wired(in_parts)
    wire.say(GET)
    assert b"connection: close" not in wire.hear()
    drained(wire, 5.0)
    parts[0].write(b"last", True)
    assert b"last" in wire.hear() and wire.state() is State.IDLE
    wire.wait(4.9)
    assert wire.state() is State.IDLE


def test_an_answer_that_is_being_taken_is_none_to_close_behind(wired: Make) -> None:
    wire = wired(large(1_000_000), send_buffer=4096)
    wire.say(GET)
    drained(wire, 5.0)
    assert wire.hear().count(b"x") == 1_000_000
    assert wire.state() is State.IDLE


# -- turned away


def test_a_client_too_many_is_told_so_before_it_asks(wired: Make) -> None:
    wire = wired(opens=False)
    wire.connection.turn_away(ProtocolError(503, "too many", "RFC 9110 15.6.4"))
    wire.say(GET)
    heard = wire.hear()
    assert heard.startswith(b"HTTP/1.1 503 ") and heard.endswith(b"too many\n")
    assert b"\r\nretry-after: 1\r\n" in heard
    assert wire.is_ended()


def test_a_connection_names_its_client(wired: Make) -> None:
    connection = wired(opens=False).connection
    assert str(connection) == "192.0.2.1:5000"
    connection.client = None
    assert str(connection) == "a local client"


def test_a_connection_that_speaks_no_protocol_cannot_be_read(wired: Make) -> None:
    connection = wired(opens=False).connection
    for method in (Connection._on_readable, Connection._on_drained):
        with pytest.raises(NotImplementedError):
            method(connection)


# -- how an exchange ends, for the log


def ends(wire: Wire) -> list[tuple[int, str]]:
    return [(exchange.status, exchange.ending) for exchange in wire.answered]


async def begins(exchange: Exchange) -> None:
    """Send a piece of an answer, and wait."""
    exchange.start(200, [])
    exchange.write(b"begun", False)
    exchange.take()
    while not exchange.is_over:
        await exchange.wait_readable()


def test_an_answer_taken_at_once_has_ended_well(wired: Make) -> None:
    wire = wired()
    wire.say(GET + GET)
    assert ends(wire) == [(200, "ok"), (200, "ok")]
    assert [exchange.first_byte_at for exchange in wire.answered] == [0.0, 0.0]


def test_a_client_that_leaves_before_its_answer_is_noted_without_a_status_that_was_sent(wired: Make) -> None:
    wire = wired(waits)
    wire.say(request("/", "POST", "content-length: 5\r\n"))
    wire.end()
    assert ends(wire) == [(NO_ANSWER, "client gone")]


def test_a_client_that_leaves_within_its_answer_is_noted_with_what_it_got(wired: Make) -> None:
    wire = wired(begins)
    wire.say(request("/", "POST", "content-length: 5\r\n"))
    wire.end()
    assert ends(wire) == [(200, "client gone")]
    assert wire.answered[0].sent == 5 and wire.answered[0].first_byte_at == wire.clock()


def test_a_request_that_is_refused_is_noted_with_the_refusals_status(wired: Make) -> None:
    wire = wired(waits, limit_body=3)
    wire.say(request("/", "POST", "content-length: 5\r\n"))
    assert ends(wire) == [(413, "refused")]
    wire = wired(begins)
    wire.say(request("/", "POST", "transfer-encoding: chunked\r\n"))
    wire.say(b"nonsense\r\n")
    assert ends(wire) == [(200, "refused")]


def test_what_the_server_ends_is_noted_as_drained_and_what_the_app_breaks_as_failed(wired: Make) -> None:
    wire = wired(waits)
    wire.say(GET)
    wire.connection.close("drained")
    assert ends(wire) == [(NO_ANSWER, "drained")]

    async def fails(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"begun", False)
        exchange.cut()

    wire = wired(fails)
    wire.say(GET)
    assert ends(wire) == [(200, "failed")]


def test_an_answer_that_waits_for_the_client_is_noted_when_it_was_taken(wired: Make) -> None:
    wire = wired(large(1_000_000), send_buffer=4096)
    wire.say(GET)
    assert ends(wire) == [] and wire.state() is State.IDLE
    assert wire.hear().count(b"x") == 1_000_000
    assert ends(wire) == [(200, "ok")] and wire.answered[0].sent == 1_000_000
    wire.say(GET)
    assert wire.hear().count(b"x") == 1_000_000
    assert len(ends(wire)) == 2


def test_of_answers_to_a_client_that_is_always_a_little_behind_only_so_many_are_open(wired: Make) -> None:
    wire = wired(large(1000), send_buffer=4096)
    total = 2 * MOST_UNTAKEN
    most, asks = 0, b"".join(request(f"/{number}") for number in range(total))
    while wire.connection.answered < total or wire.connection.channel.queued:
        with suppress(BlockingIOError):
            asks = asks[wire.peer.send(asks) :]
        wire.turn(2)
        most = max(most, len(wire.connection.untaken))
        # Something waits all the time, until the last is answered.
        if wire.connection.channel.queued > LOW_WATER // 2 or wire.connection.answered == total:
            with suppress(BlockingIOError):
                wire.peer.recv(4096)
    assert MOST_UNTAKEN // 2 < most <= MOST_UNTAKEN
    assert ends(wire) == [(200, "ok")] * total
    assert [each.head.path for each in wire.answered] == [b"/%d" % number for number in range(total)]


@pytest.mark.parametrize("asks", [GET, LAST])
def test_an_answer_that_the_client_does_not_take_is_noted_as_that(wired: Make, asks: bytes) -> None:
    wire = wired(large(1_000_000), send_buffer=4096, timeout_write=30.0)
    wire.say(asks)
    wire.wait(31)
    assert ends(wire) == [(200, "write stall")]
    assert 0 < wire.answered[0].sent < 1_000_000


def test_a_client_that_leaves_while_its_answer_waits_is_noted_as_gone(wired: Make) -> None:
    wire = wired(large(1_000_000), send_buffer=4096)
    wire.say(GET)
    wire.peer.close()
    wire.turn()
    assert ends(wire) == [(200, "client gone")]
    assert wire.answered[0].sent < 1_000_000
