import asyncio
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import penstock
import pytest
from support.asgi import Answer, ask, http_scope

from penstock.asgi import wsgi as module
from penstock.asgi.wsgi import Wsgi
from penstock.connection.exchange import ClientDisconnected

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, Start], Iterable[bytes]]

PLAIN = [("Content-Type", "text/plain")]


def answer_of(app: App, method: str = "GET", path: str = "/", **more: Any) -> Answer:
    wsgi = Wsgi(app, 2)
    try:
        return ask(wsgi, method, path, **more)
    finally:
        wsgi._pool.stop()


def body_messages(answer: Answer) -> list[tuple[bytes, bool]]:
    return [(message["body"], message["more_body"]) for message in answer.messages if message["type"] == "http.response.body"]


def gives(*blocks: Any, length: int | None = None, status: str = "200 OK") -> App:
    """An application whose answer is a generator of these blocks."""
    def app(environ: Environ, start_response: Start) -> Iterator[bytes]:
        start_response(status, PLAIN + ([("Content-Length", str(length))] if length is not None else []))
        yield from blocks
    return app


class Body:
    """An iterable that knows whether it was closed."""

    def __init__(self, *blocks: Any) -> None:
        self.blocks = blocks
        self.is_closed = False

    def __iter__(self) -> Iterator[Any]:
        for block in self.blocks:
            if isinstance(block, Exception):
                raise block
            yield block

    def close(self) -> None:
        self.is_closed = True


def starting(body: Any, headers: Any = PLAIN, status: Any = "200 OK") -> App:
    def app(environ: Environ, start_response: Start) -> Any:
        start_response(status, headers)
        return body
    return app


def test_an_application_answers() -> None:
    answer = answer_of(starting([b"hello"], [("Content-Type", "text/plain"), ("X-Two", "é")], "404 Not Found"))
    assert answer.status == 404 and answer.body == b"hello"
    assert answer.messages[0]["headers"] == [(b"content-type", b"text/plain"), (b"x-two", b"\xe9")]


def test_a_validator_finds_nothing_wrong() -> None:
    def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(5) + environ["wsgi.input"].readline()
        assert list(environ["wsgi.input"]) == [b"last"]
        environ["wsgi.errors"].write("")
        environ["wsgi.errors"].flush()
        start_response("200 OK", PLAIN)(b"written ")
        return [body]

    fields = [(b"content-length", b"16"), (b"content-type", b"text/plain"), (b"host", b"x")]
    answer = answer_of(validator(app), "POST", body=[b"first and", b" no\nlast"], headers=fields)
    assert answer.body == b"written first and no\n"


def test_a_list_is_one_message() -> None:
    assert body_messages(answer_of(starting([b"a", b"b"]))) == [(b"ab", False)]
    assert body_messages(answer_of(starting([]))) == [(b"", False)]


