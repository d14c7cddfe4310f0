"""Where a server listens, as its users say it: Unix sockets, inherited ones, several addresses; alone, with workers, reloading."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from support.serving import PATIENCE, Server, command, environment, run_to_end, serving

APP = """
import os
async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = repr((scope["server"], scope["client"])).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

MANNERS: list[list[str]] = [[], ["--workers", "2"], ["--reload"]]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="sockets are not inherited there, and there are no Unix sockets")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APP)
    return tmp_path


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.host)


def ask(connection: HTTPConnection) -> str:
    connection.request("GET", "/", headers={"Host": "x"})
    try:
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@contextmanager
def started(words: list[str], folder: Path, **options: Any) -> Iterator[Server]:
    """A server whose banner may name anything."""
    process = subprocess.Popen(
        words, cwd=folder, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        **{"env": environment(), **options},
    )
    server = Server(process)
    try:
        server.wait_line(r"penstock running on .* \(Press CTRL\+C to quit\)")
        yield server
        assert server.stop() == 0, server.stderr
        assert "Traceback" not in server.stderr
    finally:
        server.kill()


@pytest.mark.parametrize("manner", MANNERS)
def test_a_unix_socket_is_served_and_goes_with_the_server(manner: list[str], folder: Path) -> None:
    with started(command("main:app", "--uds", "s", "--uds-mode", "600", *manner), folder) as server:
        assert "penstock running on unix socket s (Press CTRL+C to quit)\n" in server.stderr
        assert ask(UnixConnection(str(folder / "s"))) == "(('s', None), None)"
        server.wait_line(r'"GET / HTTP/1\.1" 200')
        assert (folder / "s").stat().st_mode & 0o777 == 0o600
        told = run_to_end("main:app", "--uds", "s", cwd=folder)
        assert told.returncode == 1 and "Cannot listen on the Unix socket s: it is in use" in told.stderr
        assert ask(UnixConnection(str(folder / "s")))
    assert not (folder / "s").exists()


def test_a_unix_socket_left_behind_by_a_killed_server_is_taken_over(folder: Path) -> None:
    with started(command("main:app", "--uds", "s"), folder) as server:
        server.process.send_signal(signal.SIGKILL)
        server.wait_end()
        assert (folder / "s").exists()
        with started(command("main:app", "--uds", "s"), folder):
            assert ask(UnixConnection(str(folder / "s")))
        server.process.returncode = 0
    assert not (folder / "s").exists()


@pytest.mark.parametrize("manner", MANNERS)
def test_an_inherited_descriptor_is_served(manner: list[str], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        words = command("main:app", "--fd", str(theirs.fileno()), *manner)
        with started(words, folder, pass_fds=[theirs.fileno()]) as server:
            assert f"penstock running on http://127.0.0.1:{port} " in server.stderr
            assert f"('127.0.0.1', {port})" in ask(HTTPConnection("127.0.0.1", port, timeout=PATIENCE))


@pytest.mark.parametrize("manner", MANNERS)
def test_the_sockets_of_systemd_are_served_without_being_named(manner: list[str], folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket(socket.AF_UNIX) as two:
        two.bind(str(folder / "s"))
        two.listen()
        # As systemd does it: from 3 on, and for the process that it has become.
        script = f'exec 3<&{one.fileno()} 4<&{two.fileno()}; LISTEN_FDS=2 LISTEN_PID=$$ exec "$@"'
        # Away from 3 and 4, which the shell would overwrite one by the other.
        numbers = [one.fileno(), two.fileno()]
        assert min(numbers) > 4
        with started(["bash", "-c", script, "bash", *command("main:app", *manner)], folder, pass_fds=numbers):
            port = one.getsockname()[1]
            assert f"('127.0.0.1', {port})" in ask(HTTPConnection("127.0.0.1", port, timeout=PATIENCE))
            assert ask(UnixConnection(str(folder / "s"))).startswith(f"(({str(folder / 's')!r}, None)")
    # Whoever made it removes it.
    assert (folder / "s").exists()


@pytest.mark.parametrize("manner", MANNERS)
def test_several_hosts_are_served_on_one_port(manner: list[str], folder: Path) -> None:
    with serving("main:app", "--host", "127.0.0.1", "--host", "127.0.0.2", *manner, cwd=folder) as server:
        for host in ("127.0.0.1", "127.0.0.2"):
            assert f"('{host}', {server.port})" in ask(HTTPConnection(host, server.port, timeout=PATIENCE))
            server.wait_line(rf"running on http://{host}:{server.port}")


@pytest.mark.parametrize("manner", MANNERS)
def test_the_ready_file_is_there_while_requests_are_taken(manner: list[str], folder: Path) -> None:
    with serving("main:app", "--ready-file", "ready.json", *manner, cwd=folder) as server:
        assert json.loads((folder / "ready.json").read_text()) == {"addresses": [server.url], "pid": server.pid}
        assert server.stop() == 0
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["main.py"]


def test_a_ready_file_that_cannot_be_written_ends_the_start(folder: Path) -> None:
    for manner in MANNERS:
        result = run_to_end("main:app", "--port", "0", "--ready-file", "gone/ready.json", *manner, cwd=folder)
        assert result.returncode == 1
        assert result.stderr == (
            "ERROR:    Cannot write gone/ready.json: No such file or directory. Choose another with --ready-file.\n")


def test_a_module_that_is_called_as_a_command_can_be_served(folder: Path) -> None:
    (folder / "check.py").write_text(APP)
    for words in (["check:app", "--port", "0"], ["--port", "0", "--", "check"]):
        with started(command(*words), folder):
            pass
    result = run_to_end("check", "main:app", "--port", "0", "--lifespan", "off", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    assert "main:app starts and stops" in result.stdout


@pytest.mark.parametrize("manner", MANNERS)
def test_a_forced_end_leaves_neither_socket_nor_ready_file(manner: list[str], folder: Path) -> None:
    (folder / "deaf.py").write_text(
        "import asyncio\nasync def app(scope, receive, send):\n    print('called', flush=True)\n    await asyncio.sleep(3600)\n")
    words = ["deaf:app", "--uds", "s", "--ready-file", "ready.json", "--lifespan", "off", "--timeout-graceful-shutdown", "none"]
    words += ["--timeout-reload", "none"] if "--reload" in manner else []
    server = Server(subprocess.Popen(
        command(*words, *manner), cwd=folder, text=True, env=environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    try:
        server.wait_line("running on unix socket s")
        assert (folder / "ready.json").exists()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "s"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            server.wait_line("^called$")
            server.process.send_signal(signal.SIGINT)
            server.wait_line("Shutting down")
            assert server.stop(signal.SIGINT) == 1
    finally:
        server.kill()
    assert not (folder / "s").exists() and not (folder / "ready.json").exists()
