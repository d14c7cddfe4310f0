import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.client import ask, request
from support.serving import PATIENCE, Server, ServingError, environment

from penstock import runner
from penstock.listener import bind
from penstock.settings import Settings

APP = """
import asyncio, os, signal, sys, threading, time

async def live(receive, send):
    for kind in ("startup", "shutdown"):
        await receive()
        print(kind, flush=True)
        await send({"type": f"lifespan.{kind}.complete"})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await live(receive, send)
    path = scope["path"]
    if path == "/block":
        print("blocking", flush=True)
        time.sleep(60)
    elif path == "/thread":
        threading.Thread(target=time.sleep, args=(60,), name="the-sleeper").start()
    elif path == "/executor":
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 0)
    elif path == "/stay":
        print("staying", flush=True)
        await asyncio.Event().wait()
    elif path == "/deaf":
        async def deaf():
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass
        app.task = asyncio.get_running_loop().create_task(deaf(), name="the-deaf")
        await asyncio.sleep(0)
    elif path == "/leak":
        asyncio.get_running_loop().create_task(asyncio.Event().wait())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""


LAST_LINES = """
import os, signal, sys, threading, time

class Stuck:
    # Holds what a thread holds that prints to a reader who does not read.
    def flush(self):
        threading.Event().wait()

async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    os.kill(os.getpid(), signal.SIGTERM)
    await receive()
    print("three orders are open")
    threading.Thread(target=time.sleep, args=(60,)).start()
    if os.environ["THREAD"] != "/thread":
        sys.stdout = Stuck()
    await send({"type": "lifespan.shutdown.complete"})