def test_a_block_leaves_before_the_next_is_made() -> None:
    may_go_on = threading.Event()

    def app(environ: Environ, start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"first"
        assert may_go_on.wait(10)
        yield b"second"

    class Eager(Answer):
        def add(self, message: Any) -> None:
            super().add(message)
            if self.body == b"first":
                may_go_on.set()

    answer = Eager()
    asyncio.run(_run_with(app, answer))
    assert answer.body == b"firstsecond"


async def _run_with(app: App, answer: Answer) -> None:
    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        answer.add(message)

    await Wsgi(app, 1)(http_scope(), receive, send)


def test_an_answer_with_a_length_is_complete_with_its_last_octet() -> None:
    assert body_messages(answer_of(gives(b"ab", b"", b"c", length=3))) == [(b"ab", True), (b"c", False)]
    assert body_messages(answer_of(gives(b"ab", b"c"))) == [(b"ab", True), (b"c", True), (b"", False)]


@pytest.mark.parametrize("method, status", [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")])
def test_where_there_is_no_body_its_length_says_nothing(method: str, status: str) -> None:
    assert answer_of(gives(length=3, status=status), method).body == b""


@pytest.mark.parametrize("app, told", [
    (gives(b"abcd", length=3), "1 octets longer than"), (gives(b"ab", length=3), "1 octets shorter than"),
    (starting([b"ab"], [("Content-Length", "3")]), "1 octets shorter than"),
    (gives(b"abc", b"d", length=3), "goes on after its end"),
    (gives("text"), "must be bytes, not str"), (starting(["text"]), "must be bytes, not str"),
    (lambda environ, start: [b"early"], "before it called start_response"),
    (lambda environ, start: iter([b"early"]), "before it called start_response"),
    (starting([], status="OK"), "such as '200 OK', not 'OK'"), (starting([], status="2000"), "such as '200 OK'"),
    (starting([], status=b"200 OK"), "such as '200 OK'"), (starting([], [("X", "a\r\nY: b")]), "a control character in the value"),
    (starting([], [("X", "\u20ac")]), "Latin-1 text, not 'X'"), (starting([], [(b"X", b"y")]), "Latin-1 text"),
    (starting([], [("X", 3)]), "Latin-1 text, not 'X': 3"),
])
def test_what_an_application_does_wrong_is_told_to_it(app: App, told: str) -> None:
    with pytest.raises((TypeError, ValueError, RuntimeError), match=told):
        answer_of(app)


def test_a_header_may_be_what_http_allows() -> None:
    assert answer_of(starting([], [("X", "a\tb\xa0")])).messages[0]["headers"] == [(b"x", b"a\tb\xa0")]


def test_what_comes_again_and_again_is_not_remembered_without_end() -> None:
    for number in range(module._MAX_NAMES + 10):
        answer = answer_of(starting([], [(f"X-{number}", "")], f"{201 + number % 9} {number}"))
        assert answer.status == 201 + number % 9 and answer.headers == {f"x-{number}": ""}
    assert len(module._NAMES) <= module._MAX_NAMES and len(module._CODES) <= module._MAX_CODES


def test_start_response_is_called_once() -> None:
    def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        with pytest.raises(RuntimeError, match="a second time, without exc_info"):
            start_response("200 OK", [])
        return [b"once"]

    assert answer_of(app).body == b"once"


def failing(environ: Environ, start_response: Start) -> Iterator[bytes]:
    """As frameworks do it: whatever has happened, an error page if there is time."""
    import sys

    start_response("200 OK", [("X", "1")])
    try:
        if environ["QUERY_STRING"]:
            yield b"begun"
        raise LookupError("of the application")
    except LookupError:
        start_response("500 Oops", [("X", "2")], sys.exc_info())
        yield b"sorry"


def test_an_error_before_anything_was_sent_makes_another_answer() -> None:
    answer = answer_of(failing)
    assert (answer.status, answer.headers, answer.body) == (500, {"x": "2"}, b"sorry")


def test_an_error_after_that_comes_back() -> None:
    with pytest.raises(LookupError, match="of the application"):
        answer_of(failing, path="/?late")


def test_what_is_written_comes_before_what_is_returned() -> None:
    def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
        write = start_response("200 OK", PLAIN)
        write(b"one ")
        write(b"two ")
        return [b"three"]

    assert body_messages(answer_of(app)) == [(b"one ", True), (b"two ", True), (b"three", False)]


@pytest.mark.parametrize("body", [Body(b"a", b"b"), Body(b"a", LookupError("half way")), Body(LookupError("at once"))])
def test_the_answer_is_closed_whatever_happens(body: Body) -> None:
    try:
        answer_of(starting(body))
    except LookupError:
        pass
    assert body.is_closed


def test_the_answer_is_closed_when_it_is_not_sent() -> None:
    body = Body(b"a")
    with pytest.raises(RuntimeError):
        answer_of(lambda environ, start: body)
    assert body.is_closed


def test_when_the_client_leaves_the_answer_is_closed_and_the_application_told() -> None:
    body = Body(*[b"x"] * 1000)

    async def main() -> None:
        async def send(message: Any) -> None:
            raise ClientDisconnected("gone")

        await Wsgi(starting(body), 1)(http_scope(), lambda: None, send)

    with pytest.raises(ClientDisconnected):
        asyncio.run(main())
    assert body.is_closed


class Late(Body):
    """The rest of the input is read when the answer is complete, and what that raises is noted."""

    def __init__(self, failure: type[Exception] | None) -> None:
        super().__init__(b"ok")
        self.failure = failure
        self.raised: list[OSError] = []

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        self.input = environ["wsgi.input"]
        return self

    def close(self) -> None:
        try:
            self.input.read()
        except OSError as error:
            self.raised.append(error)
            if self.failure is not None:
                raise self.failure() from None
            raise


UPLOAD = [(b"content-length", b"5000")]


@pytest.mark.parametrize("failure", [None, LookupError])
def test_what_is_read_behind_a_complete_answer_is_refused_as_that_and_nobodys_failure(failure: type[Exception] | None) -> None:
    app = Late(failure)
    answer = answer_of(app, "POST", headers=UPLOAD, body=[])
    assert body_messages(answer) == [(b"ok", True), (b"", False)]
    assert "the answer is complete" in str(app.raised[0]) and not isinstance(app.raised[0], ClientDisconnected)


def test_what_fails_behind_a_complete_answer_for_another_reason_is_a_failure() -> None:
    def app(environ: Environ, start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        yield b"ok"
        with pytest.raises(OSError, match="the answer is complete"):
            environ["wsgi.input"].read()
        raise OSError("of the application")

    with pytest.raises(OSError, match="of the application"):
        answer_of(app, "POST", headers=UPLOAD, body=[])


def test_a_request_that_was_given_up_before_its_turn_is_not_begun() -> None:
    async def main() -> list[str]:
        calls, running, may_end = [], threading.Event(), threading.Event()

        def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
            calls.append(environ["PATH_INFO"])
            running.set()
            assert may_end.wait(10)
            return starting([])(environ, start_response)

        async def nothing(*_: Any) -> Any: ...

        wsgi = Wsgi(app, 1)
        first, second = (asyncio.create_task(wsgi(http_scope(path=path), nothing, nothing)) for path in ("/first", "/second"))
        await asyncio.to_thread(running.wait, 10)
        second.cancel()
        await asyncio.wait([second])
        may_end.set()
        await first
        await wsgi(http_scope(path="/third"), nothing, nothing)
        return calls

    assert asyncio.run(asyncio.wait_for(main(), 15)) == ["/first", "/third"]


_user: ContextVar[str] = ContextVar("user", default="nobody")


def test_each_request_has_a_context_of_its_own() -> None:
    def app(environ: Environ, start_response: Start) -> Iterable[bytes]:
        start_response("200 OK", [])
        before = _user.get()
        _user.set("somebody")
        return [before.encode()]

    wsgi = Wsgi(app, 1)
    assert [ask(wsgi).body for _ in range(2)] == [b"nobody", b"nobody"]


def test_it_starts_and_stops_as_an_application_with_a_lifespan() -> None:
    async def main() -> list[str]:
        before = set(threading.enumerate())
        wsgi, sent = Wsgi(starting([b"hello"]), 2), []
        told: asyncio.Queue[Any] = asyncio.Queue()

        async def send(message: Any) -> None:
            sent.append(message["type"])

        lifespan = asyncio.create_task(wsgi({"type": "lifespan"}, told.get, send))
        told.put_nowait({"type": "lifespan.startup"})
        await wsgi(http_scope(), told.get, send)
        threads = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("penstock-wsgi")]
        told.put_nowait({"type": "lifespan.shutdown"})
        await lifespan
        for thread in threads:
            await asyncio.to_thread(thread.join, 10)
        assert len(threads) == 1 and not threads[0].is_alive()
        return [kind for kind in sent if kind.startswith("lifespan")]

    assert asyncio.run(asyncio.wait_for(main(), 15)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_websocket_is_refused() -> None:
    async def main() -> list[Any]:
        sent = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        await Wsgi(starting([]), 1)({"type": "websocket"}, receive, send)
        return sent

    assert asyncio.run(main()) == [{"type": "websocket.close"}]


def test_within_an_asgi_application_it_has_the_name_that_uvicorn_has_for_it() -> None:
    wrapped = penstock.WSGIMiddleware(starting([b"hello"]), workers=1)
    assert ask(wrapped, root_path="/old", path="/old/x").body == b"hello"


# ── files ──

SENDFILE: dict[str, Any] = {"extensions": {"http.response.zerocopysend": {}}}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        yield file


def wrapping(file: Any, headers: Any = PLAIN) -> App:
    def app(environ: Environ, start_response: Start) -> Any:
        start_response("200 OK", headers)
        return environ["wsgi.file_wrapper"](file, 4)
    return app


def test_a_file_is_read_in_blocks_where_the_system_cannot_send_it(file: Any) -> None:
    assert body_messages(answer_of(wrapping(file)))[:2] == [(b"0123", True), (b"4567", True)]
    assert file.closed


@pytest.mark.parametrize("headers, start, count", [(PLAIN, 0, 10), (PLAIN, 3, 7), ([("Content-Length", "4")], 3, 4), (PLAIN, 10, 0)])
def test_an_ordinary_file_is_sent_by_the_system_from_where_it_stands(file: Any, headers: Any, start: int, count: int) -> None:
    file.seek(start)
    answer = answer_of(wrapping(file, headers), **SENDFILE)
    head, whole, end = answer.messages
    assert whole == {"type": "http.response.zerocopysend", "file": file, "offset": start, "count": count, "more_body": True}
    assert end["more_body"] is False and (b"content-length", b"%d" % count) in head["headers"]
    assert file.closed


def test_a_file_that_is_not_wanted_is_not_read(file: Any) -> None:
    for headers in (PLAIN, [*PLAIN, ("Content-Length", "10")]):
        head, end = answer_of(wrapping(file, headers), "HEAD", **SENDFILE).messages
        assert end["body"] == b"" and not end["more_body"]
        assert [value for name, value in head["headers"] if name == b"content-length"] == [b"10"]
        file = open(file.name, "rb")
    file.close()


@pytest.mark.parametrize("file", [io.BytesIO(b"0123456789"), type("Reader", (io.BytesIO,), {"fileno": lambda self: 0})(b"0123456789")])
def test_what_only_looks_like_a_file_is_read(file: Any) -> None:
    assert answer_of(wrapping(file), **SENDFILE).body == b"0123456789"


def test_a_file_that_is_shorter_than_announced_is_an_error(file: Any) -> None:
    with pytest.raises(ValueError, match="10 octets shorter than"):
        answer_of(wrapping(file, [("Content-Length", "20")]), **SENDFILE)
