"""Servers: accepting, resting when out of descriptors, and closing with or without the clients."""

import asyncio
import contextvars
import errno
import gc
import socket
import ssl
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop, acceptor
from support.faults import FaultySocket
from support.recorders import Recorder
from support.streams import finish, needs_unix, turns

Reports = list[dict[str, Any]]


class Clients:
    """A protocol factory that remembers its protocols."""

    def __init__(self) -> None:
        self.made: list[Recorder] = []

    def __call__(self) -> Recorder:
        self.made.append(Recorder())
        return self.made[-1]


def connect(server: Any) -> socket.socket:
    return socket.create_connection(server.sockets[0].getsockname(), timeout=10)


async def made(clients: Clients, count: int) -> None:
    while len(clients.made) < count or not clients.made[-1].transport:
        await asyncio.sleep(0)


def test_all_that_waits_is_accepted_and_told_in_one_turn(loop: EventLoop) -> None:
    async def main() -> None:
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0, start_serving=False)
        assert not server.is_serving() and server.get_loop() is loop
        await server.start_serving()
        await server.start_serving()
        peers = [connect(server) for _ in range(5)]
        await turns(2)
        assert [client.names() for client in clients.made] == [["connection_made"]] * 5
        names = [client.transport.get_extra_info("peername") for client in clients.made]
        assert sorted(names) == sorted(peer.getsockname() for peer in peers)
        server.close()
        for peer, client in zip(peers, clients.made):
            peer.close()
            await client.heard("connection_lost")

    loop.run_until_complete(main())


def test_a_server_is_serving_until_it_is_closed(loop: EventLoop) -> None:
    async def main() -> None:
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        assert server.is_serving()
        (sock,) = server.sockets
        assert isinstance(sock, asyncio.trsock.TransportSocket)
        address = sock.getsockname()
        server.close()
        server.close()
        assert not server.is_serving() and server.sockets == ()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        await server.wait_closed()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()

    loop.run_until_complete(main())


def test_a_given_socket_is_used_itself(loop: EventLoop) -> None:
    async def main() -> None:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        async with await loop.create_server(Recorder, sock=sock) as server:
            assert server.sockets[0].fileno() == sock.fileno()
        assert sock.fileno() == -1

    loop.run_until_complete(main())


def test_serving_for_ever_ends_with_its_cancellation(loop: EventLoop) -> None:
    async def main() -> None:
        server = await loop.create_server(Recorder, "127.0.0.1", 0, start_serving=False)
        serving = asyncio.ensure_future(server.serve_forever())
        await turns()
        assert server.is_serving()
        with pytest.raises(RuntimeError, match="already being awaited"):
            await server.serve_forever()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not server.is_serving()

    loop.run_until_complete(main())


def test_wait_closed_waits_for_closing_and_for_the_clients(loop: EventLoop) -> None:
    async def main() -> None:
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        before = asyncio.ensure_future(server.wait_closed())
        with connect(server):
            await made(clients, 1)
            server.close()
            after = asyncio.ensure_future(server.wait_closed())
            await turns()
            assert not before.done()
            # Up to 3.11 asyncio did not wait for clients once the server was closed.
            assert after.done() == (sys.version_info < (3, 12))
        await asyncio.gather(before, after)
        assert clients.made[0].names()[-1] == "connection_lost"

    loop.run_until_complete(main())


