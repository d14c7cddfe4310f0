"""The load: workloads by name, the load generator's command, and idle connections.

wrk makes the requests and checks nothing but the status, so a workload's answer is looked at once
before measuring (`servers.Running.verify`), and any error wrk counts makes the sample void.
"""

import re
import select
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent

# What a browser sends when a person opens a page, beside Host.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "http://localhost/shelf",
    "Cookie": "session=3f786850e387550fdab836ed7e6dc881; theme=dark",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-User": "?1",
    "Priority": "u=0, i",
}


class BenchError(Exception):
    """Something that makes the figures worthless; the message is for the person who runs the bench."""


@dataclass(frozen=True, slots=True)
class Echo:
    """Text messages of so many octets over WebSockets, one under way on each of them; see `websocket.py`."""

    size: int
    connections: int
    is_compressed: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of load. `idle` connections are opened before it and held while it runs; with `echo` they are WebSockets."""

    name: str
    about: str
    headers: tuple[tuple[str, str], ...] = tuple(BROWSER.items())
    script: str | None = None
    idle: int = 0
    echo: Echo | None = None

    @property
    def is_compressed(self) -> bool:
        """Messages of the load are, or those of the WebSockets that are idle beside it."""
        return self.echo is not None and (self.echo.is_compressed or self.idle > 0)


def echoes() -> Iterator[Workload]:
    """Messages of four sizes, on one WebSocket and on a hundred, plain and compressed: ws-4k-100-deflate."""
    for is_compressed in (False, True):
        for connections in (1, 100):
            for name, size in (("64", 64), ("4k", 4096), ("64k", 65536), ("1m", 1 << 20)):
                about = f"messages of {size} octets that come back, on {connections} WebSockets" + ", compressed" * is_compressed
                label = f"ws-{name}-{connections}" + "-deflate" * is_compressed
                yield Workload(label, about, echo=Echo(size, connections, is_compressed))


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("hello", "a 13-byte answer, 64 keep-alive connections, a browser's 12 headers"),
        Workload("hello-varied", "the same with 4,096 different requests", script="varied.lua"),
        Workload("connections", "a new connection for every request", (*BROWSER.items(), ("Connection", "close"))),
        Workload("c10k", "hello beside 10,000 idle keep-alive connections", idle=10_000),
        *echoes(),
        Workload("ws-c10k", "64 octets on 100 WebSockets beside 10,000 idle ones", idle=10_000, echo=Echo(64, 100)),
    )
}


@dataclass(frozen=True, slots=True)
class Load:
    """What the load generator counted."""

    requests: int
    seconds: float


def find_wrk() -> str:
    """Where the load generator is; BenchError when it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchError("the bench needs wrk, the load generator: apt-get install wrk, or brew install wrk")
    return found


def press(workload: Workload, port: int, seconds: float) -> Load:
    """Load the server for so many seconds; BenchError when a request was not answered with success."""
    # wrk takes whole seconds only; it is the count that matters, so a short warm-up is one second.
    command = [find_wrk(), "--threads", "1", "--connections", "64", "--duration", f"{max(1, round(seconds))}s"]
    for name, value in workload.headers:
        command += ["--header", f"{name}: {value}"]
    if workload.script:
        command += ["--script", str(HERE / workload.script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds + 30, check=False,
    )
    counted = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", done.stdout)
    failed = re.search(r"Socket errors:.*|Non-2xx or 3xx responses:.*", done.stdout)
    if done.returncode or failed or counted is None or counted[1] == "0":
        raise BenchError(f"{workload.name}: {failed[0] if failed else (done.stdout + done.stderr).strip()}")
    return Load(int(counted[1]), float(counted[2]) * {"ms": 0.001, "s": 1, "m": 60}[counted[3]])


@contextmanager
def idle_connections(count: int, port: int) -> Iterator[None]:
    """Hold so many keep-alive connections, each answered once; BenchError when one is closed meanwhile."""
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with ExitStack() as stack:
        poll = select.poll()
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            connection.sendall(request)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise BenchError("an idle connection was not answered with 200")
            # The end of the answer may come by itself; what is asked at the end is whether the peer hung up.
            poll.register(connection, select.POLLRDHUP)
        yield
        closed = len(poll.poll(0))
        if closed:
            raise BenchError(f"the server closed {closed} of {count} idle connections while they were held")
