"""Datagrams: each arrives whole or not at all, with the address it came from.

Prints:

    server: b'ping'
    client: b'pong'
    nobody there: ConnectionRefusedError
"""

import asyncio
from typing import Any

import penstock_reactor


class Pong(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        print("server:", data)
        self.transport.sendto(b"pong", addr)


class Ping(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.news: asyncio.Queue[Any] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.news.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self.news.put_nowait(type(exc).__name__)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Pong, local_addr=("127.0.0.1", 0))
    client, ping = await loop.create_datagram_endpoint(Ping, remote_addr=server.get_extra_info("sockname"))
    client.sendto(b"ping")
    print("client:", await ping.news.get())
    server.close()
    await asyncio.sleep(0)
    client.sendto(b"ping")
    # The network's errors are told, and the transport lives on.
    print("nobody there:", await ping.news.get())
    client.close()


if __name__ == "__main__":
    penstock_reactor.run(main())
