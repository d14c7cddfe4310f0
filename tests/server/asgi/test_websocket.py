import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from penstock_reactor import EventLoop

from penstock.asgi.websocket import websocket_server_of
from penstock.connection.exchange import ClientDisconnected
from penstock.connection.session import Session
from support.client import request
from support.hangs import bounded
from support.ws_cases import frame
from support.ws_wire import SocketWire, handshake

Message = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Message], Any]
App = Callable[[Message, Receive, Send], Any]
Serve = Callable[..., SocketWire]

ACCEPT: Message = {"type": "websocket.accept"}
CLOSE: Message = {"type": "websocket.close"}
DENY: Message = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-a", b"1")]}
DENIAL: Message = {"type": "websocket.http.response.body", "body": b"no"}
TEXT: Message = {"type": "websocket.send", "text": "hi"}


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded():
        yield


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a WebSocket to an app, and looks that nothing went wrong unseen."""
    loop = EventLoop()
    reports: list[Any] = []
    loop.set_exception_handler(lambda _loop, report: reports.append(report))
    wires: list[SocketWire] = []

    def make(app: App, *, state: Message | None = None, root_path: str = "", **options: Any) -> SocketWire:
        serve = websocket_server_of(app, root_path, state)

        async def talk(session: Session) -> None:
            await serve(session)

        wires.append(SocketWire(loop, talk, **options))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()
    loop.close()
    assert reports == []


class Scripted:
    """An app that sends these, receives until the end, and keeps all it got; a failure of a send is kept, too."""

    def __init__(self, *messages: Message, stops_at: str = "websocket.disconnect") -> None:
        self.messages = messages
        self.stops_at = stops_at
        self.scope: Message = {}
        self.got: list[Message] = []
        self.raised: list[BaseException] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.got.append(await receive())
        for message in self.messages:
            try:
                await send(message)
            except Exception as error:
                self.raised.append(error)
        while self.got[-1]["type"] != self.stops_at:
            self.got.append(await receive())


def echoing(*, then: Callable[[Message, Receive, Send], Any] | None = None) -> App:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        while (message := await receive())["type"] == "websocket.receive":
            await send({**message, "type": "websocket.send"})
        if then is not None:
            await then(message, receive, send)
    return app


# -- scope and messages


def test_the_scope_is_that_of_the_request_and_of_what_the_client_offers(serve: Serve) -> None:
    app = Scripted(ACCEPT)
    state = {"a": 1}
    serve(app, asks=handshake("/a%20b?q=%20", "sec-websocket-protocol: x, y\r\n"), state=state)
    headers = app.scope.pop("headers")
    assert (b"sec-websocket-protocol", b"x, y") in headers and (b"host", b"test") in headers
    assert app.scope.pop("state") == state and app.scope.get("state") is not state
    assert app.scope == {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.5"}, "http_version": "1.1", "scheme": "ws",
        "path": "/a b", "raw_path": b"/a%20b", "query_string": b"q=%20", "root_path": "", "subprotocols": ["x", "y"],
        "client": ("192.0.2.1", 5000), "server": ("192.0.2.2", 80), "extensions": {"websocket.http.response": {}},
    }


def test_an_absolute_target_has_the_path_of_any_other(serve: Serve) -> None:
    app = Scripted(ACCEPT)
    serve(app, asks=handshake("http://other.test/chat"), root_path="/root")
    assert app.scope["path"] == "/root/chat" and app.scope["root_path"] == "/root"


def test_a_message_has_text_or_bytes_and_the_end_a_code_and_a_reason(serve: Serve) -> None:
    app = Scripted(ACCEPT)
    wire = serve(app)
    wire.say(frame(0x81, b"t") + frame(0x82, b"b") + frame(0x81) + frame(0x82) + frame(0x88, b"\x0f\xa0why"))
    assert app.got == [
        {"type": "websocket.connect"}, {"type": "websocket.receive", "text": "t"}, {"type": "websocket.receive", "bytes": b"b"},
        {"type": "websocket.receive", "text": ""}, {"type": "websocket.receive", "bytes": b""},
        {"type": "websocket.disconnect", "code": 4000, "reason": "why"},
    ]


def test_the_end_is_told_again_and_again(serve: Serve) -> None:
    again: list[Message] = []

    async def then(message: Message, receive: Receive, send: Send) -> None:
        again.extend([message, await receive(), await receive()])

    wire = serve(echoing(then=then))
    wire.say_frame(0x88)
    assert again == [{"type": "websocket.disconnect", "code": 1005, "reason": ""}] * 3


@pytest.mark.parametrize("octets, code", [
    (frame(0x88, b"\x03\xe8"), 1000), (frame(0x88), 1005), (b"", 1006), (frame(0x83), 1002), (frame(0x81, b"\xff"), 1007),
    (frame(0x82, announced=1 << 30), 1009), (frame(0x88, b"\x13\x87"), 4999),
])
def test_every_way_to_end_has_its_code(serve: Serve, octets: bytes, code: int) -> None:
    app = Scripted(ACCEPT)
    wire = serve(app)
    wire.say(octets)
    if code == 1006:
        wire.end()
    assert app.got[-1]["type"] == "websocket.disconnect" and app.got[-1]["code"] == code


@pytest.mark.parametrize("message, sent", [
    ({"text": "t"}, (0x81, b"t")), ({"bytes": b"b"}, (0x82, b"b")), ({"text": ""}, (0x81, b"")), ({"bytes": b""}, (0x82, b"")),
    ({"text": "t", "bytes": None}, (0x81, b"t")), ({"text": None, "bytes": b"b"}, (0x82, b"b")), ({"bytes": bytearray(b"b")}, (0x82, b"b")),
    ({"bytes": memoryview(b"b")}, (0x82, b"b")), ({"text": type("Name", (str,), {})("t"), "unknown": 5}, (0x81, b"t")),
])
def test_a_message_is_sent_as_it_is_meant(serve: Serve, message: Message, sent: tuple[int, bytes]) -> None:
    app = Scripted(ACCEPT, {"type": "websocket.send", **message})
    wire = serve(app)
    assert wire.frames() == [sent] and app.raised == []


@pytest.mark.parametrize("message, kind, words", [
    ({}, ValueError, "'type'"), ({"type": 5}, TypeError, "'type' must be a str"), ({"type": "websocket.sent"}, ValueError, "unknown message type 'websocket.sent'"),
    ({"type": "websocket.send"}, ValueError, "exactly one of 'text' and 'bytes'"),
    ({"type": "websocket.send", "text": "a", "bytes": b"b"}, ValueError, "exactly one"),
    ({"type": "websocket.send", "text": None, "bytes": None}, ValueError, "exactly one"),
    ({"type": "websocket.send", "text": b"a"}, TypeError, "'text' must be a str, not bytes"),
    ({"type": "websocket.send", "bytes": "a"}, TypeError, "'bytes' must be bytes, not str"),
    ({"type": "websocket.send", "text": "\ud800"}, ValueError, "surrogates not allowed"),
    (ACCEPT, RuntimeError, "websocket.accept after websocket.accept"), (DENY, RuntimeError, "after websocket.accept"), (DENIAL, RuntimeError, "after websocket.accept"),
    ({"type": "websocket.close", "code": "1000"}, TypeError, "'code' must be an int, not str"),
    ({"type": "websocket.close", "reason": b"x"}, TypeError, "'reason' must be a str, not bytes"),
    ({"type": "websocket.close", "code": 1006}, ValueError, "close code 1006"), ({"type": "websocket.close", "code": 0}, ValueError, "close code 0"),
])
def test_a_wrong_message_raises_by_name_and_the_websocket_stays_open(serve: Serve, message: Message, kind: type, words: str) -> None:
    app = Scripted(ACCEPT, message, TEXT)
    wire = serve(app)
    assert [type(error) for error in app.raised] in ([kind], [UnicodeEncodeError]) and words in str(app.raised[0])
    assert wire.frames() == [(0x81, b"hi")]


@pytest.mark.parametrize("message, kind, words", [
    (TEXT, RuntimeError, "websocket.send before websocket.accept"), (DENIAL, RuntimeError, "before websocket.accept"),
    ({"type": "websocket.accept", "subprotocol": "x"}, ValueError, "'x' was not offered"), ({"type": "websocket.accept", "subprotocol": 5}, TypeError, "'subprotocol'"),
    ({"type": "websocket.accept", "headers": [(b"sec-websocket-protocol", b"x")]}, ValueError, "sec-websocket-protocol"),
    ({"type": "websocket.accept", "headers": [(b"a", b"b\r\nc: d")]}, ValueError, "control octet"),
    ({"type": "websocket.accept", "headers": [("a", "b")]}, ValueError, "must be bytes"),
    ({"type": "websocket.http.response.start"}, ValueError, "without 'status'"), ({"type": "http.response.start", "status": 200}, ValueError, "unknown message type"),
])
def test_before_it_is_accepted_a_wrong_message_raises_and_it_can_still_be(serve: Serve, message: Message, kind: type, words: str) -> None:
    app = Scripted(message, ACCEPT, TEXT)
    wire = serve(app)
    assert [type(error) for error in app.raised] == [kind] and words in str(app.raised[0])
    assert wire.head.startswith(b"HTTP/1.1 101 ") and wire.frames() == [(0x81, b"hi")]


# -- refusals


def test_a_close_before_it_is_accepted_is_a_403(serve: Serve) -> None:
    app = Scripted({"type": "websocket.close", "code": 4003, "reason": "no"}, ACCEPT, TEXT, CLOSE)
    wire = serve(app)
    assert wire.head == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0"
    assert app.got[-1] == {"type": "websocket.disconnect", "code": 4003, "reason": "no"}
    assert [type(error) for error in app.raised] == [RuntimeError] * 3
    assert "websocket.accept after the application has closed" in str(app.raised[0])


def test_an_app_may_deny_it_with_a_response_of_its_own(serve: Serve) -> None:
    app = Scripted(DENY, {**DENIAL, "more_body": True}, ACCEPT, DENIAL, DENIAL)
    wire = serve(app, asks=handshake() + request("/next"))
    assert wire.head.startswith(b"HTTP/1.1 401 Unauthorized\r\nx-a: 1\r\ntransfer-encoding: chunked")
    assert wire._heard.startswith(b"2\r\nno\r\n2\r\nno\r\n0\r\n\r\nHTTP/1.1 200 OK")
    assert len(app.raised) == 1 and "within a response that denies" in str(app.raised[0])
    assert app.got[-1] == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


def test_a_denial_that_breaks_off_does_not_look_whole(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({**DENY, "headers": [(b"content-length", b"10")]})
        await send({**DENIAL, "more_body": True})

    wire = serve(app)
    assert wire._heard == b"no" and not wire.service.connections
    assert "returned without accepting or closing" in caplog.text


def test_a_started_denial_that_fails_is_a_500(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(DENY)
        raise ZeroDivisionError

    assert serve(app).head.startswith(b"HTTP/1.1 500 ") and "ZeroDivisionError" in caplog.text


# -- apps that end


def test_an_app_that_returns_has_closed_with_1000(serve: Serve) -> None:
    wire = serve(Scripted(ACCEPT, TEXT, stops_at="websocket.connect"))
    assert wire.frames() == [(0x81, b"hi"), (0x88, b"\x03\xe8")]


def test_an_app_that_raises_closes_with_1011_and_the_log_tells(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise ZeroDivisionError("the app's own fault")

    wire = serve(app)
    assert wire.frames() == [(0x88, b"\x03\xf3the application failed")]
    assert "ZeroDivisionError: the app's own fault" in caplog.text and "penstock/asgi" not in caplog.text


@pytest.mark.parametrize("raises", [True, False])
def test_an_app_that_ends_before_it_has_accepted_is_a_500(serve: Serve, caplog: pytest.LogCaptureFixture, raises: bool) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        if raises:
            raise SystemExit("the app's own fault")

    assert serve(app).head.startswith(b"HTTP/1.1 500 ")
    assert ("SystemExit" if raises else "returned without accepting or closing: /") in caplog.text


@pytest.mark.parametrize("error", [ClientDisconnected("gone"), type("WebSocketDisconnect", (Exception,), {})(1000)])
def test_an_app_that_ends_with_its_client_is_no_error(serve: Serve, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    async def then(message: Message, receive: Receive, send: Send) -> None:
        raise error

    wire = serve(echoing(then=then))
    wire.say_frame(0x88, b"\x03\xe8")
    assert wire.frames() == [(0x88, b"\x03\xe8")] and caplog.text == "" and not wire.service.running


def test_an_app_that_fails_after_its_client_has_left_is_still_an_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def then(message: Message, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    wire = serve(echoing(then=then))
    wire.say_frame(0x88, b"\x03\xe8")
    assert "ZeroDivisionError" in caplog.text


def test_sending_to_a_client_that_is_gone_raises_an_os_error(serve: Serve) -> None:
    late: list[BaseException] = []

    async def then(message: Message, receive: Receive, send: Send) -> None:
        for each in (TEXT, CLOSE):
            try:
                await send(each)
            except OSError as error:
                late.append(error)

    wire = serve(echoing(then=then))
    wire.end()
    assert [type(error) for error in late] == [ClientDisconnected] * 2


def test_a_send_that_waits_for_its_client_ends_when_that_is_gone(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[int] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 50_000})
            sent.append(1)

    wire = serve(app, send_buffer=4096)
    wire.say_text("go")
    assert wire.service.running and len(sent) < 10
    wire.peer.close()
    wire.turn()
    assert not wire.service.running and caplog.text == ""


def test_an_app_that_never_waits_lets_others_have_their_turn(serve: Serve) -> None:
    count = [0]

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        while count[0] < 100_000:
            await send({"type": "websocket.send", "bytes": b""})
            count[0] += 1

    wire = serve(app)
    wire.peer.sendall(frame(0x81, b"go"))
    wire.turn(3)
    assert 0 < count[0] < 2000


def test_an_app_that_is_cancelled_at_the_end_of_a_drain_is_no_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await asyncio.Event().wait()

    wire = serve(app)
    wire.service.is_draining = True
    assert wire.session.task is not None
    wire.session.task.cancel()
    wire.turn()
    assert caplog.text == "" and not wire.service.connections


def test_an_app_that_is_cancelled_otherwise_is_one(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise asyncio.CancelledError

    assert serve(app).frames() == [(0x88, b"\x03\xf3the application failed")] and "CancelledError" in caplog.text