"""


def start(folder: Path, *options: str) -> Server:
    (folder / "main.py").write_text(APP)
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "main:app", "--port", "0", *options], cwd=folder, env=environment(),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    server = Server(process)
    banner = server.wait_line(r"running on http://127\.0\.0\.1:(?P<port>\d+)")
    server.host, server.port = "127.0.0.1", int(banner["port"])
    return server


def call(server: Server, path: str) -> Any:
    """Ask in the background: the answer may never come."""
    def run() -> None:
        try:
            ask((server.host, server.port), request(path))
        except (OSError, AssertionError):
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_idle_server_with_0(number: int, tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        assert ask((server.host, server.port), request()).status == 200
        assert server.stop(number, patience=3) == 0
        assert server.stdout.splitlines()[0] == "startup" and "shutdown" in server.stdout
        assert "Shutting down" in server.stderr and "Traceback" not in server.stderr
    finally:
        server.kill()


@pytest.mark.parametrize("path, ready", [("/stay", "staying"), ("/block", "blocking")])
def test_a_second_signal_ends_it_at_once_with_1_whatever_the_app_does(path: str, ready: str, tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        call(server, path)
        server.wait_line(ready)
        server.signal(signal.SIGINT)
        if path == "/stay":
            server.wait_line("Shutting down")
        else:
            # The loop is blocked and cannot say that it heard; give the first signal its moment.
            with pytest.raises(ServingError):
                server.wait_end(0.3)
        server.signal(signal.SIGINT)
        assert server.wait_end(4) == 1
        assert "Forced to end" in server.stderr
    finally:
        server.kill()


def test_a_thread_that_runs_on_is_named_and_the_process_ends_without_it(tmp_path: Path) -> None:
    server = start(tmp_path, "--timeout-graceful-shutdown", "0.5")
    try:
        ask((server.host, server.port), request("/thread"))
        assert server.stop(patience=5) == 0
        assert "waits for a thread to end: the-sleeper, in " in server.stderr
    finally:
        server.kill()


@pytest.mark.parametrize("path", ["/thread", "/printing-thread"])
def test_what_the_application_has_printed_leaves_also_where_the_process_ends_without_a_thread(path: str, tmp_path: Path) -> None:
    (tmp_path / "lines.py").write_text(LAST_LINES)
    command = [sys.executable, "-m", "penstock", "lines:app", "--port", "0", "--timeout-graceful-shutdown", "0.1"]
    unbuffered = {name: value for name, value in environment().items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        command, cwd=tmp_path, env={**unbuffered, "THREAD": path}, capture_output=True, text=True, timeout=30, check=False,
    )
    assert ended.returncode == 0 and "waits for a thread to end" in ended.stderr
    assert ("three orders are open" in ended.stdout) is (path == "/thread")


def test_a_second_signal_does_not_wait_for_a_thread_either(tmp_path: Path) -> None:
    server = start(tmp_path, "--timeout-graceful-shutdown", "none")
    try:
        ask((server.host, server.port), request("/thread"))
        server.signal(signal.SIGINT)
        server.wait_line("waits for a thread to end")
        assert server.stop(signal.SIGINT, patience=4) == 1
        assert "Traceback" not in server.stderr
    finally:
        server.kill()


def test_a_second_signal_while_a_task_is_ended_is_one_too(tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        ask((server.host, server.port), request("/deaf"))
        server.signal(signal.SIGINT)
        server.wait_line("Application shutdown complete")
        # The application has ended; for a second more its task is waited for.
        server.signal(signal.SIGINT)
        assert server.wait_end(4) == 1
        assert "Forced to end" in server.stderr
    finally:
        server.kill()


def test_idle_threads_of_executors_and_forgotten_tasks_keep_nobody_waiting(tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        for path in ("/executor", "/leak"):
            ask((server.host, server.port), request(path))
        assert server.stop(patience=5) == 0
        assert "waits for a thread" not in server.stderr and "Traceback" not in server.stderr
    finally:
        server.kill()


# -- in this process


async def failing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "lifespan.startup.failed", "message": "no"})


@pytest.mark.parametrize("app, options, code", [
    ("no_such_module:app", {}, runner.NOT_STARTED),
    (failing, {}, runner.NOT_STARTED),
    (lambda: failing, {"factory": True}, runner.NOT_STARTED),
    (lambda: None, {"factory": True}, runner.NOT_STARTED),
    (failing, {"host": "no-such-host.invalid"}, runner.NOT_BOUND),
])
def test_what_does_not_start_has_its_code(app: Any, options: dict[str, Any], code: int) -> None:
    assert runner.run(app, Settings(port=0, **options)) == code


def test_the_signals_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        signal.raise_signal(signal.SIGTERM)
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    assert runner.run(app, Settings(port=0)) == runner.ENDED
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_app_that_fails_to_stop_is_told_and_the_end_is_one_in_peace(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        signal.raise_signal(signal.SIGTERM)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "the pool is gone"})

    assert runner.run(app, Settings(port=0)) == runner.ENDED
    assert "The application failed while stopping.\nthe pool is gone" in caplog.messages


def test_an_app_that_waits_while_it_stops_can_be_forced(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        signal.raise_signal(signal.SIGTERM)
        await receive()
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    assert runner.run(app, Settings(port=0, timeout_shutdown=None)) == runner.FORCED
    assert "Forced to end" in caplog.messages


def test_an_interrupt_while_the_app_starts_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    caplog.set_level("INFO", "penstock.error")
    assert runner.run(app, Settings(port=0)) == runner.ENDED
    assert "Stopped before the application had started" in caplog.text


def test_an_interrupt_while_the_app_is_imported_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "interrupted_app.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    assert runner.run("interrupted_app:app", Settings(port=0, app_dir=None)) == runner.FORCED
    assert "Interrupted while the application was being imported" in caplog.text


def test_who_is_asked_ends_like_by_a_signal(tmp_path: Path) -> None:
    """As a worker lives: its sockets are given to it, and no signal is needed."""
    ready: list[Any] = []

    async def main() -> int:
        stopping = runner.Stopping(())

        def on_ready(server: Any) -> None:
            ready.extend(server.sockets)
            stopping.ask(has_successor=True)

        settings = Settings(port=0, lifespan="off")
        return await runner.serve(failing, settings, lambda: bind(settings), stopping, on_ready)

    assert runner.run_to_end(main) == runner.ENDED
    assert [sock.fileno() for sock in ready] == [-1]


@pytest.mark.parametrize("app, options, code", [
    ("no_such_module:app", {}, runner.NOT_STARTED),
    (failing, {}, runner.NOT_STARTED),
    (lambda: failing, {"factory": True}, runner.NOT_STARTED),
    (lambda: None, {"factory": True}, runner.NOT_STARTED),
    (failing, {"host": "no-such-host.invalid"}, runner.NOT_BOUND),
])
def test_a_life_that_cannot_begin_says_why_with_its_code(app: Any, options: dict[str, Any], code: int) -> None:
    async def main() -> int:
        settings = Settings(port=0, **options)
        with pytest.raises(runner.CannotStart) as caught:
            await runner.serve(app, settings, lambda: bind(settings), runner.Stopping(()), lambda server: None)
        return int(caught.value.args[1])

    assert runner.run_to_end(main) == code


def test_after_so_many_answers_a_process_of_its_own_ends_in_peace(tmp_path: Path) -> None:
    server = start(tmp_path, "--limit-max-requests", "2")
    for _ in range(2):
        assert ask((server.host, server.port), request()).status == 200
    assert server.wait_end() == 0
    assert "Ending: this process has given 2 answers" in server.stderr and "shutdown" in server.stdout


def test_a_task_that_does_not_heed_its_end_is_named_and_holds_nothing_up(tmp_path: Path) -> None:
    server = start(tmp_path)
    ask((server.host, server.port), request("/deaf"))
    assert server.stop() == 0
    assert "A task does not end although cancelled: the-deaf. It waits here:" in server.stderr and "in deaf" in server.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there it is the console that is closed")
def test_a_terminal_that_goes_away_drains_however_often_it_is_said(tmp_path: Path) -> None:
    server = start(tmp_path, "--timeout-graceful-shutdown", "1")
    waiting = call(server, "/stay")
    server.wait_line("staying")
    for _ in range(3):
        server.process.send_signal(signal.SIGHUP)
        server.wait_line("Shutting down")
    assert server.wait_end() == 0
    assert "Cancelling GET /stay after 1." in server.stderr and "Forced" not in server.stderr
    waiting.join(PATIENCE)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there it is the console that is closed")
def test_who_is_to_outlive_the_terminal_does(tmp_path: Path) -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server = start(tmp_path)
    finally:
        signal.signal(signal.SIGHUP, former)
    server.process.send_signal(signal.SIGHUP)
    assert ask((server.host, server.port), request()).status == 200
    assert server.stop() == 0