@pytest.mark.parametrize("way", ["close_clients", "abort_clients"])
def test_clients_can_be_closed_with_the_server(loop: EventLoop, way: str) -> None:
    async def main() -> None:
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        with connect(server), connect(server):
            await made(clients, 2)
            server.close()
            getattr(server, way)()
            for client in clients.made:
                assert await client.heard("connection_lost") == ("connection_lost", None)
            await server.wait_closed()

    loop.run_until_complete(main())


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_accepting_rests_when_descriptors_or_memory_run_out(
    loop: EventLoop, reports: Reports, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def main() -> None:
        monkeypatch.setattr(acceptor, "REST_SECONDS", 0.05)
        clients = Clients()
        listener = socket.create_server(("127.0.0.1", 0))
        faulty: Any = FaultySocket(listener, accept={1: OSError(code, "no more")})
        server = await loop.create_server(clients, sock=faulty)
        with socket.create_connection(listener.getsockname()):
            while not reports:
                await asyncio.sleep(0)
            await turns(5)
            assert faulty.calls["accept"] == 1 and not clients.made
            await made(clients, 1)
            server.close()
            await finish(clients.made[0].transport, clients.made[0])

    loop.run_until_complete(main())
    assert [report["message"] for report in reports] == ["socket.accept() out of system resource"]
    assert reports[0]["exception"].errno == code and "socket" in reports[0]


def test_a_server_closed_while_it_rests_stays_closed(
    loop: EventLoop, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr(acceptor, "REST_SECONDS", 0.01)
        monkeypatch.setattr(loop._poller, "free_room", lambda: 0)
        server = await loop.create_server(Recorder, "127.0.0.1", 0)
        with connect(server):
            while not reports:
                await asyncio.sleep(0)
            server.close()
            await asyncio.sleep(0.03)
        assert len(reports) == 1 and "select" in str(reports[0]["exception"])

    loop.run_until_complete(main())


def test_a_factory_that_fails_costs_its_connection_only(loop: EventLoop, reports: Reports) -> None:
    error = ValueError("no protocol")
    clients = Clients()

    def factory() -> Recorder:
        if not reports:
            raise error
        return clients()

    async def main() -> None:
        server = await loop.create_server(factory, "127.0.0.1", 0)
        with connect(server) as refused, connect(server) as accepted:
            await made(clients, 1)
            assert refused.recv(1) == b""
            accepted.send(b"x")
            await clients.made[0].heard("data_received")
            server.close()
        await clients.made[0].heard("connection_lost")

    loop.run_until_complete(main())
    (report,) = reports
    assert report["exception"] is error and "incoming connection" in report["message"]


def test_connections_begin_in_the_context_of_the_server(loop: EventLoop) -> None:
    var = contextvars.ContextVar("var", default="unset")
    seen: list[str] = []

    class Looks(Recorder):
        def connection_made(self, transport: Any) -> None:
            seen.append(var.get())
            var.set("changed")
            transport.abort()

    async def main() -> None:
        var.set("server's")
        async with await loop.create_server(Looks, "127.0.0.1", 0) as server:
            with connect(server), connect(server):
                while len(seen) < 2:
                    await asyncio.sleep(0)
        assert var.get() == "server's"

    loop.run_until_complete(main())
    assert seen == ["server's"] * 2


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({}, ValueError, "Neither host/port nor sock"),
        ({"host": "h", "sock": 1}, ValueError, "can not be specified at the same time"),
        ({"host": "h", "ssl": True}, TypeError, "must be an SSLContext or None"),
        ({"host": "h", "ssl_handshake_timeout": 1}, ValueError, "only meaningful with ssl"),
        ({"host": "h", "ssl_shutdown_timeout": 1}, ValueError, "only meaningful with ssl"),
        ({"host": "h", "unknown": 1}, TypeError, "unknown"),
    ],
)
def test_arguments_that_do_not_fit_together_are_refused(
    loop: EventLoop, arguments: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        loop.run_until_complete(loop.create_server(Recorder, **arguments))


def test_sockets_of_other_kinds_are_refused(loop: EventLoop) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for call in (loop.create_server, loop.connect_accepted_socket):
            with pytest.raises(ValueError, match="A Stream Socket was expected"):
                loop.run_until_complete(call(Recorder, sock=datagrams))
    with ssl.create_default_context().wrap_socket(socket.socket(), server_hostname="x") as secure:
        with pytest.raises(TypeError, match="cannot be of type SSLSocket"):
            loop.run_until_complete(loop.create_server(Recorder, sock=secure))


@needs_unix
@pytest.mark.parametrize("cleanup", [True, False])
def test_a_unix_server_removes_its_file_if_asked(loop: EventLoop, tmp_path: Path, cleanup: bool) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        clients = Clients()
        server = await loop.create_unix_server(clients, path, cleanup_socket=cleanup)
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            await made(clients, 1)
            server.close()
        await clients.made[0].heard("connection_lost")
        assert path.exists() == (not cleanup)

    loop.run_until_complete(main())
    for arguments in ({}, {"path": "p", "sock": 1}):
        with pytest.raises(ValueError, match="sock"):
            loop.run_until_complete(loop.create_unix_server(Recorder, **arguments))
    with socket.socket() as internet, pytest.raises(ValueError, match="UNIX Domain Stream Socket"):
        loop.run_until_complete(loop.create_unix_server(Recorder, sock=internet))


def test_a_socket_accepted_elsewhere_becomes_a_transport(loop: EventLoop) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            transport, protocol = await loop.connect_accepted_socket(Recorder, ours)
            theirs.send(b"x")
            await protocol.heard("data_received")
            await finish(transport, protocol)

    loop.run_until_complete(main())


def test_thousands_of_clients_leave_nothing_behind(loop: EventLoop) -> None:
    async def serve(times: int) -> None:
        clients = Clients()
        server = await loop.create_server(clients, "127.0.0.1", 0)
        for _ in range(times):
            _, protocol = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
            protocol.transport.write(b"x")
            protocol.transport.close()
            await protocol.heard("connection_lost")
            await made(clients, 1)
            await clients.made.pop().heard("connection_lost")
        server.close()

    loop.run_until_complete(serve(100))
    gc.collect()
    gc.disable()
    try:
        # Without the collector: there must be no cycles that only it could free.
        before = len(gc.get_objects())
        tracemalloc.start()
        loop.run_until_complete(serve(1000))
        grown, _ = tracemalloc.get_traced_memory()
        assert len(gc.get_objects()) - before < 200 and grown < 200_000
    finally:
        tracemalloc.stop()
        gc.enable()
