import asyncio
import logging
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from penstock.codec.events import Close
from penstock.connection.channel import HIGH_WATER, Channel
from penstock.connection.exchange import ClientDisconnected, Exchange
from penstock.connection.life import LINGER_TIMEOUT
from penstock.connection.session import QUEUE_HIGH_WATER, Session
from penstock.connection.states import State
from penstock.connection.websocket import ANSWER_TIMEOUT, CLOSE_TIMEOUT, READ_SIZE
from support.client import request
from support.wire import Wire
from support.ws_cases import deflated, frame
from support.ws_wire import ACCEPT, SocketWire, Talk, echo, handshake, receive

Make = Callable[..., SocketWire]

CLOSED = (0x88, b"\x03\xe8")


class Slow:
    """An app that takes a message when it is told to."""

    def __init__(self, *, answers: bool = False) -> None:
        self.taken: list[str | bytes | None] = []
        self._answers = answers
        self._go = asyncio.Event()

    async def __call__(self, session: Session) -> None:
        session.accept(None, [])
        while True:
            await self._go.wait()
            self._go.clear()
            self.taken.append(await receive(session))
            if self.taken[-1] is None:
                return
            if self._answers:
                session.send_message(self.taken[-1])

    def go(self, wire: SocketWire) -> None:
        self._go.set()
        wire.turn()


async def ignore(session: Session) -> None:
    """Accept, and never take a message."""
    session.accept(None, [])
    while session.ended is None:
        await session.waiter()


def closer(code: int, reason: str = "") -> Talk:
    async def talk(session: Session) -> None:
        session.accept(None, [])
        session.close(Close(code, reason))
    return talk


def flood(wire: SocketWire, octets: bytes, most: int = 1 << 30) -> int:
    """Send again and again until nothing more is taken; how many octets went."""
    sent = 0
    stalled = 0
    while sent < most and stalled < 3:
        try:
            sent += wire.peer.send(octets[sent % len(octets) :])
            stalled = 0
        except BlockingIOError:
            stalled += 1
        wire.turn()
    return sent


# -- the beginning


def test_a_handshake_is_answered_and_messages_come_back(socketed: Make) -> None:
    wire = socketed(echo)
    assert wire.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n") and ACCEPT in wire.head + b"\r\n"
    wire.say_text("h\u00e9llo")
    wire.say_frame(0x82, b"\0\xff")
    assert wire.frames() == [(0x81, "h\u00e9llo".encode()), (0x82, b"\0\xff")]
    assert wire.state() is State.OPEN and wire.service.connections == {wire.web}


def test_an_answer_that_was_on_its_way_before_the_handshake_is_noted_when_it_was_taken(wired: Callable[..., Wire]) -> None:
    async def much(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"~" * 40_000, True)

    async def talk(session: Session) -> None:
        await ignore(session)
        session.end()

    wire = wired(much, websocket=talk, send_buffer=4096)
    wire.say(request() + handshake())
    assert [exchange.status for exchange in wire.answered] == [101]
    assert wire.hear().count(b"~") == 40_000
    assert [(exchange.status, exchange.ending) for exchange in wire.answered] == [(101, "ok"), (200, "ok")]
    wire.end()


def test_frames_behind_the_handshake_in_one_piece_are_read(socketed: Make) -> None:
    wire = socketed(echo, asks=handshake() + frame(0x81, b"early") + frame(0x89, b"p"))
    assert sorted(wire.frames()) == [(0x81, b"early"), (0x8A, b"p")]


