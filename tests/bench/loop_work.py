"""What an event loop does all day, in small: the workloads of the loop bench.

Each workload is a coroutine function that does `count` operations on the running loop. Both ends of every
conversation run on that loop, so an operation's cost is the whole cost: two transports, two reads, two writes.
Preparation that is not the loop's doing (sockets, TLS contexts) stays outside the measured stretch: a workload says
`begin` when it starts and `end` when it is done.
"""

import asyncio
import gc
import os
import shutil
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

CERTIFICATE = Path(__file__).parent.parent / "support" / "localhost.pem"
IDLE = 10_000


class Gauge:
    """What was spent between `begin` and `end`: CPU time of this process in microseconds."""

    def __init__(self) -> None:
        self.spent = 0.0

    def begin(self) -> None:
        gc.collect()
        self.spent = -self.read()

    def end(self) -> None:
        self.spent += self.read()

    def read(self) -> float:
        return time.process_time() * 1e6


class MemoryGauge(Gauge):
    """The same for memory, in bytes. Freed memory is used again before more is asked for: one reading a process."""

    def read(self) -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


Work = Callable[[Gauge, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Workload:
    """`count` operations make one sample; `unit` says what is counted. A new process for each sample if `is_fresh`."""

    work: Work
    count: int
    unit: str
    gauge: type[Gauge] = Gauge
    is_fresh: bool = False


def nothing() -> None:
    """A callback that costs as little as can be."""


async def call_soon(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_soon(nothing)
        await asyncio.sleep(0)
    gauge.end()


async def call_soon_chain(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    gauge.begin()
    loop.call_soon(step)
    await done
    gauge.end()


async def call_soon_threadsafe(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_soon_threadsafe(nothing)
        await asyncio.sleep(0)
    gauge.end()


async def call_later_cancel(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_later(60, nothing).cancel()
        await asyncio.sleep(0)
    gauge.end()


async def call_later_fire(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count // 100):
        for _ in range(100):
            loop.call_later(0, nothing)
        await asyncio.sleep(0)
    gauge.end()


async def task_switch(gauge: Gauge, count: int) -> None:
    async def worker() -> None:
        for _ in range(count // 100):
            await asyncio.sleep(0)

    gauge.begin()
    await asyncio.gather(*[worker() for _ in range(100)])
    gauge.end()


async def task_create(gauge: Gauge, count: int) -> None:
    async def worker() -> None:
        pass

    gauge.begin()
    for _ in range(count):
        await asyncio.create_task(worker())
    gauge.end()


async def future_round_trip(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    gauge.begin()
    for _ in range(count):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
    gauge.end()


async def sock_ping_pong(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    first, second = socket.socketpair()
    first.setblocking(False)
    second.setblocking(False)

    async def echo() -> None:
        while data := await loop.sock_recv(second, 1024):
            await loop.sock_sendall(second, data)

    task = asyncio.ensure_future(echo())
    message = b"x" * 64
    gauge.begin()
    for _ in range(count):
        await loop.sock_sendall(first, message)
        await loop.sock_recv(first, 1024)
    gauge.end()
    first.close()
    await task
    second.close()


# uvloop's transports are no instances of asyncio's classes, hence Any.


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


class Asking(asyncio.Protocol):
    """Sends a message, waits for it to come back whole, sends it again: `count` times."""

    def __init__(self, message: bytes, count: int, done: "asyncio.Future[None]") -> None:
        self.message = message
        self.left = count
        self.missing = len(message)
        self.done = done

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing:
            return
        self.missing = len(self.message)
        self.left -= 1
        if self.left:
            self.transport.write(self.message)
        else:
            self.done.set_result(None)


async def protocol_echo(gauge: Gauge, count: int, size: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    done = loop.create_future()
    address = server.sockets[0].getsockname()
    transport, protocol = await loop.create_connection(lambda: Asking(b"x" * size, count, done), *address)
    gauge.begin()
    transport.write(protocol.message)
    await done
    gauge.end()
    transport.close()
    server.close()
    await server.wait_closed()


async def stream_echo(gauge: Gauge, count: int, size: int, secure: bool = False) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(await reader.readexactly(size))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    contexts = tls_contexts() if secure else (None, None)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=contexts[0], limit=2 * size + 65536)
    host, port = server.sockets[0].getsockname()
    name = "localhost" if secure else None
    reader, writer = await asyncio.open_connection(
        host, port, ssl=contexts[1], server_hostname=name, limit=2 * size + 65536
    )
    message = b"x" * size
    gauge.begin()
    for _ in range(count):
        writer.write(message)
        await writer.drain()
        await reader.readexactly(size)
    gauge.end()
    writer.close()
    server.close()
    await server.wait_closed()


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    client = ssl.create_default_context(cafile=str(CERTIFICATE))
    return server, client


class DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


class DatagramAsking(DatagramEcho):
    def __init__(self, count: int, done: "asyncio.Future[None]") -> None:
        self.left = count
        self.done = done

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.left -= 1
        if self.left:
            self.transport.sendto(data)
        else:
            self.done.set_result(None)


async def datagram_echo(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(DatagramEcho, ("127.0.0.1", 0))
    done = loop.create_future()
    address = server.get_extra_info("sockname")
    client, _ = await loop.create_datagram_endpoint(lambda: DatagramAsking(count, done), remote_addr=address)
    gauge.begin()
    client.sendto(b"x" * 64)
    await done
    gauge.end()
    client.close()
    server.close()
    await asyncio.sleep(0)


async def subprocess_spawn(gauge: Gauge, count: int) -> None:
    program = shutil.which("true")
    assert program is not None
    gauge.begin()
    for _ in range(count):
        process = await asyncio.create_subprocess_exec(program, stdin=-1, stdout=-1, stderr=-1)
        await process.communicate()
    gauge.end()


def idle_sockets(count: int) -> tuple[list[socket.socket], socket.socket]:
    """So many sockets on which nothing happens, and their one peer. Duplicates, to need a descriptor each, not two."""
    mine, theirs = socket.socketpair()
    return [mine, *(mine.dup() for _ in range(count - 1))], theirs


async def idle_transports(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    sockets, peer = idle_sockets(count)
    gauge.begin()
    transports = [(await loop.connect_accepted_socket(asyncio.Protocol, sock))[0] for sock in sockets]
    for transport in transports:
        transport.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gauge.end()
    peer.close()


async def idle_memory(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    sockets, peer = idle_sockets(count)
    gauge.begin()
    transports = [(await loop.connect_accepted_socket(asyncio.Protocol, sock))[0] for sock in sockets]
    gauge.end()
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)
    peer.close()


async def echo_among_idle(gauge: Gauge, count: int) -> None:
    loop = asyncio.get_running_loop()
    sockets, peer = idle_sockets(IDLE)
    transports = [(await loop.connect_accepted_socket(asyncio.Protocol, sock))[0] for sock in sockets]
    await protocol_echo(gauge, count, 64)
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)
    peer.close()


# What the loop is judged by.
LINES: dict[str, Workload] = {
    "call_soon": Workload(call_soon, 100_000, "µs a callback, a hundred a turn"),
    "call_later and cancel": Workload(call_later_cancel, 50_000, "µs a timer"),
    "task switch": Workload(task_switch, 100_000, "µs an await of sleep(0), a hundred tasks"),
    "future round-trip": Workload(future_round_trip, 40_000, "µs a future made, set by a callback, awaited"),
    "sock ping-pong": Workload(sock_ping_pong, 10_000, "µs 64 bytes there and back, sock_sendall and sock_recv"),
    "stream echo 64 B": Workload(partial(stream_echo, size=64), 8_000, "µs a message there and back"),
    "stream echo 1 KiB": Workload(partial(stream_echo, size=1024), 8_000, "µs a message there and back"),
    "stream echo 64 KiB": Workload(partial(stream_echo, size=65536), 3_000, "µs a message there and back"),
    "TLS stream echo 1 KiB": Workload(partial(stream_echo, size=1024, secure=True), 4_000, "µs a message there and back"),
    "datagram echo": Workload(datagram_echo, 15_000, "µs a datagram of 64 bytes there and back"),
    "subprocess spawn": Workload(subprocess_spawn, 100, "µs a program started with three pipes, and awaited"),
    "10,000 idle transports": Workload(idle_transports, IDLE, "µs a transport made and closed"),
}
# The same from other sides.
MORE: dict[str, Workload] = {
    "call_soon chain": Workload(call_soon_chain, 50_000, "µs a callback, one a turn"),
    "call_soon_threadsafe": Workload(call_soon_threadsafe, 50_000, "µs a callback, from the loop's thread"),
    "call_later and fire": Workload(call_later_fire, 50_000, "µs a timer that is due at once"),
    "task": Workload(task_create, 30_000, "µs a task made, run and awaited"),
    "protocol echo 64 B": Workload(partial(protocol_echo, size=64), 20_000, "µs a message there and back"),
    "protocol echo 64 KiB": Workload(partial(protocol_echo, size=65536), 5_000, "µs a message there and back"),
    "echo among 10,000": Workload(echo_among_idle, 20_000, "µs a message of 64 bytes, idle transports beside it"),
    "memory of 10,000": Workload(idle_memory, IDLE, "bytes an idle transport", MemoryGauge, is_fresh=True),
}
WORKLOADS = LINES | MORE
