"""TLS for tests: contexts for both sides, and a peer that is driven by hand."""

import asyncio
import socket
import ssl
from functools import cache
from typing import Any

from penstock_reactor.tls_engine import TlsEngine, TlsOptions

from support.streams import CERTIFICATE


@cache
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@cache
def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


def options(server_side: bool, handshake_timeout: float = 20, shutdown_timeout: float = 20) -> TlsOptions:
    context = server_context() if server_side else client_context()
    return TlsOptions(context, server_side, None if server_side else "localhost", handshake_timeout, shutdown_timeout)


def talk(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both sides of a handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (client.wrap_bio(to_client, to_server, server_hostname=name), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return sides


class Peer:
    """The other end of a TLS connection on a plain socket; does nothing but what it is told."""

    def __init__(self, sock: socket.socket, server_side: bool = True) -> None:
        self.sock = sock
        self.engine = TlsEngine(options(server_side))

    async def shake_hands(self) -> None:
        while not self.engine.shake_hands():
            await self.flush()
            await self.take()
        await self.flush()

    async def take(self) -> bool:
        """Wait for some bytes from the other side; False at the end."""
        data = await asyncio.get_running_loop().sock_recv(self.sock, 65536)
        self.engine.feed(data)
        return bool(data)

    async def flush(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, self.engine.take_output())

    async def send(self, *pieces: bytes) -> None:
        """Each piece in a record of its own, all in one packet."""
        for piece in pieces:
            self.engine.encrypt(piece)
        await self.flush()

    async def read(self, count: int) -> bytes:
        """That many plain bytes, fewer when the other side ends first."""
        data = bytearray(self.engine.read())
        while len(data) < count and not self.engine.is_over and await self.take():
            data += self.engine.read()
        return bytes(data)

    async def say_goodbye(self) -> Any:
        self.engine.say_goodbye()
        await self.flush()
