import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from penstock.codec.errors import ResponseError
from penstock.codec.events import Close
from penstock.connection.exchange import ClientDisconnected
from penstock.connection.session import Session
from penstock.connection.states import State
from support.client import request
from support.ws_cases import frame
from support.ws_wire import SocketWire, Talk, echo, handshake, receive

Make = Callable[..., SocketWire]


def held(go: asyncio.Event, talk: Talk = echo) -> Talk:
    """An app that does nothing before it is told to."""
    async def waiting(session: Session) -> None:
        await go.wait()
        await talk(session)
    return waiting


async def never(session: Session) -> None:
    while session.ended is None:
        await session.waiter()


def offering(more: str) -> bytes:
    return handshake(more=more)


# -- the handshake


def test_a_websocket_is_accepted_with_what_the_app_says(socketed: Make) -> None:
    async def talk(session: Session) -> None:
        session.accept("b", [(b"x-a", b"1")])

    wire = socketed(talk, asks=offering("sec-websocket-protocol: a, b\r\n"))
    assert b"\r\nx-a: 1\r\n" in wire.head and b"\r\nsec-websocket-protocol: b" in wire.head
    assert wire.session.status == 101


@pytest.mark.parametrize("options, agreed", [({}, True), ({"ws_per_message_deflate": False}, False)])
def test_messages_are_compressed_where_both_want_it(socketed: Make, options: Any, agreed: bool) -> None:
    wire = socketed(echo, asks=offering("sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n"), **options)
    assert (b"sec-websocket-extensions: permessage-deflate; server_max_window_bits=12; client_max_window_bits=12" in wire.head) is agreed
    wire.say_text("x" * 500)
    (first, payload), = wire.frames()
    assert first == (0xC1 if agreed else 0x81) and (len(payload) < 50) is agreed


def test_what_an_app_may_not_say_raises_and_it_may_try_again(socketed: Make) -> None:
    mistakes = []

    async def talk(session: Session) -> None:
        for subprotocol, fields in (("none", []), (None, [(b"a", b"\r\n")]), (None, [(b"sec-websocket-accept", b"x")])):
            with pytest.raises(ResponseError) as caught:
                session.accept(subprotocol, fields)
            mistakes.append(caught.value)
        session.accept(None, [])

    wire = socketed(talk)
    assert len(mistakes) == 3 and wire.head.startswith(b"HTTP/1.1 101 ")


def test_a_refusal_is_a_whole_403_and_the_connection_serves_on(socketed: Make) -> None:
    async def talk(session: Session) -> None:
        session.refuse(Close(4003, "no"))

    wire = socketed(talk, asks=handshake() + request("/next"))
    assert wire.head == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0"
    assert wire._heard.endswith(b"\r\n\r\n/next") and wire.session.ended == Close(4003, "no")
    assert [each.status for each in wire.answered] == [403, 200]


