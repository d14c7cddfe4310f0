"""The lives of servers: what clients see of a reload, an end, a restart, and how long the silent are suffered.

    python -m bench.lives [--quick] [--only reload,shutdown,restart,slow] [--servers penstock,uvicorn ...]

Every row is an experiment of its own, on a server of its own, with an application that is written for it. Printed are
seconds as a client measures them. They depend on the machine; what differs by whole seconds, or is never, does not.
`--quick` is penstock alone, and without the slow clients.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.encounters import Probes, ask, closes_after, drain, greet, rest, talk

CHECKOUT = Path(__file__).parent.parent.parent

APP = '''
import asyncio, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    path = scope["path"]
    if path == "/three":
        await asyncio.sleep(3)
    if path == "/upload":
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    if path in ("/events", "/deaf", "/big"):
        await send({"type": "http.response.body", "body": b"data: x\\n\\n" * (10_000_000 if path == "/big" else 1), "more_body": True})
        while path == "/deaf":
            await asyncio.sleep(0.2)
            await send({"type": "http.response.body", "body": b"data: x\\n\\n", "more_body": True})
        while path == "/events" and (await receive())["type"] != "http.disconnect":
            pass
        return await send({"type": "http.response.body", "body": b""})
    await send({"type": "http.response.body", "body": b"VERSION"})
'''

PLAIN = {
    "penstock": "penstock main:app --port {port} --no-access-log",
    "uvicorn": "uvicorn main:app --port {port} --no-access-log",
    "hypercorn": "hypercorn main:app --bind 127.0.0.1:{port}",
    "granian": "granian main:app --interface asgi --port {port}",
    "daphne": "daphne main:app --bind 127.0.0.1 --port {port} --verbosity 0",
    "gunicorn": "gunicorn main:app --worker-class asgi --bind 127.0.0.1:{port} --no-control-socket",
}
HAS_RELOAD = ("penstock", "uvicorn", "hypercorn", "granian", "gunicorn")
WORKERS = {name: f"{PLAIN[name]} --workers 2" for name in HAS_RELOAD}
NEVER = 12.0
"""Seconds after which an end counts as none."""


class Server:
    """One server with an application of its own."""

    def __init__(self, words: str, version: str = "one") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lives"))
        self.write(version)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
        roots = os.pathsep.join(str(CHECKOUT / root) for root in ("reactor", "server"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words.format(port=self.port).split()], cwd=self.folder, start_new_session=True,
            env={**os.environ, "PYTHONPATH": roots + os.pathsep + str(self.folder)}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 30
        while ask(self.port, patience=5).body != version.encode():
            if time.monotonic() > end or self.process.poll() is not None:
                self.close()
                raise RuntimeError(f"{words} does not serve")
            time.sleep(0.05)

    def write(self, version: str, more: str = "") -> None:
        (self.folder / "main.py").write_text(APP.replace("VERSION", version) + more)

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def lasts(self, limit: float = NEVER) -> str:
        """Seconds until the process is no more."""
        begin = time.monotonic()
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"> {limit:.0f} s"
        return f"{time.monotonic() - begin:.1f} s"

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def served(words: str) -> Iterator[Server]:
    server = Server(words)
    try:
        yield server
    finally:
        server.close()


# -- reload


def reload(name: str, open_path: str = "", *, broken: bool = False) -> str:
    """Probes every 50 ms after a save; what they met."""
    with served(PLAIN[name] + " --reload") as server:
        # So that the watcher has begun to watch.
        time.sleep(2)
        stream = greet(server.port, open_path) if open_path else None
        server.write("two", "this is no Python\n" if broken else "")
        probes = Probes(server.port)
        probes.run(4 if broken else 9, stop_after=None if broken else b"two")
        told = probes.describe(None if broken else b"two")
        if broken:
            server.write("three")
            mended = Probes(server.port)
            mended.run(6, stop_after=b"three")
            told += f"; mended: {mended.describe(b'three')}"
        if stream is not None:
            told += f"; it ended {rest(stream)}" if open_path == "/three" else ""
            stream.close()
        return told


RELOAD: dict[str, Callable[[str], str]] = {
    "nothing in flight": reload,
    "a 3 s request is running": lambda name: reload(name, "/three"),
    "an SSE stream is open": lambda name: reload(name, "/events"),
    "syntax error saved": lambda name: reload(name, broken=True),
}


# -- the end


def idle(name: str) -> str:
    with served(PLAIN[name]) as server:
        server.end()
        return f"{server.lasts()}, code {server.process.returncode}"


def running(name: str, path: str) -> str:
    with served(PLAIN[name]) as server, greet(server.port, path) as client:
        time.sleep(0.3)
        server.end()
        if path == "/three":
            return f"it ended {rest(client)}"
        # As every client does: read what comes, and close when the other side has.
        threading.Thread(target=drain, args=(client,), daemon=True).start()
        return server.lasts()


def late_request(name: str) -> str:
    with served(PLAIN[name]) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        time.sleep(0.3)
        server.end()
        time.sleep(0.2)
        return talk(client)


def web_socket(name: str) -> str:
    with served(PLAIN[name]) as server, greet(server.port, "/ws", upgrade=True) as client:
        time.sleep(0.3)
        server.end()
        client.settimeout(NEVER)
        try:
            octets = client.recv(100)
        except OSError:
            octets = b""
        with suppress(OSError):
            # The same code back, masked with zeros, as RFC 6455 §5.5.1 wants it.
            client.sendall(b"\x88\x82\0\0\0\0" + octets[2:4])
        threading.Thread(target=drain, args=(client,), daemon=True).start()
        frame = f"close frame {int.from_bytes(octets[2:4])}" if octets[:1] == b"\x88" and len(octets) >= 4 else "no frame"
        return f"{frame}, {server.lasts()}"


def twice(name: str) -> str:
    with served(PLAIN[name]) as server, greet(server.port, "/events"):
        server.end(signal.SIGINT)
        time.sleep(1)
        if server.process.poll() is not None:
            return "gone after the first"
        server.end(signal.SIGINT)
        return f"{server.lasts()} after the second"


SHUTDOWN: dict[str, Callable[[str], str]] = {
    "idle": idle,
    "3 s request in flight": lambda name: running(name, "/three"),
    "request bytes 0.2 s after the signal": late_request,
    "endless stream": lambda name: running(name, "/deaf"),
    "SSE app waiting for http.disconnect": lambda name: running(name, "/events"),
    "WebSocket open": web_socket,
    "Ctrl+C twice with a stream open": twice,
}


# -- rolling restart


def restart(name: str) -> str:
    """Clients that keep their connections and others that do not, while all workers are replaced."""
    with served(WORKERS[name]) as server:
        probes = Probes(server.port, keep=True)
        threading.Timer(1.0, server.end, (signal.SIGHUP,)).start()
        probes.run(7)
        return probes.describe(None)


# -- slow clients


SLOW = ("connects, sends nothing", "stalls inside first headers", "drips header bytes", "stalls inside body",
        "drips body bytes", "idle keep-alive", "drips the second request's headers", "stops reading a big response")


def slow(name: str, limit: float = 42.0) -> dict[str, str]:
    """All at once, on one server."""
    found: dict[str, str] = {}
    with served(PLAIN[name]) as server:
        def meet(what: str) -> None:
            found[what] = closes_after(server.port, what, limit)

        threads = [threading.Thread(target=meet, args=(what,)) for what in SLOW]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


# -- tables


def table(title: str, rows: dict[str, Callable[[str], str]], names: list[str]) -> None:
    print(f"\n**{title}**\n\n| | {' | '.join(names)} |\n|---{'|---' * len(names)}|", flush=True)
    for what, experiment in rows.items():
        print(f"| {what} |", end="", flush=True)
        for name in names:
            try:
                told = experiment(name)
            except (OSError, RuntimeError) as error:
                told = f"failed: {error}"
            print(f" {told} |", end="", flush=True)
        print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-reload", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="reload,shutdown,restart,slow")
    parser.add_argument("--servers", default=",".join(PLAIN))
    given = parser.parse_args()
    names = ["penstock"] if given.quick else given.servers.split(",")
    only = set(given.only.split(",")) - ({"slow"} if given.quick else set())
    reloaders = [name for name in names if name in HAS_RELOAD]
    if "reload" in only:
        table("Reload, at the moment of the edit", RELOAD, reloaders)
    if "shutdown" in only:
        table("Shutdown on SIGTERM", SHUTDOWN, names)
    if "restart" in only:
        table("Rolling restart, 2 workers, SIGHUP", {"light load, new and kept connections": restart}, reloaders)
    if "slow" in only:
        met = {name: slow(name) for name in names}
        table("Slow and silent clients: seconds until the server closed", {
            what: (lambda name, what=what: met[name][what]) for what in SLOW  # type: ignore[misc]
        }, names)


if __name__ == "__main__":
    main()
