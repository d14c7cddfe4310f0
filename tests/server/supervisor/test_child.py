import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support import processes
from support.client import ask, request
from support.hangs import bounded
from support.processes import send
from support.serving import PATIENCE, Server, environment

from penstock.settings import Settings
from penstock.supervisor import handover
from penstock.supervisor.worker import Worker

APP = """
import asyncio, os, part, sys, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            await receive()
            if os.path.exists(f"fail-{kind}"):
                await send({"type": f"lifespan.{kind}.failed", "message": f"no {kind} today"})
                return
            print(kind, flush=True)
            await send({"type": f"lifespan.{kind}.complete"})
        return
    if scope["path"] == "/block":
        print("blocking", flush=True)
        time.sleep(20)
    if scope["path"] == "/stay":
        print("staying", flush=True)
        await asyncio.Event().wait()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": repr((sys.argv, __name__)).encode()})
"""

# Its standard error is a pipe from which nobody reads, and which takes no more.
FILLED_UP = """
import os
reader, writer = os.pipe()
os.dup2(writer, 2)
os.set_blocking(2, False)
try:
    while os.write(2, b"x" * 65536):
        pass
except BlockingIOError:
    os.set_blocking(2, True)
import asyncio"""


class Child:
    """A worker process with this test in the supervisor's place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, app: str = "main:app", **options: Any) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        real = subprocess.Popen

        def popen(command: list[str], **more: Any) -> Any:
            return real(command, **{**more, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True})

        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", popen)
            for name in ("PYTHONPATH", *processes.environment()):
                patch.setenv(name, environment()[name])
            self.worker = Worker(1, 1, [self.listener], 0.0)
        process: Any = self.worker.process
        self.output = Server(process)
        settings = Settings(access_log=False, **options)
        self.worker.control._socket.settimeout(PATIENCE)
        self.worker.give({"app": app, "settings": asdict(settings), "path": sys.path, "argv": ["penstock", "main:app"]})
        self.said: list[dict[str, Any]] = []

    def wait_word(self, word: str) -> dict[str, Any]:
        """The next message of that kind."""
        while True:
            for message in list(self.said):
                self.said.remove(message)
                if message["word"] == word:
                    return message
            self.worker.control._socket.settimeout(PATIENCE)
            octets = self.worker.control._socket.recv(1, socket.MSG_PEEK)
            assert octets, f"the line ended before {word}; {self.output.stderr}"
            self.worker.control._socket.setblocking(False)
            self.said += self.worker.control.hear() or []

    def close(self) -> None:
        self.output.kill()
        self.worker.close()
        self.listener.close()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "main.py").write_text(APP)
    (tmp_path / "part.py").write_text("")
    monkeypatch.chdir(tmp_path)
    started: list[Child] = []

    def start(**options: Any) -> Child:
        started.append(Child(monkeypatch, **options))
        return started[-1]

    with bounded():
        yield start
    for child in started:
        child.close()


def test_it_says_when_it_is_ready_and_that_it_lives(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    assert ask(child.address, request()).body == b"(['penstock', 'main:app'], 'main')"
    child.wait_word("beat")
    child.wait_word("beat")


def test_with_each_beat_it_tells_how_it_fares(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    assert child.wait_word("beat") | {"memory": 0} == {"word": "beat", "running": 0, "answered": 0, "memory": 0}
    for _ in range(3):
        ask(child.address, request())
    with socket.create_connection(child.address) as client:
        client.sendall(request("/stay"))
        child.output.wait_line("staying")
        while (beat := child.wait_word("beat"))["running"] == 0:
            pass
        assert (beat["running"], beat["answered"]) == (1, 3) and beat["memory"] > 1 << 20


def test_that_it_runs_more_it_tells_soon_after_a_connection_came(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start()
    child.wait_word("ready")
    child.wait_word("beat")
    with socket.create_connection(child.address) as client:
        client.sendall(request("/stay"))
        # Of the two, whichever comes first; the next beat may be a second away.
        while child.said == []:
            child.said += child.worker.control.hear() or []
        assert child.said[0]["running"] == 1


def test_above_its_share_it_leaves_connections_to_others_and_takes_what_they_leave(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    child.worker.share(0.0)
    with socket.create_connection(child.address) as client:
        client.sendall(request("/stay"))
        child.output.wait_line("staying")
        assert ask(child.address, request()).status == 200


def test_that_it_has_given_its_answers_it_tells_and_serves_on(start: Any) -> None:
    child = start(limit_max_requests=3)
    child.wait_word("ready")
    for _ in range(5):
        assert ask(child.address, request()).status == 200
    assert child.wait_word("worn") == {"word": "worn", "because": "has given 3 answers"}


def test_a_trial_that_fails_is_a_start_that_fails(start: Any) -> None:
    Path("main.py").write_text(APP + "    1 / 0")
    child = start(smoke=("/?fails",))
    assert "The request on trial for /?fails (--smoke) failed.\nTraceback" in child.wait_word("failed")["message"]
    assert child.output.wait_end() == 3 and "shutdown" in child.output.stdout


def test_where_signs_of_life_are_looked_for_often_there_are_more(start: Any) -> None:
    child = start(timeout_worker_healthcheck=1)
    child.wait_word("ready")
    begin = time.monotonic()
    for _ in range(3):
        child.wait_word("beat")
    often = time.monotonic() - begin
    child = start()
    child.wait_word("ready")
    begin = time.monotonic()
    for _ in range(3):
        child.wait_word("beat")
    assert often < time.monotonic() - begin


def test_told_to_drain_it_ends_in_peace(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    child.worker.retire(has_successor=False)
    assert child.output.wait_end() == 0
    assert "shutdown" in child.output.stdout and "Traceback" not in child.output.stderr


def test_without_a_successor_it_takes_what_waits_and_with_one_it_does_not(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    child.worker.retire(has_successor=True)
    child.output.wait_line("Shutting down")
    waiting = socket.create_connection(child.address)
    waiting.sendall(request())
    assert child.output.wait_end() == 0
    # The listening socket is as it was: whoever comes next finds the client.
    child.listener.settimeout(PATIENCE)
    child.listener.accept()[0].close()
    waiting.close()


def test_told_before_it_has_started_it_does_not(start: Any) -> None:
    child = start()
    child.worker.retire(has_successor=True)
    assert child.output.wait_end() == 0


def test_a_start_that_fails_is_told_not_logged(start: Any) -> None:
    for app, told in (("missing:app", 'no module "missing"'), ("main:nothing", "nothing")):
        child = start(app=app)
        assert told in child.wait_word("failed")["message"]
        assert child.output.wait_end() == 3
        assert "ERROR" not in child.output.stderr
    Path("fail-startup").touch()
    child = start()
    assert child.wait_word("failed")["message"] == "The application failed while starting.\nno startup today"


def test_a_stop_that_fails_is_told_too(start: Any) -> None:
    Path("fail-shutdown").touch()
    child = start()
    child.wait_word("ready")
    child.worker.retire(has_successor=True)
    assert child.output.wait_end() == 0
    assert "The application failed while stopping.\n    no shutdown today" in child.output.stderr


def test_under_a_reload_it_tells_the_files_that_are_the_users(start: Any, tmp_path: Path) -> None:
    child = start(reload=True)
    paths = child.wait_word("files")["paths"]
    assert {str(tmp_path / "main.py"), str(tmp_path / "part.py")} <= set(paths)
    assert not [path for path in paths if path.startswith((sys.base_prefix, sys.prefix))]
    child = start(app="missing:app", reload=True)
    child.wait_word("files")


@pytest.mark.parametrize("text", [
    "def f(:", "1 / 0", "import sys\nsys.exit(5)", "import missing",
    "try:\n    1 / 0\nexcept Exception as error:\n    raise ValueError from error",
    # Two that name each other.
    "a, b = ValueError(), ValueError()\na.__cause__, b.__cause__ = b, a\nraise a",
])  # fmt: skip
def test_the_files_of_a_failure_are_told_though_they_were_never_imported(text: str, start: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "broken.py").write_text(text)
    (elsewhere / "root.py").write_text("import broken")
    child = start(app="root:app", reload=True, app_dir=str(elsewhere))
    paths = child.wait_word("files")["paths"]
    assert {str(elsewhere / "root.py"), str(elsewhere / "broken.py")} <= set(paths)
    assert not [path for path in paths if path.startswith((sys.base_prefix, sys.prefix)) or "<" in path]


def test_signals_of_the_terminal_are_not_for_it(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            send(child.worker.pid, getattr(signal, name))
    assert ask(child.address, request()).status == 200
    child.wait_word("beat")


def test_told_to_end_by_a_signal_it_says_so_while_it_drains(start: Any) -> None:
    child = start(timeout_graceful_shutdown=3)
    child.wait_word("ready")
    with socket.create_connection(child.address) as client:
        client.sendall(request("/stay"))
        child.output.wait_line("staying")
        send(child.worker.pid, signal.SIGTERM)
        child.wait_word("leaving")


def test_told_to_end_by_a_signal_when_it_is_idle_it_says_so_before_it_is_gone(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    child.wait_word("beat")
    send(child.worker.pid, signal.SIGTERM)
    child.wait_word("leaving")
    assert child.output.wait_end() == 0


def test_when_the_supervisor_is_gone_it_finishes_and_ends(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    child.worker.close()
    assert child.output.wait_end() == 0
    assert "The supervisor is gone" in child.output.stderr and "shutdown" in child.output.stdout


def test_asked_where_it_stands_it_shows_all_stacks_though_the_loop_is_blocked(start: Any) -> None:
    child = start()
    child.wait_word("ready")
    with socket.create_connection(child.address) as client:
        client.sendall(request("/block"))
        child.output.wait_line("blocking")
        child.worker.question()
        child.output.wait_line(rf"Process {child.worker.pid}, thread MainThread \(most recent call first\):")
        child.output.wait_line(r'main\.py", line \d+ in app')
        assert "_end_with_supervisor" not in child.output.stderr


def test_a_blocked_worker_does_not_outlive_its_supervisor_either(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start(timeout_graceful_shutdown=0, timeout_shutdown=0.01)
    child.wait_word("ready")
    with socket.create_connection(child.address) as client:
        client.sendall(request("/block"))
        child.output.wait_line("blocking")
        child.worker.close()
        begin = time.monotonic()
        assert child.output.wait_end() == 1
        assert time.monotonic() - begin < 15


@pytest.mark.skipif(sys.platform == "win32", reason="there a pipe cannot be made to wait for nobody")
def test_one_that_is_asked_and_whose_answer_nobody_reads_does_not_outlive_its_supervisor(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("main.py").write_text(APP.replace("import asyncio", FILLED_UP))
    child = start(timeout_graceful_shutdown=0, timeout_shutdown=0.01)
    child.wait_word("ready")
    with socket.create_connection(child.address) as client:
        client.sendall(request("/block"))
        child.output.wait_line("blocking")
        child.worker.question()
        child.worker.close()
        assert child.output.process.wait(15) == 1


def test_without_a_post_there_is_nothing_to_do(start: Any) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", handover._MODULE, "0", "1"], env=environment(), stdin=subprocess.DEVNULL,
        capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert ended.returncode == 1 and ended.stderr == b""
