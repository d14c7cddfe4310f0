import signal
import sys
from pathlib import Path

import pytest
from support.serving import environment

from penstock.testing import Client, ask, request, serve_in_thread
from penstock.testing.server import Process, ProcessError, command, serve_in_process

APP = """
import os, sys

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    print("asked for", scope["path"], flush=True)
    if scope["path"] == "/leave":
        os._exit(7)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": os.environ.get("GREETING", "none").encode()})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APP)
    return tmp_path


def test_an_app_runs_in_a_process_of_its_own(folder: Path) -> None:
    with serve_in_process("main:app", cwd=folder, env=environment({"GREETING": "hello"})) as server:
        assert ask(server.url, request("/there")).body == b"hello"
        assert server.url == f"http://{server.host}:{server.port}" and server.pid == server.process.pid
        server.wait_line("asked for /there")
        assert "asked for /there" in server.stdout and "penstock running on" in server.stderr
        assert server.stop() == 0
        assert server.stop() == 0, "it has ended already"


def test_leaving_the_block_ends_the_process(folder: Path) -> None:
    with serve_in_process("main:app", "--port=0", cwd=folder, env=environment()) as server:
        pass
    assert server.process.returncode == 0


def test_an_end_of_its_own_is_waited_for(folder: Path) -> None:
    with serve_in_process("main:app", cwd=folder, env=environment()) as server:
        with Client(server.url) as client:
            client.send(request("/leave"))
            assert client.is_closed()
        assert server.wait_end() == 7
        with pytest.raises(ProcessError, match="'never' was not written within 15.0 s; exit code 7"):
            server.wait_line("never")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_another_signal_can_be_sent(folder: Path) -> None:
    with serve_in_process("main:app", cwd=folder, env=environment()) as server:
        assert server.stop(signal.SIGINT) == 0


def test_a_server_that_does_not_come_up_shows_what_it_said(folder: Path) -> None:
    with pytest.raises(ProcessError) as caught, serve_in_process("nothing:app", cwd=folder, env=environment()):
        pass
    assert "exit code 3" in str(caught.value) and 'There is no module "nothing"' in "".join(caught.value.__notes__)


def test_a_failure_in_the_block_shows_what_it_said_and_ends_it(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught, serve_in_process("main:app", cwd=folder, env=environment()) as server:
        raise ZeroDivisionError
    assert "penstock running on" in "".join(caught.value.__notes__) and server.process.returncode is not None


def test_a_server_that_does_not_end_is_not_waited_for_longer_than_asked(folder: Path) -> None:
    with serve_in_process("main:app", cwd=folder, env=environment()) as server:
        with pytest.raises(ProcessError, match="did not end within 0.01 s"):
            server.wait_end(0.01)
        assert isinstance(server, Process)


def test_options_of_python_go_before_the_module() -> None:
    assert command("main:app", options=["-X", "dev"]) == [sys.executable, "-X", "dev", "-m", "penstock", "main:app"]


def test_an_app_runs_in_a_thread_too() -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise ZeroDivisionError

    with serve_in_thread(app, port=0, access_log=False) as server:
        assert ask(server.url, request()).status == 500
