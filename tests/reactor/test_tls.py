"""The ways into TLS: connecting, accepting, changing to it; and the handshakes that fail."""

import asyncio
import gc
import socket
import ssl
import tracemalloc
import weakref
from typing import Any

import pytest
from penstock_reactor import EventLoop, tls
from support.recorders import Recorder
from support.secure import client_context, server_context
from support.streams import CERTIFICATE, finish, turns

Pair = tuple[socket.socket, socket.socket]
Reports = list[dict[str, Any]]


class Echo(Recorder):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


def address(server: Any) -> Any:
    return server.sockets[0].getsockname()


async def both(loop: EventLoop, **options: Any) -> tuple[Any, Recorder, Any, list[Echo]]:
    """A server that echoes, and a client connected to it."""
    echoes: list[Echo] = []

    def factory() -> Echo:
        echoes.append(Echo())
        return echoes[-1]

    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=server_context())
    transport, protocol = await loop.create_connection(
        Recorder, *address(server), ssl=client_context(), server_hostname="localhost", **options
    )
    return transport, protocol, server, echoes


@pytest.mark.parametrize("size", [1, 1024, 65536, 3_000_000])
def test_what_is_sent_comes_back(loop: EventLoop, size: int) -> None:
    async def main() -> None:
        transport, protocol, server, _ = await both(loop)
        data = bytes(range(256)) * (size // 256) or b"x"
        transport.write(data)
        while len(protocol.data()) < len(data):
            await asyncio.sleep(0)
        assert protocol.data() == data
        server.close()
        transport.close()
        assert await protocol.heard("connection_lost") == ("connection_lost", None)
        await server.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.parametrize("way", ["close_clients", "abort_clients"])
def test_a_servers_clients_can_be_closed(loop: EventLoop, way: str) -> None:
    async def main() -> None:
        _, protocol, server, echoes = await both(loop)
        await echoes[0].heard("connection_made")
        server.close()
        getattr(server, way)()
        await protocol.heard("connection_lost")
        await echoes[0].heard("connection_lost")
        await server.wait_closed()

    loop.run_until_complete(main())


def test_a_certificate_for_another_name_is_refused(loop: EventLoop, reports: Reports) -> None:
    async def main() -> None:
        protocol = Recorder()
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0, ssl=server_context())
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.create_connection(Recorder, *address(server), ssl=client_context(), server_hostname="other")
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.create_connection(Recorder, *address(server), ssl=ssl.create_default_context())
        server.close()
        while server._clients:  # on Python 3.11 wait_closed does not wait for them
            await asyncio.sleep(0)
        assert "data_received" not in protocol.names()

    loop.run_until_complete(main())
    assert not reports


