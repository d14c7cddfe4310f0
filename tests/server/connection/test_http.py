import asyncio
import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest
from support.client import request
from support.wire import Wire, hello

from penstock.connection.channel import HIGH_WATER
from penstock.connection.exchange import ClientDisconnected, Exchange
from penstock.connection.life import LINGER_TIMEOUT
from penstock.connection.states import State

Make = Callable[..., Wire]

GET = request()


class Held:
    """An app that answers when it is told to; it has what it was asked, and what it received."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.received: list[Any] = []
        self.failures: list[BaseException] = []
        self._go = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        await self._go.wait()
        self._go.clear()
        exchange.start(200, [])
        exchange.write(exchange.head.path, True)

    def go(self, wire: Wire) -> None:
        self._go.set()
        wire.turn()


async def read_all(exchange: Exchange) -> bytes:
    """The whole body, or what came before the client left."""
    body = b""
    while not exchange.is_over:
        piece = exchange.take()
        if piece is None:
            await exchange.wait_readable()
            continue
        body += piece[0]
        if not piece[1]:
            break
    return body


async def echo(exchange: Exchange) -> None:
    """Answer with the body's length when all of it has come."""
    body = await read_all(exchange)
    if not exchange.is_gone:
        exchange.start(200, [])
        exchange.write(b"%d" % len(body), True)


async def never(exchange: Exchange) -> None:
    """Take nothing, answer nothing, end with the client."""
    while not exchange.is_gone:
        await exchange.wait_readable()


# -- requests, one after another


def test_a_request_is_answered_and_the_connection_stays_open(wired: Make) -> None:
    wire = wired()
    for path in ("/one", "/two"):
        wire.say(request(path))
        assert wire.hear() == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n" + path.encode()
    assert wire.state() is State.IDLE and wire.connection.answered == 2


@pytest.mark.parametrize("size", [1, 7])
def test_a_request_may_come_in_pieces(wired: Make, size: int) -> None:
    wire = wired()
    octets = request("/pieces")
    for start in range(0, len(octets), size):
        assert wire.hear() == b""
        wire.say(octets[start : start + size])
        assert wire.state() in (State.HEAD, State.IDLE)
    assert wire.hear().endswith(b"\r\n\r\n/pieces")


def test_pipelined_requests_are_answered_in_order_and_one_at_a_time(wired: Make) -> None:
    held = Held()
    wire = wired(held)
    wire.say(request("/1") + request("/2") + request("/3"))
    for number in (1, 2, 3):
        assert [each.head.path for each in held.exchanges] == [b"/%d" % n for n in range(1, number + 1)]
        assert wire.hear() == b""
        held.go(wire)
        assert wire.hear().endswith(b"/%d" % number)


def test_pipelined_requests_that_are_answered_at_once_are_all_answered(wired: Make) -> None:
    wire = wired()
    wire.say(b"".join(request(f"/{number}") for number in range(50)))
    heard = wire.hear()
    assert [part[:3].split(b"H")[0] for part in heard.split(b"\r\n\r\n/")[1:]] == [b"%d" % n for n in range(50)]


def test_what_is_held_is_not_taken_for_what_the_client_does_not_take(wired: Make) -> None:
    """Where tasks start eagerly, an answer that is larger than the channel's high water may wait for the turn's end."""

    async def large_head(exchange: Exchange) -> None:
        exchange.start(200, [(b"x-large", b"v" * HIGH_WATER)])
        if exchange.is_full:
            await exchange.wait_writable()
        exchange.write(b"", True)

    wire = wired(large_head)
    wire.say(GET * 3)
    assert wire.hear().count(b"HTTP/1.1 200") == 3
    assert wire.connection.channel.is_reading


def test_later_requests_wait_in_a_bounded_buffer(wired: Make) -> None:
    held = Held()
    wire = wired(held)
    wire.say(GET)
    sent = 0
    many = request("/later") * 2000
    while True:
        try:
            sent += wire.peer.send(many[sent % len(request("/later")) :])
        except BlockingIOError:
            break
        wire.turn()
    assert wire.connection.codec.buffer.size < 3 * 65536
    assert not wire.connection.channel.is_reading
    held.go(wire)
    assert wire.hear().endswith(b"\r\n\r\n/")


