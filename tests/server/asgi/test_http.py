import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from support.client import request
from support.wire import Wire

from penstock.connection.exchange import ClientDisconnected

Message = dict[str, Any]
Receive = Callable[[], Any]
Send = Callable[[Message], Any]
App = Callable[[Message, Receive, Send], Any]
Serve = Callable[..., Wire]

GET = request()
_user: ContextVar[str] = ContextVar("user", default="nobody")
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
BODY: Message = {"type": "http.response.body", "body": b"hello"}


def sends(*messages: Message) -> App:
    """An app that sends these and returns."""
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
    return app


def body(*pieces: bytes) -> list[Message]:
    last = len(pieces) - 1
    return [{"type": "http.response.body", "body": piece, "more_body": place < last} for place, piece in enumerate(pieces)]


# -- answers


def test_a_response_in_one_piece_has_a_length(serve: Serve) -> None:
    assert serve(sends(START, BODY)).hear() == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def test_a_response_in_pieces_goes_in_chunks(serve: Serve) -> None:
    heard = serve(sends(START, *body(b"a", b"", b"bc", b""))).hear()
    assert heard == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"


def test_a_response_to_head_has_no_body(serve: Serve) -> None:
    wire = serve(sends(START, BODY), request(method="HEAD") + request("/next", "HEAD"))
    assert wire.hear() == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n" * 2


@pytest.mark.parametrize("message", [
    {"type": "http.response.start", "status": 200},
    {"type": "http.response.start", "status": HTTPStatus.OK, "headers": iter(())},
    {"type": "http.response.start", "status": 200, "headers": (), "trailers": False, "unknown": object()},
])
def test_what_may_be_left_out_or_added_is_no_mistake(serve: Serve, message: Message) -> None:
    wire = serve(sends(message, {"type": "http.response.body"}))
    assert wire.hear() == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("octets", [bytearray(b"hello"), memoryview(b"hello")])
def test_other_buffers_are_taken_for_bytes(serve: Serve, octets: Any) -> None:
    assert serve(sends(START, {"type": "http.response.body", "body": octets})).hear().endswith(b"hello")


def test_after_the_last_piece_every_message_is_ignored(serve: Serve) -> None:
    wire = serve(sends(START, BODY, BODY, START, {"type": "nonsense"}))
    assert wire.hear().endswith(b"\r\n\r\nhello") and wire.connection.exchange is None


def test_an_app_that_fills_the_channel_waits_for_the_client(serve: Serve) -> None:
    sent = 0

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            sent += 10_000
        await send({"type": "http.response.body"})

    wire = serve(app, send_buffer=4096)
    assert sent < 400_000
    assert wire.hear().endswith(b"0\r\n\r\n") and sent == 10_000_000


@pytest.mark.parametrize("piece, most", [(b"x" * 50_000, 30), (b"x", 1000)])
def test_a_stream_that_is_taken_at_once_lets_others_have_their_turn(
    serve: Serve, piece: bytes, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(START)
        while True:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += 1

    wire = serve(app, b"")
    # A client that takes all there is, without a turn of the loop.
    monkeypatch.setattr(type(wire.connection.channel), "write", lambda channel, parts, ends=False: None)
    wire.peer.sendall(GET)
    for turns in range(1, 5):
        wire.turn(1)
        assert sent <= most * turns
    assert sent > most


def test_a_large_last_piece_is_not_waited_for(serve: Serve) -> None:
    done: list[bool] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"x" * 1_000_000})
        done.append(True)

    wire = serve(app, send_buffer=4096)
    assert done == [True] and not wire.service.running
    assert wire.hear().count(b"x") == 1_000_000


# -- what is received