def test_a_default_context_is_made_for_ssl_true(loop: EventLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert tls.options(True, False, "name", None, None).context.check_hostname
    assert not tls.options(True, False, "", None, None).context.check_hostname
    assert tls.options(True, False, "name", None, None)[1:] == (False, "name", 60.0, 30.0)
    with pytest.raises(ValueError, match="needs a valid SSLContext"):
        tls.options(True, True, None, None, None)


@pytest.mark.parametrize("server_side", [True, False])
def test_a_peer_that_does_not_speak_tls_is_refused(loop: EventLoop, pair: Pair, server_side: bool) -> None:
    async def main() -> None:
        pair[1].send(b"GET / HTTP/1.1\r\n\r\n" * 10)
        options = tls.options(server_context() if server_side else client_context(), server_side, "localhost", None, None)
        with pytest.raises(ssl.SSLError):
            await tls.open_secure(loop, pair[0], Recorder(), options)

    loop.run_until_complete(main())


def test_a_peer_that_leaves_during_the_handshake_is_a_reset(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        pair[1].close()
        with pytest.raises(ConnectionError):
            await tls.open_secure(loop, pair[0], Recorder(), tls.options(server_context(), True, None, None, None))

    loop.run_until_complete(main())


def test_a_handshake_has_a_time_limit(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionAbortedError, match="SSL handshake is taking longer than 0.05 seconds"):
            await loop.create_connection(
                Recorder, sock=pair[0], ssl=client_context(), server_hostname="x", ssl_handshake_timeout=0.05
            )

    loop.run_until_complete(main())


def test_a_server_cuts_clients_that_do_not_shake_hands(loop: EventLoop, reports: Reports) -> None:
    async def main() -> None:
        protocol = Recorder()
        server = await loop.create_server(
            lambda: protocol, "127.0.0.1", 0, ssl=server_context(), ssl_handshake_timeout=0.05
        )
        with socket.create_connection(address(server)) as silent:
            silent.setblocking(False)
            assert await loop.sock_recv(silent, 10) == b""
        server.close()
        await server.wait_closed()
        assert not protocol.events

    loop.run_until_complete(main())
    assert not reports


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context, ssl.create_default_context(cafile=CERTIFICATE)


@pytest.mark.parametrize("failure", ["timeout", "cancelled", "refused"])
def test_nothing_keeps_hold_of_a_context_after_a_failed_handshake(
    loop: EventLoop, pair: Pair, failure: str
) -> None:
    async def main(context: ssl.SSLContext) -> None:
        seconds = 0.02 if failure == "timeout" else 10
        if failure == "refused":
            pair[1].send(b"not TLS at all, and long enough")
        opening = asyncio.ensure_future(
            loop.connect_accepted_socket(Recorder, pair[0], ssl=context, ssl_handshake_timeout=seconds)
        )
        await turns()
        if failure == "cancelled":
            opening.cancel()
        await asyncio.wait([opening])
        assert opening.cancelled() or opening.exception() is not None
        await turns()

    context, _ = contexts()
    alive = weakref.ref(context)
    gc.disable()
    try:
        loop.run_until_complete(main(context))
        del context
        assert alive() is None
    finally:
        gc.enable()


def test_a_plain_connection_can_go_on_in_tls(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        ours, client = await loop.create_connection(Recorder, sock=pair[0])
        theirs, server = await loop.create_connection(Recorder, sock=pair[1])
        secure, other = await asyncio.gather(
            loop.start_tls(ours, client, client_context(), server_hostname="localhost"),
            loop.start_tls(theirs, server, server_context(), server_side=True),
        )
        assert client.names() == ["connection_made"]
        assert "SSL" in type(secure).__name__
        secure.write(b"secret")
        assert await server.heard("data_received") == ("data_received", b"secret")
        other.close()
        assert await client.heard("connection_lost") == ("connection_lost", None)
        await server.heard("connection_lost")

    loop.run_until_complete(main())


def test_tls_runs_in_tls(loop: EventLoop) -> None:
    async def main() -> None:
        outer, client, server, echoes = await both(loop)
        await echoes[0].heard("connection_made")
        outer.pause_reading()
        inner, other = await asyncio.gather(
            loop.start_tls(outer, client, client_context(), server_hostname="localhost"),
            loop.start_tls(echoes[0].transport, echoes[0], server_context(), server_side=True),
        )
        echoes[0].transport = other
        data = bytes(range(256)) * 4096
        inner.write(data)
        while len(client.data()) < len(data):
            await asyncio.sleep(0)
        assert client.data() == data
        inner.close()
        assert await client.heard("connection_lost") == ("connection_lost", None)
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())


def test_start_tls_refuses_what_it_cannot_use(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol = await loop.create_connection(Recorder, sock=pair[0])
        with pytest.raises(TypeError, match="instance of ssl.SSLContext"):
            await loop.start_tls(transport, protocol, None)
        with pytest.raises(TypeError, match="not supported by start_tls"):
            await loop.start_tls(asyncio.Transport(), protocol, client_context())
        with pytest.raises(ValueError, match="positive number"):
            await loop.start_tls(transport, protocol, client_context(), ssl_handshake_timeout=0)
        await finish(transport, protocol)
        with pytest.raises(ConnectionResetError):
            await loop.start_tls(transport, protocol, client_context())

    loop.run_until_complete(main())


def test_a_cancelled_start_tls_closes_the_connection_and_tells_the_protocol(loop: EventLoop, pair: Pair) -> None:
    async def main() -> None:
        transport, protocol = await loop.create_connection(Recorder, sock=pair[0])
        starting = asyncio.ensure_future(loop.start_tls(transport, protocol, client_context(), server_hostname="x"))
        await turns()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await protocol.heard("connection_lost")
        assert transport.is_closing()

    loop.run_until_complete(main())


def test_hundreds_of_connections_leave_nothing_behind(loop: EventLoop) -> None:
    async def connect(times: int) -> None:
        for _ in range(times):
            transport, protocol, server, echoes = await both(loop)
            transport.write(b"x")
            await protocol.heard("data_received")
            transport.close()
            await protocol.heard("connection_lost")
            await echoes[0].heard("connection_lost")
            server.close()

    loop.run_until_complete(connect(30))
    gc.collect()
    gc.disable()
    try:
        # Without the collector: there must be no cycles that only it could free.
        before = len(gc.get_objects())
        tracemalloc.start()
        loop.run_until_complete(connect(200))
        grown, _ = tracemalloc.get_traced_memory()
        assert len(gc.get_objects()) - before < 200 and grown < 200_000
    finally:
        tracemalloc.stop()
        gc.enable()