@pytest.mark.parametrize("last", ["upload", "leave"])
def test_behind_more_requests_than_wait_at_once_reading_goes_on(wired: Make, last: str) -> None:
    """The last of them is begun with nothing left to start: its body must be read, and its client's end be seen."""
    held = Held()

    async def answer(exchange: Exchange) -> None:
        if exchange.head.path == b"/first":
            await held(exchange)
        elif exchange.head.path == b"/last":
            while last == "leave" and not exchange.is_told_to_leave:
                await exchange.wait_readable()
            await echo(exchange)
        else:
            await hello(exchange)

    wire = wired(answer)
    wire.say(request("/first"))
    fields = "Content-Length: 5\r\n" if last == "upload" else ""
    wire.say(request("/later") * 1000)
    wire.say(request("/later") * 1000 + f"POST /last HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
    assert not wire.connection.channel.is_reading
    held.go(wire)
    heard = wire.hear()
    if last == "upload":
        wire.say(b"hello")
    else:
        wire.end()
    heard += wire.hear()
    assert heard.count(b"HTTP/1.1 200 OK") == 2002 and heard.endswith(b"5" if last == "upload" else b"0")


def test_a_client_that_takes_no_answers_has_no_further_requests_started(wired: Make) -> None:
    async def large(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"x" * 50_000, True)

    wire = wired(large, send_buffer=4096)
    for _ in range(4):
        try:
            wire.peer.send(GET * 100)
        except BlockingIOError:
            break
        wire.turn()
    assert wire.connection.channel.queued < 300_000
    assert wire.connection.codec.buffer.size < 200_000
    before = wire.connection.answered
    wire.hear()
    assert wire.connection.answered > before


def test_a_stream_behind_pipelined_answers_is_not_forgotten(wired: Make) -> None:
    async def stream(exchange: Exchange) -> None:
        exchange.start(200, [])
        for _ in range(8):
            exchange.write(b"x" * 30_000, False)
            if exchange.is_full:
                await exchange.wait_writable()
        exchange.write(b"the end", True)

    wire = wired(stream)
    wire.say(GET * 3)
    assert wire.hear().count(b"the end") == 3


# -- disconnects


def test_an_app_that_waits_is_told_when_the_client_leaves(wired: Make) -> None:
    ended: list[bool] = []

    async def wait(exchange: Exchange) -> None:
        exchange.take()
        while not exchange.is_over:
            await exchange.wait_readable()
        ended.append(exchange.is_gone)

    wire = wired(wait)
    wire.say(GET)
    assert ended == []
    wire.peer.close()
    wire.turn()
    assert len(ended) == 1


def test_writing_to_a_client_that_is_gone_raises(wired: Make) -> None:
    raised: list[BaseException] = []

    async def stream(exchange: Exchange) -> None:
        exchange.start(200, [])
        try:
            while True:
                exchange.write(b"x" * 1000, False)
                await asyncio.sleep(0)
        except ClientDisconnected as error:
            raised.append(error)
            raise

    async def serve(exchange: Exchange) -> None:
        with pytest.raises(OSError):
            await stream(exchange)

    wire = wired(serve)
    wire.say(GET)
    wire.peer.close()
    wire.turn()
    assert len(raised) == 1
    assert wire.state() is State.CLOSED
    # Cut, but begun: the access log has it.
    assert [each.status for each in wire.answered] == [200]


def test_a_client_that_closed_its_half_still_gets_its_answer(wired: Make) -> None:
    held = Held()
    wire = wired(held)
    wire.say(GET)
    wire.end()
    assert held.exchanges[0].is_told_to_leave and not held.exchanges[0].is_gone
    held.go(wire)
    assert wire.hear().endswith(b"\r\n\r\n/")
    assert wire.state() is State.CLOSED


def test_all_requests_before_the_clients_end_are_answered(wired: Make) -> None:
    held = Held()
    wire = wired(held)
    wire.peer.sendall(request("/1") + request("/2"))
    wire.end()
    held.go(wire)
    held.go(wire)
    heard = wire.hear()
    assert heard.endswith(b"/2") and heard.count(b"200 OK") == 2


@pytest.mark.parametrize("size", [20_000, 3_000_000])
@pytest.mark.parametrize("ends_first", [True, False])
def test_a_half_closed_client_gets_all_of_a_large_answer(wired: Make, size: int, ends_first: bool) -> None:
    async def large(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"x" * size, True)

    wire = wired(large, send_buffer=4096)
    wire.peer.sendall(GET)
    if ends_first:
        wire.end()
    else:
        wire.turn()
        wire.end()
    assert wire.hear().count(b"x") == size
    assert wire.state() is State.CLOSED


def test_half_a_request_and_then_the_end_closes_without_an_answer(wired: Make) -> None:
    wire = wired()
    wire.say(GET[:20])
    wire.end()
    assert wire.hear() == b"" and wire.state() is State.CLOSED


def test_half_a_body_and_then_the_end_tells_the_app_that_the_client_is_gone(wired: Make) -> None:
    seen: list[tuple[bytes, bool]] = []

    async def read(exchange: Exchange) -> None:
        seen.append((await read_all(exchange), exchange.is_gone))

    wire = wired(read)
    wire.say(request("/", "POST", "content-length: 10\r\n") + b"12345")
    wire.end()
    assert seen == [(b"12345", True)] and wire.state() is State.CLOSED


@pytest.mark.parametrize("size", [5, 150_000])
def test_a_body_that_ended_too_early_behind_another_request_is_noticed_too(wired: Make, size: int) -> None:
    seen: list[tuple[bytes, bool]] = []
    held = Held()

    async def app(exchange: Exchange) -> None:
        if exchange.head.method == "GET":
            await held(exchange)
        else:
            seen.append((await read_all(exchange), exchange.is_gone))

    wire = wired(app)
    wire.peer.sendall(GET + request("/", "POST", "content-length: 200000\r\n") + b"x" * size)
    wire.end()
    held.go(wire)
    assert wire.hear().endswith(b"\r\n\r\n/")
    assert wire.state() is State.CLOSED and not wire.service.running
    assert seen in ([], [(b"x" * size, True)])


# -- bodies


def test_the_app_has_a_body_that_came_with_the_head(wired: Make) -> None:
    wire = wired(echo)
    wire.say(request("/", "POST", body=b"12345") + request("/", "POST", body=b"123"))
    assert [part[:1] for part in wire.hear().split(b"\r\n\r\n")[1:]] == [b"5", b"3"]


@pytest.mark.parametrize("pieces", [[b"5\r\nhello\r\n0\r\n\r\n"], [b"5\r\nhe", b"llo\r", b"\n0\r\n", b"\r\n"]])
def test_a_body_in_chunks_is_joined(wired: Make, pieces: list[bytes]) -> None:
    wire = wired(echo)
    wire.say(request("/", "POST", "transfer-encoding: chunked\r\n"))
    for piece in pieces:
        assert wire.hear() == b""
        wire.say(piece)
    assert wire.hear().endswith(b"\r\n\r\n5")


def test_what_follows_a_paused_body_is_not_taken_for_its_end(wired: Make) -> None:
    """The last piece of a body that was held back comes after the first take, and with all its octets."""
    seen: list[tuple[int, bool]] = []
    go = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await go.wait()
        while (piece := exchange.take()) is not None or not exchange.is_over:
            if piece is None:
                await exchange.wait_readable()
                continue
            seen.append((len(piece[0]), piece[1]))
            if not piece[1]:
                break
        exchange.start(200, [])
        exchange.write(b"", True)

    wire = wired(slow)
    wire.say(request("/", "POST", "content-length: 200000\r\n"))
    wire.peer.sendall(b"x" * 100_000)
    wire.turn()
    wire.peer.sendall(b"x" * 100_000)
    wire.turn()
    assert not wire.connection.channel.is_reading
    go.set()
    wire.turn(50)
    assert sum(size for size, _ in seen) == 200_000
    assert [more for _, more in seen] == [True] * (len(seen) - 1) + [False]


def test_a_body_nobody_takes_is_left_in_the_kernel(wired: Make) -> None:
    wire = wired(never)
    wire.say(request("/", "POST", "content-length: 10000000\r\n"))
    sent = 0
    while True:
        try:
            sent += wire.peer.send(b"x" * 65536)
        except BlockingIOError:
            break
        wire.turn()
    assert wire.connection.exchange is not None
    assert wire.connection.exchange.received < 200_000
    assert wire.connection.codec.buffer.size < 200_000


@pytest.mark.parametrize("asks", [
    # Reading goes on when the app has taken some, or when the client has taken an answer behind which others wait.
    request("/", "POST", "content-length: 200000\r\n") + bytes(200_000),
    GET * 3,
], ids=["a body", "answers"])
def test_an_idle_connection_keeps_nothing_of_a_request_that_is_over(wired: Make, asks: bytes) -> None:
    var: ContextVar[object] = ContextVar("var")
    kept: list[weakref.ref[object]] = []

    async def notes(exchange: Exchange) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        value = Held()
        kept.append(weakref.ref(value))
        var.set(value)
        await read_all(exchange)
        exchange.start(200, [])
        exchange.write(b"x" * 200_000, True)

    wire = wired(notes, send_buffer=4096)
    while asks:
        with suppress(BlockingIOError):
            asks = asks[wire.peer.send(asks) :]
        wire.turn()
    assert wire.hear().count(b"x") == 200_000 * len(kept)
    assert wire.state() is State.IDLE and wire.connection.channel.is_reading
    gc.collect()
    assert [value() for value in kept] == [None] * len(kept)


@pytest.mark.parametrize("size, is_kept", [(1000, True), (60_000, True), (70_000, False)])
def test_an_unread_body_is_skipped_when_it_is_small(wired: Make, size: int, is_kept: bool) -> None:
    wire = wired()
    wire.say(request("/first", "POST", f"content-length: {size}\r\n"))
    first = wire.hear()
    assert first.endswith(b"/first") and (b"connection: close" in first) is not is_kept
    wire.peer.sendall(b"x" * size + request("/second"))
    wire.turn()
    assert wire.hear().endswith(b"/second") is is_kept
    assert wire.state() is (State.IDLE if is_kept else State.LINGERING)


def test_an_unread_body_in_chunks_is_skipped_up_to_a_limit(wired: Make) -> None:
    wire = wired()
    wire.say(request("/first", "POST", "transfer-encoding: chunked\r\n"))
    assert wire.hear().endswith(b"/first") and wire.state() is State.SKIPPING
    wire.say(b"5\r\nhello\r\n0\r\n\r\n" + request("/second", "POST", "transfer-encoding: chunked\r\n"))
    assert wire.hear().endswith(b"/second")
    for _ in range(10):
        wire.say(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
    assert wire.state() is State.LINGERING


def test_after_a_skipped_body_the_connection_is_idle_again(wired: Make) -> None:
    wire = wired()
    wire.say(request("/", "POST", "content-length: 5\r\n"))
    wire.hear()
    wire.say(b"12345")
    assert wire.state() is State.IDLE
    wire.wait(5.5)
    assert wire.is_ended()


def test_a_bad_body_behind_its_answer_does_not_lose_the_answer(wired: Make) -> None:
    async def large(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"x" * 1_000_000, True)

    wire = wired(large, send_buffer=4096)
    wire.say(request("/", "POST", "transfer-encoding: chunked\r\n"))
    wire.say(b"nonsense\r\n")
    heard = wire.hear()
    assert heard.count(b"x") == 1_000_000 and b"400" not in heard


# -- 100 Continue


EXPECT = request("/", "POST", "expect: 100-continue\r\ncontent-length: 5\r\n")


def test_a_waiting_client_may_send_when_the_app_first_asks_for_the_body(wired: Make) -> None:
    held = asyncio.Event()

    async def late(exchange: Exchange) -> None:
        await held.wait()
        await echo(exchange)

    wire = wired(late)
    wire.say(EXPECT)
    assert wire.hear() == b""
    wire.wait(600)
    assert wire.state() is State.RUNNING, "the client waits for us, not we for it"
    held.set()
    assert wire.hear() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.say(b"12345")
    assert wire.hear().endswith(b"\r\n\r\n5") and wire.state() is State.IDLE


def test_a_client_is_not_told_to_send_what_nobody_reads(wired: Make) -> None:
    wire = wired()
    wire.say(EXPECT)
    heard = wire.hear()
    assert heard.startswith(b"HTTP/1.1 200 OK\r\n") and b"connection: close" in heard


def test_a_client_that_sends_without_waiting_is_not_told_to(wired: Make) -> None:
    wire = wired(echo)
    wire.say(EXPECT + b"12345")
    assert b"100" not in wire.hear()


def test_a_client_that_has_begun_to_send_is_not_told_to(wired: Make) -> None:
    wire = wired(echo)
    wire.say(EXPECT + b"123")
    assert wire.hear() == b""
    wire.say(b"45")
    assert wire.hear() == b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n5" and wire.state() is State.IDLE


# -- limits


def test_a_body_over_the_limit_is_refused_before_the_app_starts(wired: Make) -> None:
    held = Held()
    wire = wired(held, limit_body=10)
    wire.say(request("/", "POST", "content-length: 11\r\n"))
    assert wire.hear().startswith(b"HTTP/1.1 413 ") and held.exchanges == []
    assert wire.state() is State.LINGERING


@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_in_chunks_is_refused_when_it_passes_the_limit(wired: Make, at_once: bool) -> None:
    wire = wired(echo, limit_body=10)
    head, body = request("/", "POST", "transfer-encoding: chunked\r\n"), b"b\r\n12345678901\r\n0\r\n\r\n"
    if at_once:
        wire.say(head + body)
    else:
        wire.say(head)
        wire.say(body)
    assert wire.hear().startswith(b"HTTP/1.1 413 ")


def test_a_body_within_the_limit_is_taken(wired: Make) -> None:
    wire = wired(echo, limit_body=10)
    wire.say(request("/", "POST", body=b"1234567890"))
    assert wire.hear().endswith(b"\r\n\r\n10")


def test_more_requests_than_may_run_are_turned_away(wired: Make) -> None:
    held = Held()
    wire = wired(held, limit_concurrency=1)
    wire.say(GET)
    other = Wire(wire.loop)
    other.connection.service = wire.service
    try:
        other.say(GET)
        heard = other.hear()
        assert heard.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in heard and b"\r\nconnection: close\r\n" in heard
    finally:
        other.close()
    held.go(wire)
    assert wire.hear().endswith(b"\r\n\r\n/")
    wire.say(GET)
    held.go(wire)
    assert wire.hear().endswith(b"\r\n\r\n/")


# -- malformed


def test_a_bad_request_is_answered_and_the_connection_closed(wired: Make) -> None:
    wire = wired()
    wire.say(b"GET  / HTTP/1.1\r\n\r\n")
    heard = wire.hear()
    assert heard.startswith(b"HTTP/1.1 400 ") and b"\r\nconnection: close\r\n" in heard
    assert wire.state() is State.LINGERING
    wire.say(GET)
    assert wire.hear() == b"" and wire.connection.codec.buffer.size == 0


def test_the_good_requests_before_a_bad_one_are_answered(wired: Make) -> None:
    wire = wired()
    wire.say(request("/good") + b"nonsense\r\n\r\n" + request("/never"))
    heard = wire.hear()
    assert b"/good" in heard and heard.count(b"HTTP/1.1 400 ") == 1 and b"/never" not in heard


@pytest.mark.parametrize("at_once", [True, False])
def test_a_bad_body_is_refused_and_the_app_told(wired: Make, at_once: bool) -> None:
    gone: list[bool] = []

    async def read(exchange: Exchange) -> None:
        await read_all(exchange)
        gone.append(exchange.is_gone)

    wire = wired(read)
    head = request("/", "POST", "transfer-encoding: chunked\r\n")
    if at_once:
        wire.say(head + b"nonsense\r\n")
        assert gone == [], "the app is not started for a request that is known to be bad"
    else:
        wire.say(head)
        wire.say(b"nonsense\r\n")
        assert gone == [True]
    assert wire.hear().startswith(b"HTTP/1.1 400 ")
    assert not wire.service.running


def test_a_bad_body_under_a_response_that_has_begun_cuts_it(wired: Make) -> None:
    async def begin(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"begun", False)
        await read_all(exchange)

    wire = wired(begin)
    wire.say(request("/", "POST", "transfer-encoding: chunked\r\n"))
    wire.say(b"nonsense\r\n")
    heard = wire.hear()
    assert b"begun" in heard and b"400" not in heard and not heard.endswith(b"0\r\n\r\n")
    assert wire.state() is State.CLOSED and [each.status for each in wire.answered] == [200]


# -- time


def test_a_client_that_says_nothing_is_let_go(wired: Make) -> None:
    wire = wired()
    wire.wait(9.9)
    assert wire.state() is State.IDLE
    wire.wait(0.2)
    assert wire.is_ended()


def test_a_head_that_takes_too_long_is_answered_408(wired: Make) -> None:
    wire = wired()
    wire.wait(5)
    for octet in GET[:-1]:
        wire.say(bytes([octet]))
        wire.wait(0.2)
    assert wire.state() is State.HEAD
    wire.wait(10)
    assert wire.hear().startswith(b"HTTP/1.1 408 ")


def test_the_head_of_a_second_request_has_the_same_limit(wired: Make) -> None:
    wire = wired()
    wire.say(GET + GET[:5])
    wire.hear()
    wire.wait(9.9)
    wire.say(GET[5:8])
    wire.wait(0.2)
    assert wire.hear().startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_without_a_word(wired: Make) -> None:
    wire = wired()
    wire.say(GET)
    wire.hear()
    wire.wait(4.9)
    assert wire.state() is State.IDLE
    wire.wait(0.2)
    assert wire.is_ended()


def test_a_body_that_stops_is_answered_408_and_the_app_told(wired: Make) -> None:
    gone: list[bool] = []

    async def read(exchange: Exchange) -> None:
        await read_all(exchange)
        gone.append(exchange.is_gone)

    wire = wired(read, min_body_rate=0)
    wire.say(request("/", "POST", "content-length: 10\r\n") + b"1")
    for octet in b"2345":
        wire.wait(29)
        wire.say(bytes([octet]))
    wire.wait(29)
    assert wire.state() is State.RUNNING and gone == []
    wire.wait(1.1)
    assert wire.hear().startswith(b"HTTP/1.1 408 ") and gone == [True]


def test_a_body_slower_than_the_least_rate_is_answered_408(wired: Make) -> None:
    wire = wired(echo, min_body_rate=100, timeout_body=10)
    wire.say(request("/", "POST", "content-length: 1000\r\n"))
    seconds = 0
    while wire.state() is State.RUNNING and seconds < 100:
        wire.wait(1)
        wire.peer.send(b"x" * 50)
        wire.turn()
        seconds += 1
    # Fifty a second, a hundred expected, ten seconds of grace: behind by all of the grace after twenty.
    assert 18 <= seconds <= 22
    assert wire.hear().startswith(b"HTTP/1.1 408 ")


def test_a_client_that_drips_on_after_408_is_cut_all_the_same(wired: Make) -> None:
    wire = wired(echo, timeout_body=10)
    wire.say(request("/", "POST", "content-length: 1000\r\n"))
    wire.wait(10.1)
    assert wire.state() is State.LINGERING
    for _ in range(3):
        wire.say(b"x")
        wire.wait(LINGER_TIMEOUT / 3 + 0.1)
    assert wire.state() is State.CLOSED


def test_an_app_that_still_waits_for_a_body_takes_no_later_deadline_away(wired: Make) -> None:
    waiting: list[asyncio.Future[None]] = []

    async def answer_early(exchange: Exchange) -> None:
        exchange.take()
        waiting.append(asyncio.ensure_future(exchange.wait_readable()))
        await asyncio.sleep(0)
        exchange.start(200, [])
        exchange.write(b"", True)

    wire = wired(answer_early)
    wire.say(request("/", "POST", "content-length: 1000\r\n"))
    assert wire.hear().startswith(b"HTTP/1.1 200 ") and waiting[0].done()
    wire.wait(5.1)
    assert wire.state() is not State.SKIPPING


def test_a_body_faster_than_the_least_rate_may_take_for_ever(wired: Make) -> None:
    wire = wired(echo, min_body_rate=100, timeout_body=10)
    wire.say(request("/", "POST", "content-length: 20000\r\n"))
    for _ in range(100):
        wire.wait(1)
        wire.say(b"x" * 200)
    assert wire.hear().endswith(b"\r\n\r\n20000")


def test_time_in_which_the_app_does_not_read_is_not_the_clients(wired: Make) -> None:
    go = asyncio.Event()

    async def late(exchange: Exchange) -> None:
        await go.wait()
        await echo(exchange)

    wire = wired(late, min_body_rate=1000, timeout_body=5)
    wire.say(request("/", "POST", "content-length: 10\r\n") + b"12345")
    wire.wait(1000)
    assert wire.state() is State.RUNNING
    go.set()
    wire.turn()
    wire.wait(4)
    wire.say(b"67890")
    assert wire.hear().endswith(b"\r\n\r\n10")


def test_an_app_that_gives_up_waiting_stops_the_clients_time(wired: Make) -> None:
    go = asyncio.Event()

    async def impatient(exchange: Exchange) -> None:
        exchange.take()
        waiting = asyncio.ensure_future(exchange.wait_readable())
        await asyncio.sleep(0)
        waiting.cancel()
        await go.wait()
        exchange.start(200, [])
        exchange.write(b"did without", True)

    wire = wired(impatient, timeout_body=5)
    wire.say(request("/", "POST", "content-length: 10\r\n"))
    wire.wait(100)
    go.set()
    assert wire.hear().endswith(b"did without")


def test_a_client_that_takes_nothing_is_cut(wired: Make) -> None:
    failures: list[BaseException] = []

    async def stream(exchange: Exchange) -> None:
        exchange.start(200, [])
        try:
            while True:
                exchange.write(b"x" * 65536, False)
                if exchange.is_full:
                    await exchange.wait_writable()
        except ClientDisconnected as error:
            failures.append(error)

    wire = wired(stream, send_buffer=4096)
    wire.say(GET)
    assert wire.connection.channel.queued < 300_000
    wire.wait(29)
    assert wire.peer.recv(100_000)
    wire.turn()
    wire.wait(29)
    assert wire.state() is State.RUNNING
    wire.wait(1.1)
    assert wire.state() is State.CLOSED and len(failures) == 1


def test_a_slow_reader_of_its_last_answer_is_not_taken_for_idle(wired: Make) -> None:
    async def large(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"x" * 2_000_000, True)

    wire = wired(large, send_buffer=4096)
    wire.say(GET)
    heard = 0
    for _ in range(40):
        wire.wait(4)
        heard += len(wire.peer.recv(20_000))
        wire.turn()
    assert wire.state() is State.IDLE
    assert heard + len(wire.hear()) > 2_000_000
    wire.wait(5.1)
    wire.wait(5.1)
    assert wire.state() is State.CLOSED


def test_an_app_may_take_as_long_as_it_likes(wired: Make) -> None:
    held = Held()
    wire = wired(held)
    wire.say(GET)
    wire.wait(100_000)
    held.go(wire)
    assert wire.hear().endswith(b"\r\n\r\n/")
