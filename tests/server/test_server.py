import asyncio
import logging
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.client import Client, ask, request
from support.hangs import bounded

from penstock.asgi.lifespan import LifespanFailed
from penstock.asgi.smoke import SmokeFailed
from penstock.listener import bind
from penstock.server import Phase, Server
from penstock.settings import Settings, options

Message = dict[str, Any]


@pytest.fixture(autouse=True)
def hangs_fail() -> Iterator[None]:
    with bounded():
        yield


class App:
    """Answers; `/wait` until the app is let go, `/leave` until it is told to leave, `/stay` come what may."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.lived: list[str] = []

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
            return
        if scope["path"] == "/wait":
            await self.go.wait()
        elif scope["path"] == "/leave":
            while (await receive())["type"] != "http.disconnect":
                pass
        elif scope["path"] == "/stay":
            await asyncio.get_running_loop().create_future()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["path"].encode()})
        if scope["path"] == "/background":
            await self.go.wait()
            self.lived.append("background")

    async def live(self, receive: Any, send: Any) -> None:
        for kind in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{kind}"
            self.lived.append(kind)
            await send({"type": f"lifespan.{kind}.complete"})


class Running:
    """A server on a stock selector loop in a thread: the loop is anyone's."""

    def __init__(self, app: Any, **options: Any) -> None:
        self.settings = Settings(**{"port": 0, "access_log": False, **options})
        self.sockets = bind(self.settings)
        self.address = self.sockets[0].getsockname()
        self.app = app
        self.loop = asyncio.SelectorEventLoop()
        self.server = Server(app, self.settings, self.sockets)
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def do(self, work: Any, patience: float = 10.0) -> Any:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(patience)

    def soon(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def wait_for(self, condition: Any) -> None:
        """Until it holds, looked at in every turn of the server's loop."""
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)
        self.do(asyncio.wait_for(wait(), 10))

    def close(self) -> None:
        async def settle() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        self.do(self.server.drain())
        self.do(settle())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
        for sock in self.sockets:
            sock.close()


@contextmanager
def running(app: Any = None, **options: Any) -> Iterator[Running]:
    server = Running(app or App(), **{"timeout_graceful_shutdown": 5, **options})
    try:
        server.do(server.server.start())
        yield server
    finally:
        server.close()


def test_it_starts_serves_drains_and_closes() -> None:
    app = App()
    with running(app) as server:
        assert server.server.phase is Phase.SERVING and app.lived == ["startup"]
        assert ask(server.address, request("/x")).body == b"/x"
        server.do(server.server.drain())
        assert server.server.phase.value == "closed" and app.lived == ["startup", "shutdown"]
        server.do(server.server.drain())
        assert app.lived == ["startup", "shutdown"]


def test_it_listens_on_several_sockets() -> None:
    app = App()
    settings = Settings(port=0, access_log=False)
    sockets = bind(settings) + bind(settings)

    async def main() -> None:
        server = Server(app, settings, sockets)
        await server.start()
        for sock in sockets:
            answer = await asyncio.to_thread(ask, sock.getsockname(), request("/x"))
            assert answer.status == 200
        await server.drain()

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(main())
    assert all(sock.fileno() == -1 for sock in sockets)


def test_an_app_that_does_not_start_is_not_served() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            server = Server(app, Settings(port=0), [sock])
            with pytest.raises(LifespanFailed, match="no database"):
                await server.start()
            assert server.phase is Phase.STARTING
            await server.drain()

    asyncio.run(main())


# -- drain


def test_a_running_request_is_finished_and_new_clients_are_refused() -> None:
    with running() as server, Client(server.address) as client:
        client.send(request("/wait"))
        server.wait_for(lambda: server.server.service.running)  # type: ignore[union-attr]  # started
        draining = server.soon(server.server.drain())
        server.wait_for(lambda: server.server.phase is Phase.DRAINING)
        with pytest.raises(ConnectionRefusedError):
            Client(server.address)
        assert not draining.done()
        server.loop.call_soon_threadsafe(server.app.go.set)
        answer = client.answer()
        assert (answer.body, answer.get("connection")) == (b"/wait", "close")
        client.socket.close()
        draining.result(5)


def test_with_a_successor_the_sockets_stay_open_and_the_backlog_is_left() -> None:
    with running() as server:
        server.do(server.server.drain(has_successor=True))
        with Client(server.address) as client:
            client.send(request())
            assert client.is_silent()
            assert all(sock.fileno() != -1 for sock in server.sockets)