def test_any_response_may_deny_it(socketed: Make) -> None:
    async def talk(session: Session) -> None:
        session.start(401, [(b"www-authenticate", b"Basic")])
        session.write(b"go ", False)
        session.write(b"away", True)

    wire = socketed(talk)
    assert wire.head.startswith(b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\ntransfer-encoding: chunked")
    assert wire._heard == b"3\r\ngo \r\n4\r\naway\r\n0\r\n\r\n"


def test_an_app_that_does_not_answer_the_handshake_is_answered_for(socketed: Make) -> None:
    wire = socketed(never, ws_accept_timeout=7.0)
    wire.wait(6.9)
    assert wire.hear() == b"" and wire.session.ended is None
    wire.wait(0.2)
    assert wire.hear().startswith(b"HTTP/1.1 503 ") and wire.session.ended == Close(1006, "")
    patient = socketed(never, ws_accept_timeout=None)
    patient.wait(3600)
    assert patient.session.ended is None


def test_too_many_that_run_are_refused(socketed: Make) -> None:
    wire = socketed(never, limit_concurrency=1)
    wire.service.running.add(wire.session)
    assert wire.service.serve_websocket is not None
    other = socketed(never, limit_concurrency=1)
    other.session.tell_to_leave()
    assert len(other.service.running) == 1
    other.connection.exchange = None
    other.connection.state = State.IDLE
    other.connection.codec.drop_head()
    assert other.connection._run_websocket(other.session.head, other.service.serve_websocket)  # type: ignore[arg-type]
    assert other.hear().startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("fields, status", [
    ("sec-websocket-version: 8\r\nsec-websocket-key: x\r\n", b"426"), ("sec-websocket-version: 13\r\nsec-websocket-key: x\r\n", b"400"),
])
def test_a_handshake_that_is_none_is_refused_and_the_app_never_asked(socketed: Make, fields: str, status: bytes) -> None:
    wire = socketed(echo, asks=f"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n{fields}\r\n".encode())
    assert wire.head.startswith(b"HTTP/1.1 " + status) and b"connection: close" in wire.head and wire.sessions == []


@pytest.mark.parametrize("asks", [
    request("/as-ever", fields="connection: upgrade\r\nupgrade: h2c\r\n"),
    request("/as-ever", fields="connection: keep-alive\r\nupgrade: websocket\r\n"),
    handshake("/as-ever").replace(b"HTTP/1.1", b"HTTP/1.0"),
])
def test_who_does_not_ask_for_a_websocket_gets_none(socketed: Make, asks: bytes) -> None:
    wire = socketed(echo, asks=asks)
    assert wire.head.startswith(b"HTTP/1.1 200 ") and wire._heard == b"/as-ever" and wire.sessions == []


def test_a_client_that_leaves_before_it_is_accepted_cannot_be_accepted(socketed: Make) -> None:
    go = asyncio.Event()
    for leave in ("end", "close"):
        wire = socketed(held(go))
        wire.end() if leave == "end" else wire.peer.close()
        wire.turn()
        assert wire.session.ended == Close(1006, "")
        go.set()
        wire.turn()
        assert isinstance(wire.failures[0], ClientDisconnected) and wire.answered == []
        go.clear()


# -- messages


def test_messages_are_taken_in_order_and_none_when_there_is_none(socketed: Make) -> None:
    wire = socketed(held(asyncio.Event()))
    wire.session.accept(None, [])
    assert wire.session.take_message() is None
    wire.say(frame(0x81, b"a") + frame(0x82, b"b") + frame(0x81))
    assert [wire.session.take_message() for _ in range(4)] == ["a", b"b", "", None]
    assert wire.session.is_taken and wire.session._size == 0


def test_any_number_of_tasks_may_wait_and_send(socketed: Make) -> None:
    async def talk(session: Session) -> None:
        session.accept(None, [])
        await receive(session)

        async def say(number: int) -> None:
            for _ in range(20):
                session.send_message(bytes([number]) * 5000)
                if session.is_full:
                    await session.wait_writable()

        await asyncio.gather(*map(say, range(10)))

    wire = socketed(talk, send_buffer=4096)
    wire.say_text("go")
    got = wire.frames()
    assert sorted(payload for _, payload in got) == sorted(bytes([number]) * 5000 for number in range(10) for _ in range(20))


def test_sending_after_the_end_raises_and_says_how_it_ended(socketed: Make) -> None:
    wire = socketed(held(asyncio.Event()))
    wire.session.accept(None, [])
    wire.say_frame(0x88, b"\x0f\xa0why")
    with pytest.raises(ClientDisconnected, match=r"code 4000: why"):
        wire.session.send_message("late")
    with pytest.raises(ClientDisconnected):
        wire.session.close(Close(1000, ""))


def test_sending_after_the_apps_own_close_is_its_mistake(socketed: Make) -> None:
    wire = socketed(held(asyncio.Event()))
    wire.session.accept(None, [])
    wire.session.close(Close(1000, ""))
    with pytest.raises(RuntimeError, match="the application has closed"):
        wire.session.send_message("late")
    with pytest.raises(RuntimeError, match="the application has closed"):
        wire.session.close(Close(1000, ""))


def test_a_code_that_cannot_be_sent_raises_and_the_websocket_stays_open(socketed: Make) -> None:
    wire = socketed(held(asyncio.Event()))
    wire.session.accept(None, [])
    wire.hear_head()
    with pytest.raises(ValueError, match="1006"):
        wire.session.close(Close(1006, ""))
    wire.session.send_message("still here")
    assert wire.frames() == [(0x81, b"still here")]


def test_a_session_that_is_cut_is_closed(socketed: Make) -> None:
    wire, denied = socketed(held(asyncio.Event())), socketed(held(asyncio.Event()))
    wire.session.accept(None, [])
    wire.session.cut()
    assert wire.state() is State.CLOSED and wire.session.ended == Close(1006, "")
    denied.session.cut()
    assert denied.connection.state is State.CLOSED
