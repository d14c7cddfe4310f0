import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support.client import request
from support.responses import read_responses
from support.wire import Wire

Message = dict[str, Any]
Serve = Callable[..., Wire]

GET = request()
GET_TE = request(fields="te: gzip;q=0.5, Trailers\r\n")
START: Message = {"type": "http.response.start", "status": 200, "headers": []}
PIECE: Message = {"type": "http.response.body", "body": b"hello", "more_body": True}
LAST: Message = {"type": "http.response.body", "body": b"."}
TRAILERS: Message = {"type": "http.response.trailers", "headers": [(b"x-sum", b"5")]}
HINT: Message = {"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload", b"</a.js>; rel=preload"]}
HINTED = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nlink: </a.js>; rel=preload\r\n\r\n"
CONTENT = bytes(range(256)) * 2000


class Sends:
    """An app that sends these and returns; what sending them raised is kept."""

    def __init__(self, *messages: Message, goes_on: bool = False) -> None:
        self.messages = messages
        self.goes_on = goes_on
        self.raised: list[Exception] = []

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        for message in self.messages:
            try:
                await send(message)
            except Exception as error:
                self.raised.append(error)
                if not self.goes_on:
                    raise


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(CONTENT)
    return str(tmp_path / "file")


@pytest.fixture
def file(path: str) -> Iterator[BinaryIO]:
    with open(path, "rb") as opened:
        yield opened


def at_path(path: object) -> Message:
    return {"type": "http.response.pathsend", "path": path}


def part(file: object, **more: Any) -> Message:
    return {"type": "http.response.zerocopysend", "file": file, **more}


def body_of(heard: bytes) -> bytes:
    (response,) = read_responses(heard)
    return response.body


# -- early hints


def test_a_hint_goes_out_at_once_and_before_the_head_that_is_held_back(serve: Serve) -> None:
    heard: list[bytes] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send(HINT)
        await asyncio.sleep(0)
        await send(START)
        await send(HINT)
        await asyncio.sleep(0)
        heard.append(wire.peer.recv(65536))
        await send(LAST)

    wire = serve(app, b"")
    wire.say(GET)
    assert heard == [HINTED + HINTED] and wire.hear() == b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n."


@pytest.mark.parametrize("octets, messages", [(request(version="1.0"), [START, HINT, LAST]), (GET, [START, PIECE, HINT, LAST])])
def test_a_hint_that_comes_too_late_or_to_an_old_client_is_left_out(serve: Serve, octets: bytes, messages: list[Message]) -> None:
    app = Sends(*messages)
    assert b" 103 " not in serve(app, octets).hear() and not app.raised


@pytest.mark.parametrize("links, error, told", [
    (b"</a>", TypeError, "http.response.early_hint: 'links' must be an iterable of bytes"),
    ("</a>", TypeError, "'links' must be an iterable of bytes"),
    ([b"</a>", "</b>"], TypeError, "'links' must be an iterable of bytes"),
    (None, TypeError, "http.response.early_hint: 'links' must be an iterable of bytes, not NoneType"),
    ([b"</a>\r\nset-cookie: a"], ValueError, "http.response.early_hint: a control octet"),
    ([b"</a>\0"], ValueError, "http.response.early_hint: a control octet"),
])
def test_a_wrong_hint_is_raised_to_the_app_and_nothing_of_it_sent(
    serve: Serve, links: Any, error: type[Exception], told: str
) -> None:
    app = Sends({**HINT, "links": links})
    assert serve(app).hear().startswith(b"HTTP/1.1 500 ")
    assert type(app.raised[0]) is error and told in str(app.raised[0])


def test_a_hint_without_links_is_a_mistake(serve: Serve) -> None:
    app = Sends({"type": "http.response.early_hint"})
    serve(app)
    assert str(app.raised[0]) == "http.response.early_hint without 'links'"


# -- trailers


@pytest.mark.parametrize("octets, sum_of", [(GET_TE, [b"5"]), (GET, []), (request(fields="te: gzip\r\n"), []),
                                            (request(fields="te: trailers\r\n", version="1.0"), [])])