@pytest.mark.parametrize("options, kept", [
    ({}, 5.0), ({"timeout_keep_alive": 2}, 2), ({"reload": True}, 1.0), ({"reload": True, "timeout_keep_alive": 0.5}, 0.5),
])
def test_with_a_successor_idle_connections_are_kept_for_a_while(options: dict[str, Any], kept: float) -> None:
    with running(**options) as server, Client(server.address) as client:
        client.send(request())
        client.answer()
        draining = server.soon(server.server.drain(has_successor=True))
        server.wait_for(lambda: server.server.service.keeps_idle == kept)  # type: ignore[union-attr]  # started
        client.send(request())
        assert client.answer().get("connection") == "close"
        client.socket.close()
        draining.result(5)


def test_at_a_reload_the_old_code_has_a_time_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with running(reload=True, timeout_reload=0, timeout_graceful_shutdown=60) as server, Client(server.address) as client:
        client.send(request("/stay"))
        server.wait_for(lambda: server.server.service.running)  # type: ignore[union-attr]  # started
        server.do(server.server.drain(has_successor=True))
        assert "Cancelling GET /stay" in caplog.text


def test_what_is_idle_when_the_time_is_over_is_not_called_unfinished(caplog: pytest.LogCaptureFixture) -> None:
    with running(reload=True, timeout_reload=0) as server, Client(server.address) as client:
        client.send(request())
        client.answer()
        server.do(server.server.drain(has_successor=True))
        assert client.is_closed() and "not finished" not in caplog.text


def test_connections_in_the_backlog_are_taken_and_answered() -> None:
    with running() as server:
        clients = []

        async def connect_and_drain() -> None:
            # In one step of the loop, so that the server cannot have accepted them.
            for _ in range(5):
                clients.append(Client(server.address))
                clients[-1].send(request("/late"))
            await server.server.drain()

        draining = server.soon(connect_and_drain())
        server.wait_for(lambda: len(clients) == 5)
        for client in clients:
            answer = client.answer()
            assert answer.body == b"/late"
            client.socket.close()
        draining.result(5)


def test_an_app_that_waits_for_its_client_is_told_at_once() -> None:
    with running(timeout_graceful_shutdown=None) as server, Client(server.address) as client:
        client.send(request("/leave"))
        server.wait_for(lambda: server.server.service.running)  # type: ignore[union-attr]  # started
        draining = server.soon(server.server.drain())
        assert client.answer().body == b"/leave"
        client.socket.close()
        draining.result(5)


def test_work_after_the_answer_is_finished() -> None:
    app = App()
    with running(app) as server:
        assert ask(server.address, request("/background")).status == 200
        draining = server.soon(server.server.drain())
        server.wait_for(lambda: server.server.phase is Phase.DRAINING)
        server.loop.call_soon_threadsafe(app.go.set)
        draining.result(5)
        assert app.lived == ["startup", "background", "shutdown"]


def test_what_outlives_the_grace_period_is_named_and_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    with running(timeout_graceful_shutdown=0.1) as server, Client(server.address) as client, Client(server.address) as other:
        other.send(request("/background"))
        assert other.answer().status == 200
        client.send(request("/stay"))
        server.wait_for(lambda: len(server.server.service.running) == 2)  # type: ignore[union-attr]  # started
        server.do(server.server.drain())
        with pytest.raises((ConnectionResetError, AssertionError)):
            client.answer()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    (mine,) = [line for line in told if line.startswith("Cancelling GET /stay")]
    assert "test_server.py" in mine and "in __call__" in mine and " after 0.1 s." in mine
    assert [line for line in told if "Cancelling GET /background (its background work)" in line]


def test_a_connection_that_is_not_finished_is_closed_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with running(timeout_graceful_shutdown=0.1) as server, Client(server.address) as client:
        client.send(b"GET / HT")
        server.wait_for(lambda: server.server.service.connections)  # type: ignore[union-attr]  # started
        server.do(server.server.drain())
        assert client.is_closed()
    assert "Closing 1 connections that were not finished" in caplog.messages


def test_an_app_that_ignores_its_cancellation_does_not_hold_the_drain_for_ever() -> None:
    stubborn = asyncio.Event()

    class Stubborn(App):
        async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                return await self.live(receive, send)
            while not stubborn.is_set():
                try:
                    await stubborn.wait()
                except asyncio.CancelledError:
                    pass

    app = Stubborn()
    with running(app, timeout_graceful_shutdown=0.05) as server, Client(server.address) as client:
        client.send(request())
        server.wait_for(lambda: server.server.service.running)  # type: ignore[union-attr]  # started
        server.do(server.server.drain())
        assert app.lived == ["startup", "shutdown"]
        server.loop.call_soon_threadsafe(stubborn.set)


