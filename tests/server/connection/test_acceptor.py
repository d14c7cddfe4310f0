import asyncio
import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from penstock_reactor import EventLoop
from support.client import Client, request
from support.clock import Clock
from support.faults import Fault, FaultySocket, exhausted
from support.wire import hello, serving

from penstock.connection.acceptor import ASIDE, BATCH, FEW, PAUSE, WARN_EVERY, Acceptor
from penstock.connection.exchange import Exchange
from penstock.connection.service import Service
from penstock.settings import Settings


class Listening:
    """A listening socket with an acceptor on a loop."""

    def __init__(self, loop: EventLoop, sock: socket.socket, options: dict[str, Any], faults: dict[str, dict[int, Fault]]) -> None:
        self.loop = loop
        self.sock = sock
        self.address = sock.getsockname()
        sock.setblocking(False)
        self.faulty = FaultySocket(sock, **faults)
        self.service = Service(Settings(**options), loop, serving(hello))
        self.acceptor = Acceptor(self.service, cast(socket.socket, self.faulty))
        self.acceptor.start()

    def turn(self, turns: int = 5) -> None:
        for _ in range(turns):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def connect(self) -> Client:
        client = Client(self.address)
        self.turn()
        return client

    def close(self) -> None:
        self.acceptor.stop(takes_backlog=False)
        for connection in list(self.service.connections):
            connection.close()
        if self.service._sweeper is not None:
            self.service._sweeper.cancel()
        self.sock.close()


@pytest.fixture
def listening(loop: EventLoop) -> Iterator[Any]:
    made: list[Listening] = []

    def make(options: dict[str, Any] | None = None, sock: socket.socket | None = None, **faults: dict[int, Fault]) -> Listening:
        made.append(Listening(loop, sock or socket.create_server(("127.0.0.1", 0)), options or {}, faults))
        return made[-1]

    yield make
    for each in made:
        each.close()


def answer(listening: Listening, client: Client) -> Any:
    client.send(request("/asked"))
    listening.turn()
    return client.answer()


def test_a_connection_is_accepted_and_answered(listening: Any) -> None:
    server = listening()
    with server.connect() as client:
        (connection,) = server.service.connections
        assert connection.client == client.socket.getsockname()
        assert connection.server == server.address
        assert answer(server, client).body == b"/asked"


def test_what_came_with_the_connection_is_answered_in_the_same_step(listening: Any) -> None:
    server = listening()
    with Client(server.address) as client:
        client.send(request("/fast"))
        server.turn()
        assert client.answer().body == b"/fast"


def test_many_connections_are_taken_in_batches(listening: Any) -> None:
    server = listening(_accept={})
    clients = [Client(server.address) for _ in range(BATCH + 10)]
    try:
        server.acceptor._on_readable()
        assert len(server.service.connections) == BATCH
        server.turn()
        assert len(server.service.connections) == BATCH + 10
    finally:
        for client in clients:
            client.socket.close()


def test_of_many_connections_a_few_are_taken_at_once_unless_the_others_have_had_their_time(listening: Any) -> None:
    server = listening()
    server.loop.time = clock = Clock()
    server.acceptor._on_readable()
    clients = [Client(server.address) for _ in range(3 * FEW)]
    try:
        server.acceptor._on_readable()
        assert len(server.service.connections) == FEW
        clock.advance(1)
        server.acceptor._on_readable()
        assert len(server.service.connections) == len(clients)
    finally:
        for client in clients:
            client.socket.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the kernel does not say how much it holds back")
def test_little_of_an_answer_that_nobody_reads_is_left_to_the_kernel(listening: Any) -> None:
    server = listening()
    with server.connect():
        (connection,) = server.service.connections
        connection.channel.write([bytes(8 << 20)])
        assert 8 << 20 > connection.channel.queued > 7 << 20