def test_trailers_reach_only_a_client_that_asks_for_them(serve: Serve, octets: bytes, sum_of: list[bytes]) -> None:
    app = Sends({**START, "trailers": True}, PIECE, LAST, TRAILERS)
    wire = serve(app, octets)
    (response,) = read_responses(wire.hear())
    assert response.body == b"hello." and response.all(b"trailer x-sum") == sum_of and not app.raised
    assert wire.connection.exchange is None


def test_trailers_in_several_messages_leave_together(serve: Serve) -> None:
    more = {"type": "http.response.trailers", "headers": [(b"x-first", b"1")], "more_trailers": True}
    wire = serve(Sends({**START, "trailers": True}, LAST, more, {"type": "http.response.trailers"}), GET_TE)
    assert wire.hear().endswith(b"1\r\n.\r\n0\r\nx-first: 1\r\n\r\n")


def test_behind_a_body_of_known_length_there_are_none(serve: Serve) -> None:
    start = {**START, "headers": [(b"content-length", b"6")], "trailers": True}
    wire = serve(Sends(start, PIECE, LAST, TRAILERS), GET_TE + GET_TE)
    assert [(each.body, each.all(b"trailer x-sum")) for each in read_responses(wire.hear())] == [(b"hello.", [])] * 2


def test_trailers_may_follow_a_file(serve: Serve, path: str) -> None:
    (response,) = read_responses(serve(Sends({**START, "trailers": True}, at_path(path), TRAILERS), GET_TE).hear())
    assert response.body == CONTENT


