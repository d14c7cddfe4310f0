"""A server and a client with protocols: the transport calls the protocol, in the very turn in which bytes arrive.

Prints:

    server: a connection
    client: b'hello, loop'
    server: the peer has gone
"""

import asyncio
from typing import Any

import penstock_reactor


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        print("server: a connection")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        print("server: the peer has gone")


class Ask(asyncio.Protocol):
    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello, loop")

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    transport, protocol = await loop.create_connection(Ask, host, port)
    print("client:", await protocol.answer)
    transport.close()
    server.close()
    await asyncio.sleep(0.01)  # long enough for the server to see the end


if __name__ == "__main__":
    penstock_reactor.run(main())
