"""What an application sees, over real sockets: the traps that servers fall into, one by one."""

import asyncio
import threading
import tracemalloc
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from penstock import ClientDisconnected
from penstock.testing import Client, ask, request, serve_in_thread

Message = dict[str, Any]

PATIENCE = 10.0
_user: ContextVar[str] = ContextVar("user", default="nobody")


class App:
    """An application that keeps what it sees: scopes, what was received, what was raised, and its lifespan."""

    def __init__(self, behave: Callable[..., Any] | None = None, state: Message | None = None) -> None:
        self.behave = behave or answer
        self.state = state
        self.scopes: list[Message] = []
        self.seen: list[Any] = []
        self.has_ended = threading.Event()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            if self.state is None:
                raise NotImplementedError
            scope["state"].update(self.state)
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        try:
            await self.behave(self, scope, receive, send)
        except BaseException as error:
            self.seen.append(error)
            raise
        finally:
            self.has_ended.set()


async def answer(app: App, scope: Message, receive: Any, send: Any, *fields: tuple[bytes, bytes], body: bytes = b"hello") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(fields)})
    await send({"type": "http.response.body", "body": body})


def serving(app: App, **options: Any) -> Any:
    return serve_in_thread(app, port=0, access_log=False, **options)


# -- the scope


def test_every_kind_of_scope_has_its_version_and_ports_are_numbers() -> None:
    app = App(state={})
    with serving(app) as server, Client(server.url) as client:
        own = client.socket.getsockname()
        client.pipeline(request())
    lifespan, http = app.scopes
    assert lifespan["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert http["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (http["client"], http["server"]) == (own, ("127.0.0.1", server.port)) and type(http["server"][1]) is int


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_the_version_of_http_has_its_point(version: str) -> None:
    app = App()
    with serving(app, lifespan="off") as server:
        ask(server.url, request(version=version))
    assert app.scopes[0]["http_version"] == version


def test_what_lifespan_leaves_is_each_requests_own_but_the_things_in_it_are_shared() -> None:
    async def behave(app: App, scope: Message, *others: Any) -> None:
        app.seen.append((scope["state"]["count"], scope["state"]["things"]))
        scope["state"]["count"] += 1
        scope["state"]["things"].append(1)
        await answer(app, scope, *others)

    app = App(behave, {"count": 0, "things": []})
    with serving(app) as server, Client(server.url) as client:
        client.pipeline(request(), request())
    assert app.seen == [(0, [1, 1]), (0, [1, 1])]


def test_without_lifespan_there_is_no_state() -> None:
    app = App()
    with serving(app) as server:
        ask(server.url, request())
    assert "state" not in app.scopes[-1]


def test_a_context_is_one_requests_own_also_on_one_connection() -> None:
    async def behave(app: App, *others: Any) -> None:
        app.seen.append(_user.get())
        _user.set("somebody")
        await answer(app, *others)

    app = App(behave)
    with serving(app) as server, Client(server.url) as client:
        client.pipeline(request(), request(), request())
    assert app.seen == ["nobody"] * 3


# -- what is received


def test_a_body_is_handed_over_before_it_is_whole() -> None:
    async def behave(app: App, scope: Message, receive: Any, send: Any) -> None:
        first = await receive()
        await answer(app, scope, receive, send, body=first["body"])

    with serving(App(behave)) as server, Client(server.url) as client:
        client.send(request("/", "POST", "content-length: 1000000\r\n") + b"the beginning")
        assert client.answer().body == b"the beginning"


def test_the_app_is_not_cancelled_when_its_client_leaves() -> None:
    async def behave(app: App, scope: Message, receive: Any, send: Any) -> None:
        await receive()
        app.seen.append((await receive())["type"])
        await asyncio.sleep(0.05)
        app.seen.append("goes on")

    app = App(behave)
    with serving(app) as server:
        with Client(server.url) as client:
            client.send(request())
        assert app.has_ended.wait(PATIENCE)
    assert app.seen == ["http.disconnect", "goes on"]


def test_a_bad_chunk_is_the_clients_fault_and_no_500() -> None:
    has_begun = threading.Event()

    async def behave(app: App, scope: Message, receive: Any, send: Any) -> None:
        message = {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            has_begun.set()
        app.seen.append(message["type"])

    app = App(behave)
    with serving(app) as server, Client(server.url) as client:
        client.send(request("/", "POST", "transfer-encoding: chunked\r\n") + b"2\r\nok\r\n")
        assert has_begun.wait(PATIENCE)
        client.send(b"nonsense\r\n")
        assert client.answer().status == 400
        assert app.has_ended.wait(PATIENCE)
    assert app.seen == ["http.disconnect"]


# -- what is sent


@pytest.mark.parametrize("leave", [Client.reset, lambda client: client.socket.close()])
def test_what_is_sent_after_the_client_left_raises_an_error_of_the_system(
    leave: Callable[[Client], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def behave(app: App, scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
            await asyncio.sleep(0.001)

    app = App(behave)
    with serving(app) as server:
        client = Client(server.url)
        client.send(request())
        client.head()
        leave(client)
        assert app.has_ended.wait(PATIENCE)
    (raised,) = app.seen
    assert type(raised) is ClientDisconnected and isinstance(raised, OSError)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_line_end_in_a_header_is_the_apps_error_and_the_client_has_an_answer() -> None:
    async def behave(app: App, *others: Any) -> None:
        await answer(app, *others, (b"x-name", b"a\r\nset-cookie: b"))

    app = App(behave)
    with serving(app) as server, Client(server.url) as client:
        first, second = client.pipeline(request(), request())
    assert first.status == second.status == 500 and first.get("set-cookie") is None
    assert "control octet" in str(app.seen[0])


def test_an_error_of_the_app_is_answered_at_once() -> None:
    async def behave(app: App, *others: Any) -> None:
        raise ZeroDivisionError

    # A limit that would be noticed: nothing looks for it from time to time.
    with serving(App(behave), lifespan="off") as server, Client(server.url) as client:
        client.socket.settimeout(PATIENCE)
        assert [each.status for each in client.pipeline(*[request()] * 20)] == [500] * 20


def test_an_error_after_the_answer_leaves_the_connection_usable() -> None:
    async def behave(app: App, *others: Any) -> None:
        await answer(app, *others)
        raise ZeroDivisionError

    with serving(App(behave)) as server, Client(server.url) as client:
        for _ in range(3):
            client.send(request())
            assert client.answer().body == b"hello"


def test_trailers_that_are_announced_are_sent() -> None:
    async def behave(app: App, scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"trailer", b"x-sum")], "trailers": True})
        await send({"type": "http.response.body", "body": b"hello"})
        await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"5")]})

    with serving(App(behave)) as server, Client(server.url) as client:
        first, second = client.pipeline(request(fields="te: trailers\r\n"), request())
    assert (first.body, first.trailers) == (b"hello", [("x-sum", "5")]) and (second.body, second.trailers) == (b"hello", [])


