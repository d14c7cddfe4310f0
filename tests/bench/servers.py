"""The servers that are measured: their command lines, and one of them running.

A server is started in a process group of its own, on one core; whatever happens to the bench,
leaving `running()` ends the whole group. All keep idle connections for as long as the bench needs
them, nobody writes an access log; everything else is as it comes.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import IO

from bench.apps import ANSWER
from bench.load import BenchError, Workload

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent


@dataclass(frozen=True, slots=True)
class Kind:
    """One server as its users start it: `python -m` and these words. {port} stands for the port."""

    name: str
    words: str
    packages: tuple[str, ...]
    deflates: bool = True
    """It compresses WebSocket messages."""
    http_only: str = ""
    """The words that turn WebSockets off, where that can be done: then a handshake is a request like any."""


UVICORN = "uvicorn apps:app --host 127.0.0.1 --port {port} --no-access-log --log-level warning --timeout-keep-alive 600"
GUNICORN = "gunicorn apps:app --bind 127.0.0.1:{port} --worker-class asgi --keep-alive 600 --log-level warning"

BASELINE = "uvicorn-httptools-uvloop"
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "penstock",
            "penstock apps:app --host 127.0.0.1 --port {port} --no-access-log --log-level warning"
            " --timeout-keep-alive 600",
            (),
            http_only="--ws none",
        ),
        Kind(BASELINE, f"{UVICORN} --http httptools --loop uvloop", ("uvicorn", "httptools", "uvloop"), http_only="--ws none"),
        Kind("uvicorn-h11-asyncio", f"{UVICORN} --http h11 --loop asyncio", ("uvicorn", "h11"), http_only="--ws none"),
        Kind(
            "granian",
            # Its back-pressure counts connections: the usual 1,024 would keep the idle ones from being accepted.
            "granian apps:app --interface asgi --host 127.0.0.1 --port {port} --log-level warning --workers 1"
            " --backpressure 20000 --http1-header-read-timeout 60000",
            ("granian", "uvloop"),
            deflates=False,
            http_only="--no-ws",
        ),
        Kind(
            "hypercorn",
            "hypercorn apps:app --bind 127.0.0.1:{port} --worker-class uvloop --keep-alive 600 --log-level warning",
            ("hypercorn", "h11", "uvloop"),
        ),
        Kind("gunicorn", f"{GUNICORN} --no-control-socket", ("gunicorn", "uvloop")),
        Kind("daphne", "daphne apps:app --bind 127.0.0.1 --port {port} --verbosity 0", ("daphne", "twisted")),
    )
}
USUAL = ("penstock", BASELINE, "uvicorn-h11-asyncio", "granian")


def cores() -> tuple[set[int], set[int]]:
    """One core for the server, one for the load; the same one twice where there is no second."""
    usable = sorted(os.sched_getaffinity(0))
    return {usable[0]}, {usable[-1]}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections."""

    kind: Kind
    port: int
    pid: int

    def verify(self, workload: Workload) -> None:
        """Look at one answer; BenchError when it is not the application's."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/shelf/1?page=2", headers=dict(workload.headers))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, HTTPException) as error:
            raise BenchError(f"{self.kind.name} did not answer: {error!r}") from error
        finally:
            connection.close()
        if (answer.status, body) != (200, ANSWER):
            raise BenchError(f"{self.kind.name} answered {answer.status} {body[:80]!r}")


@contextmanager
def running(kind: Kind, python: str, folder: Path = HERE) -> Iterator[Running]:
    """Start a server on its core, wait until it listens, and end it and all its children on the way out.

    `folder` is where its application is.
    """
    port = _free_port()
    command = [python, "-m", *kind.words.format(port=port).split()]
    with tempfile.TemporaryFile() as output:
        process = _start(command, output, folder)
        try:
            _wait_listening(kind, process, port, output)
            yield Running(kind, port, process.pid)
        finally:
            _end(process)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _start(command: list[str], output: IO[bytes], folder: Path) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = os.pathsep.join(str(CHECKOUT / root) for root in ("reactor", "server"))
    server_core, load_core = cores()
    # A child takes over the affinity of its parent: so it never runs, nor starts a thread, on the other core.
    os.sched_setaffinity(0, server_core)
    try:
        return subprocess.Popen(
            command, cwd=folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )
    finally:
        os.sched_setaffinity(0, load_core)


def _wait_listening(kind: Kind, process: subprocess.Popen[bytes], port: int, output: IO[bytes]) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    output.seek(0)
    said = output.read().decode(errors="replace").strip().splitlines()[-8:]
    what = "did not listen within 30 s" if process.returncode is None else f"ended with code {process.returncode}"
    raise BenchError("\n    ".join([f"{kind.name} {what}", *said]))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        print(f"    had to be killed: {process.args!r}", file=sys.stderr)
    try:
        # Also what outlived its parent.
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(timeout=5)