def test_of_very_many_only_some_are_named(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.server._MOST_NAMED", 2)
    with running(timeout_graceful_shutdown=0) as server:
        clients = [Client(server.address) for _ in range(5)]
        for client in clients:
            client.send(request("/stay"))
        server.wait_for(lambda: len(server.server.service.running) == 5)  # type: ignore[union-attr]  # started
        server.do(server.server.drain())
        for client in clients:
            client.socket.close()
    assert len([line for line in caplog.messages if line.startswith("Cancelling GET")]) == 2
    assert "Cancelling 3 more" in caplog.messages


# -- the access log


def test_each_answer_has_a_line_in_the_access_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger = logging.getLogger("penstock.access")
    caplog.set_level("INFO", "penstock.access")
    monkeypatch.setattr(logger, "handlers", [Keeper()])
    with running(access_log=True) as server, Client(server.address) as client:
        for path in ("/a?b=c", "/%41"):
            client.send(request(path))
            client.answer()
        me = "{}:{}".format(*client.socket.getsockname())
    assert [record.args for record in records] == [(me, "GET", "/a?b=c", "1.1", 200), (me, "GET", "/%41", "1.1", 200)]


def test_every_setting_is_read_by_some_room() -> None:
    rooms = Path(__file__).parent.parent.parent / "server" / "penstock"
    source = "\n".join(path.read_text(encoding="utf-8") for path in rooms.rglob("*.py") if path.name != "settings.py")
    # What is taken for another server's sake changes nothing, and says so.
    ours = [each.name for each in options() if not each.doc.group.startswith("Taken for")]
    assert [each for each in ours if not re.search(rf"settings\.{each}\b|\[1\]\.{each}\b", source)] == []


def test_it_tells_how_many_requests_run_and_were_answered() -> None:
    server = Server(App(), Settings(), [])
    assert (server.running, server.answered) == (0, 0)
    server.balance(fair_share=1.0)
    with running() as server_running, Client(server_running.address) as client:
        server = server_running.server
        ask(server_running.address, request())
        for _ in range(2):
            client.send(request())
            client.answer()
        client.send(request("/wait"))
        server_running.wait_for(lambda: server.running == 1 and server.answered == 3)
        server_running.loop.call_soon_threadsafe(server_running.app.go.set)
        client.answer()
        server_running.wait_for(lambda: (server.running, server.answered) == (0, 4))


def test_after_so_many_answers_it_says_once_that_it_is_worn_and_serves_on() -> None:
    with running(limit_max_requests=3) as server:
        for _ in range(2):
            ask(server.address, request())
        assert not server.server.worn.done()
        for _ in range(2):
            ask(server.address, request())
        assert server.server.worn.result() == "has given 3 answers"


def test_the_number_of_answers_differs_by_chance() -> None:
    found = set()
    for _ in range(20):
        with running(limit_max_requests=1, limit_max_requests_jitter=3) as server:
            while not server.server.worn.done():
                ask(server.address, request())
        found.add(server.server.worn.result())
        if len(found) > 1:
            break
    assert len(found) > 1 and found <= {f"has given {count} answers" for count in (1, 2, 3, 4)}


def test_what_does_not_stand_its_trial_takes_no_connection_and_is_stopped() -> None:
    class Failing(App):
        async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                raise ZeroDivisionError
            await super().__call__(scope, receive, send)

    app = Failing()
    server = Running(app, smoke=("/", "/other"))
    try:
        with pytest.raises(SmokeFailed, match=r"for / \(--smoke\) failed"):
            server.do(server.server.start())
        assert app.lived == ["startup", "shutdown"] and server.server.phase is Phase.STARTING
    finally:
        server.close()


def test_a_loop_that_watches_no_sockets_serves_nobody_and_the_app_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    server = Running(app)

    def refuse(*arguments: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(server.loop, "add_reader", refuse)
    try:
        with pytest.raises(NotImplementedError):
            server.do(server.server.start())
        assert app.lived == ["startup", "shutdown"] and server.server.phase is Phase.STARTING
    finally:
        monkeypatch.undo()
        server.close()


def test_who_balances_several_processes_is_told_of_new_connections_and_tells_a_share() -> None:
    taken: list[None] = []
    with running() as server:
        server.server.balance(on_accepted=lambda: taken.append(None))
        server.server.balance(fair_share=0.0)
        ask(server.address, request())
        # It is told at the end of the turn in which the answer was sent.
        server.wait_for(lambda: taken)
        assert taken == [None]