def test_hints_come_before_the_answer() -> None:
    async def behave(app: App, scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
        await answer(app, scope, receive, send)

    with serving(App(behave)) as server:
        answered = ask(server.url, request())
    assert (answered.interim, answered.status) == ([103], 200)


def test_a_large_file_takes_no_memory_of_ours(tmp_path: Any) -> None:
    size = 64 << 20
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)

    async def behave(app: App, scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})

    with serving(App(behave)) as server, Client(server.url) as client:
        client.send(request())
        length = int(client.head().get("content-length") or 0)
        piece = bytearray(1 << 16)
        tracemalloc.start()
        left = length - len(client.waiting)
        while left:
            left -= client.socket.recv_into(piece, min(left, len(piece)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert length == size and peak < 1 << 20


def test_a_header_of_ones_own_is_on_every_answer() -> None:
    with serving(App(), headers=[("X-Frame-Options", "DENY"), ("Server", "mine")]) as server:
        answered = ask(server.url, request())
    assert answered.get("x-frame-options") == "DENY" and answered.get("server") == "mine"


# -- other applications, and what the command line shows


def test_a_double_callable_is_served_like_any_other() -> None:
    def double(scope: Message) -> Callable[..., Any]:
        async def instance(receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["asgi"]["version"].encode()})

        if scope["type"] != "http":
            raise ValueError("only http")
        return instance

    with serve_in_thread(double, port=0, access_log=False) as server:
        assert ask(server.url, request()).body == b"2.0"


def test_the_log_shows_every_message_when_it_is_asked_to(serve: Callable[..., Any]) -> None:
    with serve("--log-level", "trace") as server:
        assert ask(server.url, request("/unread?1000")).status == 200
        server.wait_line(r"TRACE: .* receives \{'type': 'lifespan.startup'\}")
        server.wait_line(r"TRACE: .* begins \{'type': 'http'")
        server.wait_line(r"TRACE: .* sends \{'type': 'http.response.body', 'body': b'y{64}'… \(1000 in all\)")
    with serve("--log-level", "debug") as server:
        assert ask(server.url, request()).status == 200
        assert server.stop() == 0 and " sends {" not in server.stderr


@pytest.mark.parametrize("how, is_told", [("raise", True), ("silent", False)])
def test_who_sends_to_nobody_is_told_unless_silence_is_wanted(serve: Callable[..., Any], how: str, is_told: bool) -> None:
    with serve("--disconnect", how) as server:
        client = Client(server.url)
        client.send(request("/events"))
        client.head()
        client.reset()
        server.wait_line("told to leave")
        assert server.stop() == 0 and ("send raised ClientDisconnected on /events" in server.stdout) is is_told