@pytest.mark.parametrize("messages, error, told", [
    ([TRAILERS], RuntimeError, "http.response.trailers came before http.response.start"),
    ([START, TRAILERS], RuntimeError, "http.response.trailers came where http.response.body was expected"),
    ([{**START, "trailers": True}, LAST, LAST], RuntimeError, "http.response.body came where http.response.trailers was expected"),
    ([{**START, "trailers": True}, LAST, {**TRAILERS, "headers": None}], TypeError, "'headers' must be an iterable of pairs of bytes"),
    ([{**START, "trailers": True}, LAST, {**TRAILERS, "headers": [(b"a", b"\n")]}], ValueError, "http.response.trailers: a control"),
    ([{**START, "trailers": True}, LAST, {**TRAILERS, "headers": [("a", "b")]}], ValueError, "must be bytes, not str"),
    ([{**START, "trailers": True}, LAST, {**TRAILERS, "more_trailers": 1}], TypeError, "'more_trailers' must be a bool, not int"),
    ([{**START, "trailers": True}, {**LAST, "body": "a"}], TypeError, "http.response.body: 'body' must be bytes, not str"),
    ([{**START, "trailers": True}, {**LAST, "more_body": 0}], TypeError, "http.response.body: 'more_body' must be a bool, not int"),
])
def test_wrong_trailers_are_raised_to_the_app(
    serve: Serve, messages: list[Message], error: type[Exception], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Sends(*messages)
    serve(app, GET_TE)
    assert type(app.raised[0]) is error and told in str(app.raised[0])
    assert caplog.messages == ["Exception in ASGI application"]


def test_trailers_that_were_announced_and_do_not_come_cut_the_connection(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    wire = serve(Sends({**START, "trailers": True}, LAST), GET_TE)
    assert not wire.service.connections and "without completing its response" in caplog.text


# -- a file by its path


def test_a_path_is_answered_with_its_file(serve: Serve, path: str) -> None:
    wire = serve(Sends(START, at_path(path)), GET + GET)
    assert [response.body for response in read_responses(wire.hear())] == [CONTENT] * 2


def test_to_head_a_path_is_answered_with_its_length(serve: Serve, path: str) -> None:
    wire = serve(Sends(START, at_path(path)), request(method="HEAD"))
    assert wire.hear() == b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(CONTENT)


def test_after_a_path_every_message_is_ignored(serve: Serve, path: str) -> None:
    app = Sends(START, at_path(path), LAST, at_path(path), {"type": "nonsense"})
    assert body_of(serve(app).hear()) == CONTENT and not app.raised


@pytest.mark.parametrize("make, error, told", [
    (lambda path: b"/tmp", TypeError, "http.response.pathsend: 'path' must be a str, not bytes"),
    (lambda path: "file", ValueError, "'path' must be absolute, not 'file'"),
    (os.path.dirname, ValueError, "'path' must be that of a regular file"),
    (lambda path: path + "-nothing", FileNotFoundError, "-nothing"),
])
def test_a_wrong_path_is_raised_to_the_app_and_answered_500(
    serve: Serve, path: str, make: Callable[[str], Any], error: type[Exception], told: str
) -> None:
    app = Sends(START, at_path(make(path)))
    assert serve(app).hear().startswith(b"HTTP/1.1 500 ")
    assert type(app.raised[0]) is error and told in str(app.raised[0])


def test_a_pipe_is_not_waited_for(serve: Serve, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert serve(Sends(START, at_path(str(tmp_path / "pipe")))).hear().startswith(b"HTTP/1.1 500 ")


def test_an_app_may_answer_otherwise_when_a_file_is_not_there(serve: Serve, path: str) -> None:
    assert body_of(serve(Sends(START, at_path(path + "-nothing"), LAST, goes_on=True)).hear()) == b"."


def test_a_file_of_another_length_than_was_said_is_a_mistake(serve: Serve, path: str) -> None:
    app = Sends({**START, "headers": [(b"content-length", b"1")]}, at_path(path))
    assert serve(app).hear().startswith(b"HTTP/1.1 500 ")
    assert str(app.raised[0]).startswith("http.response.pathsend: the body is 511999 octets longer")


@pytest.mark.parametrize("messages, told", [
    ([at_path("/")], "http.response.pathsend came before http.response.start"),
    ([START, PIECE, at_path("/")], "http.response.pathsend came where http.response.body was expected"),
])
def test_a_path_out_of_order_is_a_mistake(serve: Serve, messages: list[Message], told: str) -> None:
    app = Sends(*messages)
    serve(app)
    assert str(app.raised[0]) == told


def test_while_a_file_is_sent_nothing_else_is(serve: Serve, path: str) -> None:
    raised: list[Exception] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send(START)
        sending = asyncio.ensure_future(send(at_path(path)))
        await asyncio.sleep(0)
        try:
            await send(LAST)
        except RuntimeError as error:
            raised.append(error)
        await sending

    assert body_of(serve(app, send_buffer=4096).hear()) == CONTENT
    assert str(raised[0]) == "http.response.body came where nothing until the file is sent was expected"


@pytest.mark.parametrize("fields", [[], [(b"content-length", b"%d" % len(CONTENT))]])
@pytest.mark.parametrize("by_path", [True, False])
def test_a_file_that_the_app_breaks_off_does_not_look_whole(
    serve: Serve, path: str, file: BinaryIO, fields: list[tuple[bytes, bytes]], by_path: bool
) -> None:
    """What comes behind it would be read as its end."""
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send({**START, "headers": fields})
        message = at_path(path) if by_path else part(file, offset=0, count=len(CONTENT), more_body=True)
        sending = asyncio.ensure_future(send(message))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(OSError):
            await send(LAST)

    wire = serve(app, request() + request("/next"), send_buffer=4096)
    heard = wire.hear()
    assert heard.count(b"HTTP/1.1 ") == 1 and len(heard) < len(CONTENT) and not heard.endswith(b"0\r\n\r\n")
    assert not wire.service.connections and [exchange.ending for exchange in wire.answered] == ["failed"]


def test_a_file_that_shrinks_is_told_in_the_log_and_the_connection_cut(
    serve: Serve, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = serve(Sends(START, at_path(path)), send_buffer=4096)
    os.truncate(path, 100)
    wire.hear()
    assert not wire.service.connections and "changed meanwhile" in caplog.text


def test_a_client_that_leaves_a_file_is_not_logged(serve: Serve, path: str, caplog: pytest.LogCaptureFixture) -> None:
    wire = serve(Sends(START, at_path(path)), send_buffer=4096)
    wire.peer.close()
    wire.turn()
    assert not wire.service.running and caplog.records == []


# -- parts of open files


def test_parts_of_files_and_pieces_of_body_may_be_mixed(serve: Serve, file: BinaryIO) -> None:
    app = Sends(START, PIECE, part(file, offset=10, count=100_000, more_body=True), PIECE, part(file, offset=500_000))
    assert body_of(serve(app).hear()) == b"hello" + CONTENT[10:100_010] + b"hello" + CONTENT[500_000:]


def test_small_parts_and_hints_wait_for_the_client_too(serve: Serve, file: BinaryIO) -> None:
    sent = 0

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal sent
        message = {"type": "http.response.early_hint", "links": [b"x" * 1000]}
        if scope["path"] == "/parts":
            await send(START)
            message = part(file, offset=0, count=1000, more_body=True)
        for _ in range(3000):
            await send(message)
            sent += 1000

    for path in ("/parts", "/hints"):
        sent = 0
        wire = serve(app, request(path), send_buffer=4096)
        wire.turn(1000)
        assert 4096 < sent < 400_000


def test_without_an_offset_the_position_counts_and_moves(serve: Serve, file: BinaryIO) -> None:
    file.read(7)
    app = Sends(START, part(file, count=100, more_body=True), part(file, count=100, more_body=True), part(file, offset=0, count=1))
    assert body_of(serve(app).hear()) == CONTENT[7:207] + CONTENT[:1]
    assert file.tell() == 207 and not file.closed


def test_nothing_of_a_file_is_a_piece_too(serve: Serve, file: BinaryIO) -> None:
    assert body_of(serve(Sends(START, part(file, count=0, more_body=True), part(file, count=3))).hear()) == CONTENT[:3]


@pytest.mark.parametrize("more, error, told", [
    ({"offset": "1"}, TypeError, "http.response.zerocopysend: 'offset' must be an int, not str"),
    ({"count": 1.0}, TypeError, "'count' must be an int, not float"),
    ({"more_body": 1}, TypeError, "'more_body' must be a bool, not int"),
    ({"offset": -1}, ValueError, "'offset' -1 and 'count' 512001 are not within the file's 512000"),
    ({"count": -1}, ValueError, "'offset' 0 and 'count' -1"),
    ({"offset": 500_000, "count": 12_001}, ValueError, "'offset' 500000 and 'count' 12001 are not within the file's 512000"),
    ({"offset": 600_000}, ValueError, "'offset' 600000"),
])
def test_a_wrong_part_is_raised_to_the_app(
    serve: Serve, file: BinaryIO, more: Message, error: type[Exception], told: str
) -> None:
    app = Sends(START, part(file, **more))
    assert serve(app).hear().startswith(b"HTTP/1.1 500 ")
    assert type(app.raised[0]) is error and told in str(app.raised[0])


def test_what_is_no_file_is_a_mistake(serve: Serve, path: str) -> None:
    reader, writer = os.pipe()
    closed = open(path, "rb")
    closed.close()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb"):
        for wrong in (path, None, 3, pipe, closed):
            app = Sends(START, part(wrong))
            assert serve(app).hear().startswith(b"HTTP/1.1 500 ")
            assert str(app.raised[0]).startswith("http.response.zerocopysend: 'file' must be an open file: ")
    app = Sends(START, {"type": "http.response.zerocopysend"})
    serve(app)
    assert str(app.raised[0]) == "http.response.zerocopysend without 'file'"


def test_extensions_raise_for_a_client_that_left(serve: Serve, path: str) -> None:
    raised: list[type[Exception]] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        await receive()
        for message in (HINT, at_path(path), TRAILERS):
            try:
                await send(message)
            except OSError as error:
                raised.append(type(error))

    wire = serve(app, request("/", "POST", "content-length: 10\r\n") + b"1")
    wire.peer.close()
    wire.turn()
    assert [each.__name__ for each in raised] == ["ClientDisconnected"] * 3
