"""Conversations: the workloads of the loop bench that move bytes, through sockets, transports, streams and pipes.

Both ends run on the measured loop, so an operation's cost is the whole cost: two transports, two reads, two writes.
Preparation that is not the loop's doing (sockets, TLS contexts) stays outside the measured stretch.
"""

import asyncio
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

from bench.loop_gauges import Gauge

CERTIFICATE = Path(__file__).parent.parent / "support" / "localhost.pem"
IDLE = 10_000


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
