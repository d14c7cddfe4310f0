import asyncio
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from penstock_reactor import EventLoop
from support.client import Client, ask, request
from support.serving import environment

import penstock
from penstock import embedding, runner

Main = Callable[[], Awaitable[None]]


class App:
    """Says its name; counts its lives; on /wait answers when it is let, or told to end."""

    def __init__(self, name: str = "app") -> None:
        self.name = name
        self.started = self.stopped = 0
        self.waiting = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.started += 1
            await send({"type": "lifespan.startup.complete"})
            await receive()
            self.stopped += 1
            await send({"type": "lifespan.shutdown.complete"})
            return
        if scope["path"] == "/wait":
            await receive()
            self.waiting.set()
            await receive()
        if scope["path"] == "/hang":
            self.waiting.set()
            await asyncio.Event().wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.name.encode()})


async def failing(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


LOOPS = {"ours": EventLoop, "stock": asyncio.SelectorEventLoop}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Runs a coroutine on each kind of loop."""

    def run(main: Main) -> None:
        loop = LOOPS[request.param]()
        try:
            loop.run_until_complete(main())
            assert asyncio.all_tasks(loop) == set()
        finally:
            loop.close()

    return run


async def get(port: int, path: str = "/") -> str:
    return (await asyncio.to_thread(ask, ("127.0.0.1", port), request(path))).body.decode()


def is_refused(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def test_beside_a_block_an_app_is_served_with_its_lifespan(run: Any) -> None:
    app = App()

    async def main() -> None:
        async with penstock.serving(app, port=0) as running:
            assert running.url == f"http://127.0.0.1:{running.port}"
            assert running.addresses == [("127.0.0.1", running.port)]
            assert await get(running.port) == "app"
            assert (app.started, app.stopped) == (1, 0)
        assert (app.started, app.stopped) == (1, 1)
        assert is_refused(running.port)

    run(main)


def test_a_future_is_told_where_it_serves_and_stop_ends_it(run: Any) -> None:
    async def main() -> None:
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(penstock.serve(App(), port=0, ready=ready))
        running = await ready
        assert await get(running.port) == "app"
        running.stop()
        running.stop()
        await task

    run(main)


def test_an_event_is_set_when_requests_are_taken(run: Any) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port, ready = sock.getsockname()[1], asyncio.Event()
            task = asyncio.ensure_future(penstock.serve(App(), sockets=[sock], ready=ready))
            await ready.wait()
            assert await get(port) == "app"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert sock.fileno() < 0

    run(main)


def test_to_cancel_it_is_to_drain_it(run: Any) -> None:
    app = App()

    async def main() -> None:
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(penstock.serve(app, port=0, ready=ready))
        asking = asyncio.ensure_future(get((await ready).port, "/wait"))
        await asyncio.to_thread(app.waiting.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asking == "app"
        assert app.stopped == 1

    run(main)


def test_to_cancel_it_twice_ends_it_at_once_and_leaves_nothing(run: Any) -> None:
    app = App()

    async def main() -> None:
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(penstock.serve(app, port=0, ready=ready, timeout_graceful_shutdown=None))
        port = (await ready).port
        with Client(("127.0.0.1", port)) as client:
            client.send(request("/hang"))
            await asyncio.to_thread(app.waiting.wait, 10)
            task.cancel()
            while not is_refused(port):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(client.is_closed)
        # The app that hung was cancelled, and its task gets the turn to end.
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    run(main)


def test_several_serve_in_one_loop_and_end_one_by_one(run: Any) -> None:
    async def main() -> None:
        async with penstock.serving(App("one"), port=0) as one:
            async with penstock.serving(App("two"), port=0) as two:
                assert (await get(one.port), await get(two.port)) == ("one", "two")
            assert is_refused(two.port)
            assert await get(one.port) == "one"

    run(main)


def test_a_failure_is_raised_to_who_serves_and_to_who_waits(run: Any) -> None:
    async def main() -> None:
        with pytest.raises(penstock.StartError, match="no database") as caught:
            await penstock.serve(failing, port=0)
        assert caught.value.code == 3
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(penstock.serve("no_such_module:app", port=0, ready=ready))
        with pytest.raises(penstock.StartError, match="no_such_module"):
            await ready
        with pytest.raises(penstock.StartError):
            await task
        with socket.create_server(("127.0.0.1", 0)) as taken:
            with pytest.raises(penstock.StartError, match="in use") as refused:
                async with penstock.serving(App(), port=taken.getsockname()[1]):
                    pass
            assert refused.value.code == 1
        with pytest.raises(TypeError, match=r"no option 'prot'; did you mean port\?"):
            async with penstock.serving(App(), prot=1):
                pass

    run(main)


def test_a_failure_in_the_block_drains_the_server_and_goes_on(run: Any) -> None:
    app = App()

    async def main() -> None:
        with pytest.raises(KeyError):
            async with penstock.serving(app, port=0):
                raise KeyError
        assert app.stopped == 1

    run(main)


def test_who_waits_for_a_server_that_is_stopped_before_it_has_started_does_not_wait_for_ever(run: Any) -> None:
    async def starting(scope: Any, receive: Any, send: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    async def main() -> None:
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(penstock.serve(starting, port=0, ready=ready, signals=True))
        await asyncio.wait([task], timeout=15)
        assert task.done() and ready.cancelled()

    run(main)


def test_signals_are_left_alone_unless_asked_for(run: Any) -> None:
    before = signal.getsignal(signal.SIGINT)

    async def main() -> None:
        async with penstock.serving(App(), port=0):
            assert signal.getsignal(signal.SIGINT) is before
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(penstock.serve(App(), port=0, ready=ready, signals=True))
        await ready
        assert signal.getsignal(signal.SIGINT) is not before
        signal.raise_signal(signal.SIGINT)
        await task
        assert signal.getsignal(signal.SIGINT) is before

    run(main)


def test_logging_is_left_alone() -> None:
    handlers = {name: list(logging.getLogger(name).handlers) for name in ("", "penstock", "penstock.access")}
    with penstock.serve_in_thread(App(), port=0):
        assert {name: logging.getLogger(name).handlers for name in handlers} == handlers


def test_a_loop_that_cannot_watch_sockets_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise NotImplementedError

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(loop, "add_reader", refuse)
            with pytest.raises(RuntimeError, match=r"cannot watch sockets.*serve_in_thread\(\)"):
                await penstock.serve(App(), port=0)

    loop = EventLoop()
    loop.run_until_complete(main())
    loop.close()


# ── in a thread ──


def test_in_a_thread_it_serves_beside_a_busy_main_thread() -> None:
    app = App()
    with penstock.serve_in_thread(app, port=0) as server:
        answers: list[bytes] = []
        asking = threading.Thread(target=lambda: answers.append(ask(("127.0.0.1", server.port), request()).body))
        asking.start()
        while asking.is_alive():
            sum(range(1000))
        assert answers == [b"app"]
        assert server.url == f"http://127.0.0.1:{server.port}" and server.addresses == [("127.0.0.1", server.port)]
    assert (app.started, app.stopped) == (1, 1)
    assert "penstock" not in {thread.name for thread in threading.enumerate()}


def test_in_a_thread_sockets_of_the_program_are_served() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    with penstock.serve_in_thread(App(), sockets=[sock]) as server:
        assert server.port == port
        assert ask(("127.0.0.1", port), request()).body == b"app"
    assert sock.fileno() < 0


def test_in_a_thread_a_failure_to_start_is_raised_where_it_was_called() -> None:
    with pytest.raises(penstock.StartError, match="no database"):
        penstock.serve_in_thread(failing, port=0)
    with pytest.raises(ValueError, match="port must be"):
        penstock.serve_in_thread(App(), port=-1)


def test_in_a_thread_stop_may_be_called_again() -> None:
    server = penstock.serve_in_thread(App(), port=0)
    server.stop()
    server.stop()


def test_two_threads_serve_two_apps() -> None:
    with penstock.serve_in_thread(App("one"), port=0) as one, penstock.serve_in_thread(App("two"), port=0) as two:
        assert ask(("127.0.0.1", one.port), request()).body == b"one"
        assert ask(("127.0.0.1", two.port), request()).body == b"two"


@pytest.fixture
def descriptors() -> Iterator[Callable[[], int]]:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("descriptors are counted in /proc")
    yield lambda: len(os.listdir("/proc/self/fd"))


@contextmanager
def nothing_left(descriptors: Callable[[], int]) -> Iterator[None]:
    gc.collect()
    before = descriptors(), threading.active_count(), len(gc.get_objects())
    yield
    gc.collect()
    after = descriptors(), threading.active_count(), len(gc.get_objects())
    # What others left may end meanwhile.
    assert after[0] <= before[0] and after[1] <= before[1]
    # Some caches fill; two hundred servers would be thousands of objects.
    assert after[2] - before[2] < 1000


def test_two_hundred_servers_leave_no_thread_no_descriptor_and_no_objects(descriptors: Any) -> None:
    with penstock.serve_in_thread(App(), port=0) as first:
        ask(("127.0.0.1", first.port), request())
    with nothing_left(descriptors):
        for _ in range(200):
            with penstock.serve_in_thread(App(), port=0) as server:
                assert ask(("127.0.0.1", server.port), request()).body == b"app"


def test_two_hundred_servers_in_one_loop_leave_nothing(run: Any, descriptors: Any) -> None:
    async def once() -> None:
        async with penstock.serving(App(), port=0) as running:
            assert await get(running.port) == "app"

    async def main() -> None:
        # The clients' thread: one, and it stays.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        for _ in range(40):
            await once()
        with nothing_left(descriptors):
            for _ in range(200):
                await once()

    run(main)


def test_a_program_that_ends_without_a_stop_drains_its_thread(tmp_path: Any) -> None:
    code = (
        "import penstock\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        for kind in ('startup', 'shutdown'):\n"
        "            await receive()\n"
        "            await send({'type': f'lifespan.{kind}.complete'})\n"
        "            print(kind, flush=True)\n"
        "penstock.serve_in_thread(app, port=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["startup", "shutdown"], "")


def test_what_is_under_way_in_a_thread_when_the_program_ends_may_use_the_executor_yet() -> None:
    """As many frameworks run ordinary functions there, whose threads have an end of their own with the program."""
    code = (
        "import asyncio, penstock, threading, urllib.request\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "came, executor = threading.Event(), ThreadPoolExecutor()\n"
        "async def say(word):\n"
        # From 3.12 on no thread can be made at the program's end, so one of those that are there must be idle.
        "    while word != 'startup' and not executor._idle_semaphore._value:\n"
        "        await asyncio.sleep(0)\n"
        "    await asyncio.get_running_loop().run_in_executor(executor, lambda: print(word, flush=True))\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        "        for kind in ('startup', 'shutdown'):\n"
        "            await receive()\n"
        "            await say(kind)\n"
        "            await send({'type': f'lifespan.{kind}.complete'})\n"
        "        return\n"
        "    came.set()\n"
        # It is told when the server drains, which it does at the program's end alone.
        "    while (await receive())['type'] != 'http.disconnect':\n"
        "        pass\n"
        "    await say('request')\n"
        "    await send({'type': 'http.response.start', 'status': 204, 'headers': []})\n"
        "    await send({'type': 'http.response.body'})\n"
        "served = penstock.serve_in_thread(app, port=0)\n"
        "threading.Thread(target=urllib.request.urlopen, args=(served.url,), daemon=True).start()\n"
        "came.wait()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["startup", "request", "shutdown"], "")


def test_the_names_are_those_of_the_package() -> None:
    assert (penstock.serve, penstock.Running) == (embedding.serve, embedding.Running)
    assert runner.SIGNALS[0] == "SIGINT"