def test_the_body_comes_first_even_when_there_is_none_and_then_the_end(serve: Serve) -> None:
    received: list[Message] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        received.append(await receive())
        await send(START)
        await send(BODY)
        received.append(await receive())
        received.append(await receive())

    serve(app)
    assert received == [
        {"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}, {"type": "http.disconnect"},
    ]


def test_a_body_comes_in_pieces(serve: Serve) -> None:
    received: list[Message] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        while not received or received[-1]["more_body"]:
            received.append(await receive())
        await sends(START, BODY)(scope, receive, send)

    wire = serve(app, request("/", "POST", "content-length: 6\r\n") + b"123")
    wire.say(b"456")
    assert [(each["body"], each["more_body"]) for each in received] == [(b"123", True), (b"456", False)]
    assert wire.hear().endswith(b"hello")


def test_a_client_that_leaves_is_told_to_the_app_again_and_again(serve: Serve) -> None:
    received: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for _ in range(4):
            received.append((await receive())["type"])

    wire = serve(app)
    wire.peer.close()
    wire.turn()
    assert received == ["http.request"] + ["http.disconnect"] * 3


# -- mistakes of the app


@pytest.mark.parametrize("messages, error, told", [
    ([BODY], RuntimeError, "http.response.body came before http.response.start"),
    ([START, START], RuntimeError, "http.response.start was sent already; http.response.body was expected"),
    ([START, {"type": "http.disconnect"}], ValueError, "unknown message type 'http.disconnect'; http.response.body was expected"),
    ([{"type": "http.response.strat"}], ValueError, "unknown message type 'http.response.strat'; http.response.start was expected"),
    ([{}], ValueError, "a message without 'type'"),
    ([None], TypeError, "a message must be a dict, not NoneType"),
    ([[("type", "http.response.start")]], TypeError, "a message must be a dict, not list"),
    ([{"type": None}], TypeError, "'type' must be a str, not NoneType"),
    ([{"type": ["http.response.start"]}], TypeError, "'type' must be a str, not list"),
    ([{"type": "http.response.start"}], ValueError, "http.response.start without 'status'"),
    ([{"type": "http.response.start", "status": "200"}], TypeError, "http.response.start: 'status' must be an int, not str"),
    ([{"type": "http.response.start", "status": 200.0}], TypeError, "'status' must be an int, not float"),
    ([{"type": "http.response.start", "status": [200]}], TypeError, "'status' must be an int, not list"),
    ([{"type": "http.response.start", "status": True}], TypeError, "'status' must be an int, not bool"),
    ([{"type": "http.response.start", "status": 0}], ValueError, "http.response.start: .*int from 200 to 999, not 0"),
    ([{**START, "trailers": "yes"}], TypeError, "http.response.start: 'trailers' must be a bool, not str"),
    ([{"type": "http.response.start", "status": 100}], ValueError, "http.response.start: .*not 100"),
    ([{"type": "http.response.start", "status": 1000}], ValueError, "not 1000"),
    ([{"type": "http.response.start", "status": 200, "headers": [("a", "b")]}], ValueError, "bytes, not str"),
    ([{"type": "http.response.start", "status": 200, "headers": [(b"a", "b")]}], ValueError, "headers"),
    ([{"type": "http.response.start", "status": 200, "headers": None}], ValueError, "headers"),
    ([{"type": "http.response.start", "status": 200, "headers": [(b"a",)]}], ValueError, "headers|pair|unpack"),
    ([{"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]}], ValueError, "control octet"),
    ([{"type": "http.response.start", "status": 200, "headers": [(b"a b", b"c")]}], ValueError, "header name"),
    ([START, {"type": "http.response.body", "body": "text"}], TypeError, "http.response.body: 'body' must be bytes, not str"),
    ([START, {"type": "http.response.body", "body": None}], TypeError, "'body' must be bytes, not NoneType"),
    ([START, {"type": "http.response.body", "more_body": 1}], TypeError, "http.response.body: 'more_body' must be a bool, not int"),
    ([START, {"type": "http.response.body", "more_body": None}], TypeError, "'more_body' must be a bool, not NoneType"),
    ([{**START, "headers": [(b"content-length", b"3")]}, BODY], ValueError, "http.response.body: .*2 octets longer"),
])
def test_a_mistake_is_raised_to_the_app_and_answered_500(
    serve: Serve, messages: list[Message], error: type[Exception], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages[:-1]:
            await send(message)
        with pytest.raises(error, match=told):
            await send(messages[-1])
        await send(messages[-1])

    heard = serve(app).hear()
    assert heard.startswith(b"HTTP/1.1 500 ") and heard.endswith(b"Internal Server Error")
    assert caplog.messages == ["Exception in ASGI application"]


def test_an_error_of_the_apps_own_fields_is_raised_as_it_is(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    prices: dict[str, bytes] = {}
    heard = serve(sends({**START, "headers": ((b"x-price", prices[name]) for name in ("tea",))})).hear()
    assert heard.startswith(b"HTTP/1.1 500 ") and "KeyError: 'tea'" in caplog.text and "without" not in caplog.text


def test_no_octet_of_an_app_gets_out_in_a_header(serve: Serve) -> None:
    for bad in (b"\r", b"\n", b"\0", b"\r\n"):
        heard = serve(sends({**START, "headers": [(b"x", b"a" + bad + b"injected: 1")]}, BODY)).hear()
        assert b"injected" not in heard and heard.startswith(b"HTTP/1.1 500 ")


def test_a_body_shorter_than_its_length_cuts_the_connection(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    start = {**START, "headers": [(b"content-length", b"10")]}
    wire = serve(sends(start, *body(b"half", b"")))
    assert not wire.service.connections
    assert "6 octets shorter" in caplog.text


# -- extensions, and their order; what each of them does is in test_extensions.py

GET_TE = request(fields="te: trailers\r\n")
PROMISING: Message = {**START, "trailers": True}
TRAILERS: Message = {"type": "http.response.trailers", "headers": [(b"x-sum", b"5")]}
HINT: Message = {"type": "http.response.early_hint", "links": [b"</a>"]}
FILE = Path(__file__).with_name("conftest.py")
HERE: Message = {"type": "http.response.pathsend", "path": str(FILE)}


@pytest.mark.parametrize("messages, end", [
    ([HINT, PROMISING, HINT, BODY, TRAILERS], b"\r\n5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n"),
    ([PROMISING, *body(b"a", b"b"), {**TRAILERS, "more_trailers": True}, {"type": "http.response.trailers"}], b"b\r\n0\r\nx-sum: 5\r\n\r\n"),
    ([START, HERE], FILE.read_bytes()),
    ([PROMISING, HERE, TRAILERS, BODY], FILE.read_bytes()),
])
def test_extensions_have_their_order(serve: Serve, messages: list[Message], end: bytes) -> None:
    wire = serve(sends(*messages), GET_TE + GET_TE)
    heard = wire.hear()
    assert heard.endswith(end) and heard.count(b"HTTP/1.1 200 ") == 2 and heard.count(b" 103 ") == 2 * messages.count(HINT)


def test_a_part_of_a_file_is_a_piece_of_the_body(serve: Serve) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        with open(__file__, "rb") as file:
            part = {"type": "http.response.zerocopysend", "file": file, "offset": 0, "count": 6}
            await send({**part, "more_body": True})
            await send(part)

    assert serve(app).hear().endswith(b"\r\n\r\n6\r\nimport\r\n6\r\nimport\r\n0\r\n\r\n")


@pytest.mark.parametrize("messages, told", [
    ([TRAILERS], "http.response.trailers came before http.response.start"),
    ([HERE], "http.response.pathsend came before http.response.start"),
    ([START, *body(b"a", b"")[:1], HERE], "http.response.pathsend came where http.response.body was expected"),
    ([PROMISING, TRAILERS], "http.response.trailers came where http.response.body before its trailers was expected"),
    ([PROMISING, BODY, HINT], "http.response.early_hint came where http.response.trailers was expected"),
])
def test_an_extension_out_of_order_is_a_mistake(
    serve: Serve, messages: list[Message], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    serve(sends(*messages), GET_TE)
    assert f"RuntimeError: {told}" in caplog.text


# -- failures of the app


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_app_that_raises_is_answered_500_and_the_next_request_unharmed(
    serve: Serve, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["path"] == "/bad":
            raise error
        await sends(START, BODY)(scope, receive, send)

    wire = serve(app, request("/bad"))
    heard = wire.hear()
    assert heard.startswith(b"HTTP/1.1 500 ") and b"connection: close" not in heard
    wire.say(GET)
    assert wire.hear().endswith(b"\r\n\r\nhello")
    (record,) = caplog.records
    assert record.exc_info is not None and record.exc_info[1] is error
    assert "penstock/asgi" not in caplog.text


def test_an_app_that_raises_in_its_response_cuts_the_connection(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    wire = serve(app)
    assert not wire.service.connections
    assert caplog.messages == ["Exception in ASGI application"]


def test_an_app_that_raises_after_starting_is_answered_500_while_nothing_is_sent(serve: Serve) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"x-secret", b"1"), (b"content-length", b"77")]})
        raise ZeroDivisionError

    heard = serve(app).hear()
    assert heard.startswith(b"HTTP/1.1 500 ") and b"x-secret" not in heard


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize("ends", [ValueError, None])
def test_what_an_app_left_behind_sends_goes_to_nobody(serve: Serve, is_begun: bool, ends: type[Exception] | None) -> None:
    """A task that outlives the answer given in its place (a time limit around the app): the next request is another's."""
    late: asyncio.Event
    left: list[asyncio.Task[None]] = []

    async def answer_late(send: Send) -> None:
        await late.wait()
        for message in (BODY, START, BODY) if is_begun else (START, BODY):
            await send(message)

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal late
        if not left:
            late = asyncio.Event()
            if is_begun:
                await send({**START, "headers": [(b"x-for", b"alice")]})
            left.append(asyncio.ensure_future(answer_late(send)))
            if ends is not None:
                raise ends
            return
        # One piece of the next answer is on its way.
        await send(START)
        await send({"type": "http.response.body", "body": b"bob", "more_body": True})
        late.set()
        await left[0]
        await send({"type": "http.response.body", "body": b"by"})

    wire = serve(app)
    assert wire.hear().startswith(b"HTTP/1.1 500 ")
    wire.say(GET)
    assert wire.hear() == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nbob\r\n2\r\nby\r\n0\r\n\r\n"
    assert [exchange.status for exchange in wire.answered] == [500, 200]
    # And when nobody asks anything.
    wire.turn()
    assert wire.hear() == b""


def test_an_app_that_raises_after_its_answer_is_logged_and_nothing_else(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await sends(START, BODY)(scope, receive, send)
        raise ZeroDivisionError

    wire = serve(app, GET + GET)
    assert wire.hear().count(b"hello") == 2 and len(caplog.records) == 2


@pytest.mark.parametrize("messages, told, answered", [
    ([], "without sending a response: GET /", True),
    ([START], "without sending a response: GET /", True),
    ([START, {**BODY, "more_body": True}], "without completing its response: GET /", False),
])
def test_an_app_that_returns_too_early_is_named(
    serve: Serve, messages: list[Message], told: str, answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    wire = serve(sends(*messages))
    if answered:
        assert wire.hear().startswith(b"HTTP/1.1 500 ")
    else:
        assert not wire.service.connections
    assert told in caplog.text


# -- clients that leave


class ClientDisconnect(Exception):
    """What frameworks make of it."""


def leaves(failing: Callable[[], Any]) -> App:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
                await asyncio.sleep(0)
        except OSError as error:
            assert isinstance(error, ClientDisconnected)
            failing()
            raise
    return app


def raise_its_own() -> None:
    raise ClientDisconnect


def raise_a_group() -> None:
    raise ExceptionGroup("tasks", [ClientDisconnected("gone"), ExceptionGroup("more", [ClientDisconnect()])])


def raise_what_follows() -> None:
    raise RuntimeError("the stream has ended")


@pytest.mark.parametrize("failing", [lambda: None, raise_its_own, raise_a_group, raise_what_follows])
def test_nobody_logs_a_client_that_left_as_an_error(
    serve: Serve, failing: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    wire = serve(leaves(failing))
    wire.peer.close()
    wire.turn()
    assert not wire.service.running and caplog.records == []


def test_a_framework_that_makes_an_error_of_http_disconnect_is_not_logged_either(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    wire = serve(app, request("/", "POST", "content-length: 10\r\n"))
    wire.peer.close()
    wire.turn()
    assert not wire.service.running and caplog.records == []


def test_an_error_that_only_happens_after_the_client_left_is_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        raise ZeroDivisionError

    wire = serve(app)
    wire.peer.close()
    wire.turn()
    assert caplog.messages == ["Exception in ASGI application"]


def test_starting_an_answer_for_a_client_that_left_raises(serve: Serve) -> None:
    raised: list[BaseException] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        try:
            await send(START)
        except OSError as error:
            raised.append(error)

    wire = serve(app, request("/", "POST", "content-length: 10\r\n") + b"1")
    wire.peer.close()
    wire.turn()
    assert len(raised) == 1 and isinstance(raised[0], ClientDisconnected)


# -- the server that leaves


def test_an_app_that_was_asked_to_leave_and_does_is_not_at_fault(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    wire = serve(app)
    draining = wire.loop.create_task(wire.service.drain())
    heard = wire.hear()
    assert heard.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: 1\r\n" in heard
    wire.end()
    assert draining.done() and caplog.records == []


@pytest.mark.parametrize("messages", [[], [START, {**BODY, "more_body": True}]])
def test_an_app_that_the_drain_cancels_is_cut_and_not_logged(
    serve: Serve, messages: list[Message], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        await asyncio.get_running_loop().create_future()

    wire = serve(app)
    draining = wire.loop.create_task(wire.service.drain())
    wire.turn()
    (exchange,) = wire.service.running
    assert exchange.task is not None
    exchange.task.cancel()
    wire.turn()
    assert draining.done() and not wire.service.connections and caplog.records == []


@pytest.mark.parametrize("octets", [GET * 3, request("/", "POST", body=b"x" * 200_000) * 3])
@pytest.mark.parametrize("waits", [True, False])
def test_each_request_has_a_context_of_its_own(serve: Serve, octets: bytes, waits: bool) -> None:
    seen: list[str] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        seen.append(_user.get())
        _user.set("somebody")
        while (await receive())["more_body"]:
            await asyncio.sleep(0)
        if waits:
            await asyncio.sleep(0)
        await sends(START, BODY)(scope, receive, send)

    wire = serve(app, b"")
    while octets:
        octets = octets[wire.peer.send(octets) :]
        wire.turn()
    assert wire.hear().count(b"hello") == 3 and seen == ["nobody"] * 3