def test_a_socket_on_every_address_says_which_one_was_called(listening: Any) -> None:
    server = listening(sock=socket.create_server(("0.0.0.0", 0)))
    with Client(("127.0.0.1", server.address[1])) as client:
        server.turn()
        (connection,) = server.service.connections
        assert connection.server == ("127.0.0.1", server.address[1])
        assert answer(server, client).status == 200


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets here")
def test_a_unix_socket_has_a_path_and_clients_without_a_name(listening: Any, tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    server = listening(sock=sock, options={"limit_connections_per_client": 1})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        server.turn()
        (connection,) = server.service.connections
        assert (connection.client, connection.server) == (None, (str(tmp_path / "s"), None))


# -- the system refuses


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_process_without_descriptors_pauses_and_resumes_by_itself(
    listening: Any, call: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = listening(_accept={call: exhausted()})
    clients = [Client(server.address) for _ in range(3)]
    try:
        server.turn()
        assert len(server.service.connections) == call - 1
        assert [line for line in caplog.messages if "Accepting pauses" in line and "ulimit" in line]
        count = server.faulty.calls["_accept"]
        server.turn(50)
        assert server.faulty.calls["_accept"] == count, "it does not spin"
        server.loop.run_until_complete(asyncio.sleep(PAUSE * 1.2))
        assert len(server.service.connections) == 3
        assert answer(server, clients[2]).status == 200
    finally:
        for client in clients:
            client.socket.close()


def test_the_warning_comes_once_in_a_while(listening: Any, caplog: pytest.LogCaptureFixture) -> None:
    server = listening(_accept=dict.fromkeys(range(1, 10), exhausted()))
    clock = server.loop.time = Clock()
    for _ in range(5):
        server.acceptor._on_readable()
        clock.advance(PAUSE)
        server.acceptor.start()
    assert len(caplog.messages) == 1
    clock.advance(WARN_EVERY)
    server.acceptor._on_readable()
    assert len(caplog.messages) == 2
    del server.loop.time


@pytest.mark.parametrize("error", [OSError(errno.ENOBUFS, "No buffer space"), OSError(errno.EPERM, "a firewall"), OSError(errno.EINVAL, "?")])
def test_no_error_of_accept_ends_the_server_or_makes_it_spin(listening: Any, error: OSError) -> None:
    server = listening(_accept={1: error})
    client = server.connect()
    server.turn(20)
    assert server.faulty.calls["_accept"] == 1
    server.loop.run_until_complete(asyncio.sleep(PAUSE * 1.2))
    with client:
        assert answer(server, client).status == 200


def test_a_client_that_left_before_it_was_accepted_does_not_hold_up_the_next(listening: Any) -> None:
    server = listening(_accept={1: ConnectionAbortedError()})
    with server.connect() as client:
        assert answer(server, client).status == 200


def test_a_client_that_left_while_it_is_accepted_is_forgotten(listening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = listening()

    def gone(*_: Any) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(server.acceptor, "_connect", gone)
    with server.connect() as client:
        assert client.is_closed()
    monkeypatch.undo()
    with server.connect() as client:
        assert answer(server, client).status == 200


def test_a_loop_that_can_watch_no_more_sockets_pauses(listening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = listening()
    with monkeypatch.context() as patched:
        def full(*_: Any) -> None:
            raise OSError("select() takes no more")

        patched.setattr(server.loop, "add_reader", full)
        with server.connect() as client:
            assert client.is_closed()
    assert not server.service.connections
    server.loop.run_until_complete(asyncio.sleep(PAUSE * 1.2))
    with server.connect() as client:
        assert answer(server, client).status == 200


# -- limits


@pytest.mark.parametrize("option", ["limit_connections", "limit_connections_per_client"])
def test_above_a_limit_clients_are_turned_away_and_beyond_that_dropped(
    listening: Any, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.connection.acceptor.FLOOD", 2)
    server = listening({option: 2})
    clients = [server.connect() for _ in range(5)]
    try:
        for client in clients[:2]:
            assert answer(server, client).status == 200
        for client in clients[2:4]:
            turned_away = client.answer()
            assert (turned_away.status, turned_away.get("retry-after")) == (503, "1")
            assert turned_away.get("connection") == "close"
        assert clients[4].is_closed()
        clients[0].socket.close()
        for client in clients[2:4]:
            client.socket.close()
        server.turn()
        with server.connect() as client:
            assert answer(server, client).status == 200
    finally:
        for client in clients:
            client.socket.close()


def test_behind_a_proxy_a_limit_of_connections_is_as_many_as_it_says(listening: Any) -> None:
    """What waited for the header takes no place beside the connection that begins behind it."""
    server = listening({"limit_connections": 1, "proxy_protocol": True})
    with server.connect() as client:
        client.send(b"PROXY TCP4 192.0.2.77 198.51.100.2 4711 443\r\n")
        assert answer(server, client).status == 200
        with server.connect() as second:
            assert second.is_closed()


# -- stopping


def test_after_stopping_the_backlog_is_left_or_taken(listening: Any) -> None:
    for takes in (True, False):
        server = listening()
        clients = [Client(server.address) for _ in range(3)]
        server.acceptor.stop(takes_backlog=takes)
        assert len(server.service.connections) == (3 if takes else 0)
        server.turn()
        assert len(server.service.connections) == (3 if takes else 0)
        for client in clients:
            client.socket.close()


def test_stopping_during_a_pause_is_final(listening: Any) -> None:
    server = listening(_accept={1: exhausted()})
    server.loop.time = clock = Clock()
    with server.connect():
        # The drain, which begins after it, is not asked: it may take a turn to begin, in which the pause is over.
        server.acceptor.stop(takes_backlog=False)
        clock.advance(2 * PAUSE)
        server.turn()
        assert not server.service.connections


def test_above_its_share_it_leaves_connections_to_others_for_a_moment_and_then_takes_them(listening: Any) -> None:
    server = listening()
    told: list[int] = []
    server.service.on_accepted = lambda: told.append(len(server.service.connections))
    server.service.fair_share = 0.5
    with server.connect() as first:
        assert answer(server, first).body == b"/asked" and told == [1]
        server.service.running.add(cast(Any, "a long one"))
        server.loop.time = clock = Clock()
        with server.connect() as second:
            second.send(request("/asked"))
            server.turn()
            assert told == [1] and len(server.service.connections) == 1
            # Those that it has are served meanwhile.
            assert answer(server, first).body == b"/asked"
            clock.advance(ASIDE)
            server.turn()
            assert told == [1, 2]
            assert second.answer().body == b"/asked"
        # And the next time again.
        with server.connect():
            server.turn()
            assert told == [1, 2]
        server.service.running.clear()


def test_who_has_stepped_aside_takes_what_waits_when_all_is_to_end(listening: Any) -> None:
    server = listening()
    server.service.fair_share = 0.5
    server.service.running.add(cast(Any, "a long one"))
    with server.connect() as client:
        assert len(server.service.connections) == 0
        server.acceptor.stop(takes_backlog=True)
        assert answer(server, client).body == b"/asked"
        server.service.running.clear()


def test_what_comes_behind_the_last_request_costs_nobody_its_answer(listening: Any) -> None:
    server = listening()
    client = server.connect()
    usual = server.service.serve

    def serve(exchange: Any) -> Any:
        # Unread when the connection is closed: the kernel then sends RST, and throws away what it still holds.
        client.send(b"more")
        return usual(exchange)

    server.service.serve = serve
    client.send(b"GET /asked HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    server.turn()
    assert client.answer().status == 200
    client.socket.close()


def test_an_empty_line_behind_the_last_body_costs_nobody_its_answer(listening: Any) -> None:
    """RFC 9112 2.2: it comes when the answer is complete, and the kernel still holds most of that."""

    async def much(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.write(b"x" * 100_000, True)

    server = listening()
    server.service.serve = serving(much)
    with Client(server.address, receive_buffer=4096) as client:
        client.send(request("/", "POST", "connection: close\r\n", b"hello"))
        server.turn()
        client.send(b"\r\n")
        server.turn()
        assert len(client.answer().body) == 100_000