def test_frames_that_come_before_the_app_accepts_wait(socketed: Make) -> None:
    go = asyncio.Event()

    async def talk(session: Session) -> None:
        await go.wait()
        await echo(session)

    wire = socketed(talk)
    assert wire.head == b""
    octets = b"".join(frame(0x81, b"%d" % number) for number in range(20_000))
    sent = wire.peer.send(octets)
    wire.turn()
    go.set()
    wire.head = wire.hear_head()
    wire.peer.setblocking(True)
    wire.loop.call_soon(wire.peer.setblocking, False)
    got = wire.frames()
    while sent < len(octets):
        sent += flood(wire, octets[sent:], len(octets) - sent)
        got += wire.frames()
    assert [payload for _, payload in got] == [b"%d" % number for number in range(20_000)]


def test_the_log_gets_one_answer_when_it_is_accepted_and_none_at_the_end(socketed: Make) -> None:
    wire = socketed(echo)
    assert [each.status for each in wire.answered] == [101]
    wire.say_frame(0x88, b"\x03\xe8")
    wire.peer.close()
    wire.turn()
    assert [each.status for each in wire.answered] == [101] and wire.service.connections == set()


def test_requests_come_first_and_a_websocket_after_them(socketed: Make) -> None:
    wire = socketed(echo, asks=b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n" + handshake() + frame(0x81, b"x"))
    assert wire.head.startswith(b"HTTP/1.1 200 OK")
    assert wire._heard.startswith(b"/aHTTP/1.1 101 ") and wire._heard.endswith(b"\r\n\r\n\x81\x01x")
    assert wire.web.answered == 2


# -- limits of what waits


@pytest.mark.parametrize("most", [1, 3, 32])
def test_no_more_messages_wait_for_the_app_than_there_may(socketed: Make, most: int) -> None:
    slow = Slow(answers=True)
    wire = socketed(slow, ws_max_queue=most)
    octets = b"".join(frame(0x82, b"%05d" % number) for number in range(20_000))
    sent = flood(wire, octets, len(octets))
    assert len(wire.session._queue) == most and not wire.web.channel.is_reading
    assert len(wire.web.frames.octets) <= READ_SIZE
    for number in range(2 * most + 5):
        slow.go(wire)
        assert slow.taken[-1] == b"%05d" % number
    assert len(wire.session._queue) <= most and sent > 0


def test_few_large_messages_are_enough_to_stop_reading(socketed: Make) -> None:
    slow = Slow()
    wire = socketed(slow)
    big = frame(0x82, b"x" * 200_000, key=b"\0\0\0\0")
    sent = flood(wire, big)
    assert wire.session._size == 400_000 > QUEUE_HIGH_WATER
    assert sent < 5 * len(big)
    slow.go(wire)
    assert not wire.web.channel.is_reading
    slow.go(wire)
    assert flood(wire, big[sent % len(big) :] + big, 300_000) > 200_000


def test_compressed_messages_wait_compressed(socketed: Make) -> None:
    wire = socketed(ignore, asks=handshake(more="sec-websocket-extensions: permessage-deflate\r\n"))
    # As `echo` would not, this app has not been told of it: what is inflated is bounded all the same.
    assert b"permessage-deflate" in wire.head
    bomb = frame(0xC2, deflated(b"\0" * (1 << 20)), key=b"\0\0\0\0")
    wire.say(bomb * 20)
    assert wire.session._size == 1 << 20 and len(wire.session._queue) == 1


def test_a_client_that_never_reads_holds_up_the_app_and_no_memory(socketed: Make) -> None:
    sent = []

    async def talk(session: Session) -> None:
        session.accept(None, [])
        await receive(session)
        while True:
            session.send_message(b"x" * 10_000)
            sent.append(1)
            if session.is_full:
                await session.wait_writable()

    wire = socketed(talk, send_buffer=4096)
    wire.say_text("go")
    assert HIGH_WATER < wire.web.channel.queued < HIGH_WATER + 20_000
    count = len(sent)
    wire.turn(50)
    assert len(sent) == count
    wire.wait(31)
    assert wire.state() is State.CLOSED and isinstance(wire.failures[0], ClientDisconnected)
    assert wire.session.ended == Close(1006, "")


def test_the_kernel_may_hold_much_for_a_client_that_has_shown_that_it_reads(socketed: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trusted: list[int] = []
    monkeypatch.setattr(Channel, "trust", lambda channel: trusted.append(channel.queued))

    async def talk(session: Session) -> None:
        session.accept(None, [])
        await receive(session)
        session.send_message(b"x" * 300_000)

    wire = socketed(talk, send_buffer=4096)
    wire.say_text("go")
    assert wire.web.channel.queued > HIGH_WATER and not trusted
    assert wire.frames()[0] == (0x82, b"x" * 300_000)
    assert trusted


def test_a_ping_flood_of_a_client_that_never_reads_is_answered_with_the_newest_pong_only(socketed: Make) -> None:
    wire = socketed(ignore, send_buffer=4096)
    pings = b"".join(frame(0x89, b"%0120d" % number) for number in range(500))
    flood(wire, pings, 40 * len(pings))
    assert wire.web.channel.queued < HIGH_WATER + 2 * READ_SIZE
    assert wire.web._pong is not None
    newest = wire.web._pong
    heard = []
    while got := wire.hear():
        heard.append(got)
    assert b"".join(heard).endswith(newest) and wire.web._pong is None


# -- pings


def test_pings_are_answered_while_the_app_does_something_else(socketed: Make) -> None:
    wire = socketed(ignore)
    wire.say(frame(0x89, b"one") + frame(0x81, b"x") + frame(0x89, b"two"))
    assert wire.frames() == [(0x8A, b"one"), (0x8A, b"two")]


def test_a_client_is_asked_once_in_an_interval_whether_it_is_there(socketed: Make) -> None:
    wire = socketed(ignore, ws_ping_interval=5.0, ws_ping_timeout=5.0)
    for _ in range(3):
        wire.wait(4.9)
        assert wire.frames() == []
        wire.wait(0.2)
        assert wire.frames() == [(0x89, b"")]
        wire.wait(2)
        wire.say_frame(0x8A)


def test_a_client_that_is_silent_after_a_ping_is_given_up(socketed: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "penstock.error")
    wire = socketed(ignore, ws_ping_interval=5.0, ws_ping_timeout=3.0)
    wire.wait(5.1)
    assert wire.frames() == [(0x89, b"")]
    wire.wait(2.8)
    assert wire.frames() == []
    wire.wait(0.3)
    assert wire.frames() == [(0x88, b"\x03\xf3no answer to a ping within 3 s")]
    assert wire.session.ended == Close(1011, "no answer to a ping within 3 s")
    assert "no answer to a ping within 3 s" in caplog.text
    wire.wait(CLOSE_TIMEOUT + 0.1)
    wire.wait(LINGER_TIMEOUT + 0.1)
    assert wire.state() is State.CLOSED


def test_whatever_a_client_says_shows_that_it_is_there(socketed: Make) -> None:
    wire = socketed(ignore, ws_ping_interval=5.0, ws_ping_timeout=3.0)
    wire.wait(5.1)
    # Halfway through a long message no pong can come.
    wire.say(frame(0x82, b"x" * 100, announced=100_000))
    wire.wait(3.1)
    assert wire.frames() == [(0x89, b"")] * 2 and wire.state() is State.OPEN


def test_the_time_in_which_we_do_not_read_does_not_count(socketed: Make) -> None:
    slow = Slow()
    wire = socketed(slow, ws_ping_interval=5.0, ws_ping_timeout=3.0, ws_max_queue=2)
    wire.wait(5.1)
    wire.say(frame(0x82, b"a") * 20)
    wire.say_frame(0x8A)
    for _ in range(6):
        wire.wait(3.1)
    assert wire.state() is State.OPEN
    for _ in range(30):
        slow.go(wire)
    assert wire.web.channel.is_reading and wire.state() is State.OPEN
    wire.say_frame(0x8A)
    wire.wait(3.1)
    assert wire.state() is State.OPEN


def test_without_an_interval_nobody_is_asked_and_without_a_limit_nobody_is_given_up(socketed: Make) -> None:
    silent = socketed(ignore, ws_ping_interval=None)
    silent.wait(3600)
    assert silent.frames() == [] and silent.state() is State.OPEN
    patient = socketed(ignore, ws_ping_interval=5.0, ws_ping_timeout=None)
    for _ in range(4):
        patient.wait(5.1)
    assert patient.frames() == [(0x89, b"")] * 4 and patient.state() is State.OPEN


# -- the client's end


@pytest.mark.parametrize("payload, ended", [
    (b"\x03\xe8bye", Close(1000, "bye")), (b"", Close(1005, "")), (b"\x0f\xa0", Close(4000, "")), (b"\x03\xe9", Close(1001, "")),
])
def test_the_clients_close_is_sent_back_and_the_app_is_told(socketed: Make, payload: bytes, ended: Close) -> None:
    wire = socketed(echo)
    wire.say_frame(0x88, payload)
    assert wire.frames() == [(0x88, payload)]
    assert wire.session.ended == ended and not wire.service.running
    assert wire.is_ended() and wire.state() is State.LINGERING
    wire.peer.close()
    wire.turn()
    assert wire.state() is State.CLOSED


def test_a_client_that_does_not_end_after_both_closes_is_ended(socketed: Make) -> None:
    wire = socketed(echo)
    wire.say_frame(0x88, b"\x03\xe8")
    wire.say(frame(0x81, b"late") * 100)
    wire.wait(LINGER_TIMEOUT + 0.1)
    assert wire.state() is State.CLOSED and wire.service.connections == set()


def test_messages_before_a_close_are_answered_before_it(socketed: Make) -> None:
    wire = socketed(echo)
    wire.say(frame(0x81, b"a") + frame(0x81, b"b") + frame(0x88, b"\x03\xe8"))
    assert wire.frames() == [(0x81, b"a"), (0x81, b"b"), CLOSED]


def test_an_app_that_does_not_take_the_last_messages_does_not_hold_up_the_close(socketed: Make) -> None:
    wire = socketed(ignore)
    wire.say(frame(0x81, b"a") + frame(0x88, b"\x03\xe8"))
    assert wire.frames() == [] and wire.state() is State.ENDING
    wire.wait(ANSWER_TIMEOUT + 0.1)
    assert wire.frames() == [CLOSED] and wire.session.ended == Close(1000, "")


def test_an_app_that_closes_instead_of_taking_the_last_messages_answers_the_clients_close(socketed: Make) -> None:
    slow = Slow()
    wire = socketed(slow)
    wire.say(frame(0x81, b"a") + frame(0x88, b"\x03\xe8"))
    wire.session.close(Close(4001, "mine"))
    assert wire.frames() == [CLOSED] and wire.session.ended == Close(1000, "")
    slow.go(wire)
    assert slow.taken == [None]


@pytest.mark.parametrize("octets, code, words", [
    (frame(0x81, b"x", key=None), 1002, b"a frame without a mask"), (frame(0x81, b"\xff"), 1007, b"text that is not UTF-8"),
    (frame(0x82, announced=1 << 40), 1009, b"a message over 16777216 octets"),
])
def test_a_fault_is_answered_with_its_code_and_logged_once(
    socketed: Make, caplog: pytest.LogCaptureFixture, octets: bytes, code: int, words: bytes
) -> None:
    caplog.set_level(logging.INFO, "penstock.error")
    wire = socketed(echo)
    wire.say(octets + frame(0x81, b"late") + frame(0x83))
    assert wire.frames() == [(0x88, code.to_bytes(2, "big") + words)]
    assert wire.session.ended == Close(code, words.decode())
    assert [record.getMessage() for record in caplog.records if "Refused" in record.getMessage()] == [caplog.records[0].getMessage()]
    assert f"192.0.2.1:5000: {code}, {words.decode()} (RFC 6455" in caplog.text
    assert wire.is_ended() and wire.state() is State.LINGERING


def test_what_came_before_a_fault_is_answered_before_it(socketed: Make) -> None:
    wire = socketed(echo)
    wire.say(frame(0x81, b"good") + frame(0x83))
    got = wire.frames()
    assert got[0] == (0x81, b"good") and got[1][1][:2] == b"\x03\xea" and len(got) == 2


def test_a_client_that_leaves_without_a_close_is_1006_and_its_last_messages_are_taken(socketed: Make) -> None:
    slow = Slow()
    wire = socketed(slow)
    wire.say(frame(0x81, b"a") + frame(0x81, b"b"))
    wire.end()
    for _ in range(3):
        slow.go(wire)
    assert slow.taken == ["a", "b", None] and wire.session.ended == Close(1006, "")
    assert wire.state() is State.CLOSED
    with pytest.raises(ClientDisconnected):
        wire.session.send_message("late")


def test_a_client_that_resets_is_1006(socketed: Make) -> None:
    slow = Slow()
    wire = socketed(slow)
    wire.say_text("unread")
    wire.web.channel._socket.shutdown(socket.SHUT_RDWR)
    wire.turn()
    with pytest.raises(ClientDisconnected):
        wire.session.send_message("into nothing")
    assert wire.session.ended == Close(1006, "") and wire.state() is State.CLOSED


# -- our end


def test_the_apps_close_waits_for_the_clients(socketed: Make) -> None:
    wire = socketed(closer(4001, "enough"))
    assert wire.frames() == [(0x88, b"\x0f\xa1enough")]
    assert wire.state() is State.CLOSING and wire.session.ended == Close(4001, "enough")
    assert not wire.is_ended()
    wire.say(frame(0x81, b"crossed") + frame(0x89, b"x") + frame(0x88, b"\x0f\xa1"))
    assert wire.state() is State.LINGERING and wire.is_ended()


def test_a_client_that_does_not_answer_our_close_is_ended_in_time(socketed: Make) -> None:
    wire = socketed(closer(1000))
    for _ in range(20):
        wire.say(frame(0x82, b"x" * 60_000))
    assert wire.session._queue == [] and wire.state() is State.CLOSING
    wire.wait(CLOSE_TIMEOUT - 0.2)
    assert wire.state() is State.CLOSING
    wire.wait(0.3)
    assert wire.state() is State.LINGERING
    wire.wait(LINGER_TIMEOUT + 0.1)
    assert wire.state() is State.CLOSED


def test_a_ping_without_an_answer_does_not_lengthen_the_wait_for_the_clients_close(socketed: Make) -> None:
    wire = socketed(ignore, ws_ping_interval=5.0, ws_ping_timeout=500.0, ws_max_queue=1)
    wire.wait(5.1)
    wire.say_text("x")
    assert not wire.web.channel.is_reading
    wire.session.close(Close(1000, ""))
    wire.turn()
    assert wire.web.channel.is_reading and wire.web._awaits_pong
    wire.wait(CLOSE_TIMEOUT + 0.1)
    assert wire.state() is State.LINGERING


def test_after_our_close_a_fault_or_an_end_is_the_end(socketed: Make) -> None:
    faulty, ended = socketed(closer(1000)), socketed(closer(1000))
    faulty.say_frame(0x83)
    assert faulty.frames() == [CLOSED] and faulty.state() is State.LINGERING
    ended.end()
    assert ended.state() is State.CLOSED


def test_a_full_queue_does_not_hide_the_clients_close_from_ours(socketed: Make) -> None:
    slow = Slow()
    wire = socketed(slow, ws_max_queue=2)
    wire.say(frame(0x81, b"x") * 50 + frame(0x88, b"\x03\xe8"))
    assert not wire.web.channel.is_reading
    wire.session.close(Close(1000, ""))
    wire.turn()
    assert wire.state() is State.LINGERING and wire.session._queue == []


def test_what_is_queued_is_sent_before_the_end(socketed: Make) -> None:
    async def talk(session: Session) -> None:
        session.accept(None, [])
        session.send_message(b"x" * 300_000)
        session.close(Close(1000, ""))

    wire = socketed(talk, send_buffer=4096)
    assert wire.frames()[:1] != []
    wire.say_frame(0x88, b"\x03\xe8")
    assert wire.state() in (State.LINGERING, State.FLUSHING)


# -- drain


def drain(wire: SocketWire, **options: Any) -> "asyncio.Task[None]":
    task = asyncio.ensure_future(wire.service.drain(**options), loop=wire.loop)
    wire.turn()
    return task


def settle(wire: SocketWire, seconds: float) -> None:
    wire.clock.advance(seconds)
    wire.turn()


@pytest.mark.parametrize("options, reason", [({}, b"the server stops"), ({"keeps_idle": 1.0}, b"the server restarts")])
def test_a_drain_says_1012_and_tells_the_app(socketed: Make, options: Any, reason: bytes) -> None:
    wire = socketed(ignore)
    task = drain(wire, **options)
    settle(wire, 0.1)
    assert wire.frames() == [(0x88, b"\x03\xf4" + reason)]
    assert wire.session.ended == Close(1012, reason.decode())
    wire.say_frame(0x88, b"\x03\xf4")
    wire.peer.close()
    wire.turn()
    assert task.done()


def test_in_a_drain_what_came_before_is_answered(socketed: Make) -> None:
    slow = Slow(answers=True)
    wire = socketed(slow)
    wire.say_text("a")
    task = drain(wire)
    settle(wire, 0.1)
    assert wire.state() is State.ENDING
    slow.go(wire)
    slow.go(wire)
    assert wire.frames() == [(0x81, b"a"), (0x88, b"\x03\xf4the server stops")]
    wire.say_frame(0x88, b"\x03\xf4")
    wire.end()
    assert task.done() and slow.taken == ["a", None]


def test_many_clients_are_told_at_moments_of_their_own_within_the_grace_period(
    socketed: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def uniform(low: float, high: float) -> float:
        asked.append(high)
        return low

    monkeypatch.setattr(random, "uniform", uniform)
    wire = socketed(ignore)
    drain(wire, grace=10.0)
    assert asked == [wire.service.farewells] and 0 < wire.service.farewells < 0.01
    crowded = socketed(ignore)
    monkeypatch.setattr("penstock.connection.service.FAREWELLS_A_SECOND", 0.01)
    drain(crowded, grace=10.0)
    assert asked[-1] == 5.0


def test_one_that_is_accepted_during_a_drain_is_told_at_once(socketed: Make) -> None:
    go = asyncio.Event()

    async def talk(session: Session) -> None:
        await go.wait()
        await echo(session)

    wire = socketed(talk)
    drain(wire)
    go.set()
    wire.head = wire.hear_head()
    settle(wire, 0.1)
    assert wire.head.startswith(b"HTTP/1.1 101 ") and wire.frames() == [(0x88, b"\x03\xf4the server stops")]


@pytest.mark.parametrize("small", [frame(0x89), frame(0x00), frame(0x8A, b"x")])
def test_a_client_that_never_stops_sending_small_frames_leaves_the_others_their_turn(socketed: Make, small: bytes) -> None:
    wire = socketed(ignore)
    wire.peer.sendall(frame(0x01) + small * 10_000)
    others: list[int] = []
    for _ in range(200):
        wire.loop.call_soon(others.append, wire.web.frames._at)
        wire.turn(1)
    assert max(after - before for before, after in zip(others, others[1:], strict=False)) <= 300 * len(small)
    assert wire.web.channel.is_reading and not wire.web.frames.octets
