"""The supervisor and its workers on Linux with what Windows has, and nothing else (support/shared_sockets).

Sockets are shared with the process id that the child tells, which `Popen` does not know, because a launcher stands
between as in a virtual environment there.
"""

import contextlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.client import Client, ask, request
from support.pressure import Pressure
from support.processes import children, eventually, is_alive, kill, send
from support.serving import BANNER, CHECKOUT, Server, environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for Windows works on Linux only")

STAND_IN = CHECKOUT / "tests" / "support" / "shared_sockets"

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})
        print("lifespan ended", flush=True)
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"one", "more_body": scope["path"] == "/stream"})
    if scope["path"] == "/stream":
        await receive()
        while (await receive())["type"] != "http.disconnect":
            pass
"""

START = """
import sys
sys.executable = {launcher!r}
from penstock.cli import main
sys.exit(main(sys.argv[1:]))
"""

Start = Callable[..., contextlib.AbstractContextManager[Server]]


def write(folder: Path, body: str, more: str = "") -> None:
    (folder / "main.py").write_text(APP.replace("one", body) + more)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts the application in `main.py` of a folder of its own."""
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o700)
    (tmp_path / "start.py").write_text(START.format(launcher=str(launcher)))
    write(tmp_path, "one")

    @contextlib.contextmanager
    def start(*options: str) -> Iterator[Server]:
        paths = f"{STAND_IN}:{environment()['PYTHONPATH']}"
        process = subprocess.Popen(
            [sys.executable, "start.py", "main:app", "--port", "0", "--no-access-log", *options], cwd=tmp_path, text=True,
            env=environment({"PYTHONPATH": paths}), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        server = Server(process)
        try:
            address = server.wait_line(BANNER)["url"].removeprefix("http://")
            server.host, server.port = address.partition(":")[0], int(address.partition(":")[2])
            yield server
        except BaseException as error:
            error.add_note(f"stdout:\n{server.stdout}\nstderr:\n{server.stderr}")
            raise
        finally:
            server.kill()

    return start


def get(server: Server, path: str = "/") -> bytes:
    return ask((server.host, server.port), request(path)).body


def workers(server: Server) -> list[int]:
    """The interpreters behind the launchers, as they have told."""
    return [int(pid) for pid in re.findall(r"Ready: worker \d+ \(process (\d+)\)", server.stderr)]


def test_a_reload_loses_nothing_and_is_no_matter_of_process_ids(start: Start, tmp_path: Path) -> None:
    with start("--reload", "--workers", "2") as server:
        told = workers(server)
        assert len(told) == 2 and not set(told) & set(children(server.pid))
        with Pressure(server, 8) as load:
            write(tmp_path, "two")
            load.wait_until_answered(b"two")
            eventually(lambda: server.stdout.count("lifespan ended") == 2)
            load.wait_for_answers(20)
        assert load.failures == []
        assert server.stop(signal.SIGINT) == 0
        assert server.stdout.count("lifespan ended") == 4 and "Killing" not in server.stderr


def test_after_a_bad_save_the_old_code_serves_on(start: Start, tmp_path: Path) -> None:
    with start("--reload") as server:
        write(tmp_path, "two", "this is no Python")
        server.wait_line("The code from before serves on. Save again")
        assert get(server) == b"one"
        write(tmp_path, "three")
        eventually(lambda: get(server) == b"three")


def test_a_stream_is_told_and_does_not_hold_a_reload_up(start: Start, tmp_path: Path) -> None:
    with start("--reload") as server, Client((server.host, server.port)) as client:
        client.send(request("/stream"))
        assert client.head().status == 200
        write(tmp_path, "two")
        eventually(lambda: get(server) == b"two")
        server.wait_line("lifespan ended")


def test_a_worker_that_is_killed_is_replaced(start: Start) -> None:
    with start("--workers", "2") as server:
        victim = workers(server)[0]
        kill(victim)
        server.wait_line("died: .* Another takes its place")
        eventually(lambda: len(workers(server)) == 3)
        assert get(server) == b"one"


def test_workers_do_not_outlive_a_supervisor_that_is_killed(start: Start) -> None:
    with start("--workers", "2") as server:
        server.process.kill()
        eventually(lambda: not any(map(is_alive, workers(server))))


def test_a_second_interrupt_ends_all_at_once(start: Start) -> None:
    with start("--workers", "2", "--timeout-graceful-shutdown", "none") as server, Client((server.host, server.port)) as client:
        client.send(request("/stream"))
        client.head()
        send(server.pid, signal.SIGINT)
        server.wait_line("Shutting down")
        send(server.pid, signal.SIGINT)
        assert server.wait_end() in (0, 1)
        eventually(lambda: not any(map(is_alive, workers(server))))


def test_near_the_limit_of_select_accepting_pauses_and_goes_on(start: Start) -> None:
    with start("--reload") as server:
        address = (server.host, server.port)
        clients = [socket.create_connection(address) for _ in range(560)]
        server.wait_line("Accepting pauses")
        for client in clients[:300]:
            client.close()
        clients[-1].settimeout(15)
        clients[-1].sendall(request())
        assert clients[-1].recv(100).startswith(b"HTTP/1.1 200")
        for client in clients[300:]:
            client.close()


@pytest.mark.parametrize("source, complaint", [
    ("import os; os.kill(os.getpid(), 0)", "AssertionError"), ("import os; os.fork()", "AttributeError"),
    ("import fcntl", "ModuleNotFoundError"), ("import socket; socket.AF_UNIX", "AttributeError"),
    ("import signal; signal.signal(1, print)", "ValueError"), ("import signal; signal.SIGHUP", "AttributeError"),
    ("import selectors; selectors.DefaultSelector().register(0, 1)", "10038"),
    ("import selectors; selectors.DefaultSelector().select(0)", "10022"),
    ("import subprocess; subprocess.Popen('true', start_new_session=True)", "ValueError"),
])
def test_who_leans_on_what_windows_lacks_fails_there(source: str, complaint: str) -> None:
    paths = f"{STAND_IN}:{environment()['PYTHONPATH']}"
    done = subprocess.run([sys.executable, "-c", source], env=environment({"PYTHONPATH": paths}), stdin=subprocess.PIPE,
                          capture_output=False, stderr=subprocess.PIPE, text=True, check=False, timeout=30)
    assert done.returncode == 1 and complaint in done.stderr
