import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from penstock_reactor import EventLoop
from support.wire import Wire, hello

from penstock.codec.errors import ProtocolError
from penstock.connection.http import HttpConnection
from penstock.connection.proxied import ProxiedConnection
from penstock.connection.states import State
from penstock.connection.trust import Trust

Make = Callable[..., Wire]

LINE = b"PROXY TCP4 192.0.2.77 198.51.100.2 4711 443\r\n"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Before:
    """A connection that waits for its header, on a pair of sockets; what begins after it is an HTTP connection."""

    def __init__(self, wire: Wire, peer: Any = ("127.0.0.1", 9), trusted: str = "127.0.0.1", opens: bool = True) -> None:
        self.wire = wire
        # Its own connection was never opened, and never counted.
        wire.connection.client = None
        self.begun: list[HttpConnection] = []
        ours, self.client = socket.socketpair()
        ours.setblocking(False)
        self.client.setblocking(False)
        self._socket = ours
        self.proxied: Any = ProxiedConnection(wire.service, ours, peer, ("10.0.0.9", 8000), Trust(trusted), self._begin)
        if opens:
            self.proxied.open()

    def _begin(self, client: Any, server: Any) -> None:
        self.begun.append(HttpConnection(self.wire.service, self._socket, client, server))
        self.begun[0].open()

    def say(self, octets: bytes) -> None:
        self.client.sendall(octets)
        self.wire.turn()

    def hear(self) -> bytes:
        self.wire.turn()
        return self.client.recv(65536)

    def is_closed(self) -> bool:
        """Without a word."""
        self.wire.turn()
        try:
            return self.client.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        for connection in (self.proxied, *self.begun):
            if connection is not None:
                connection.close()
        self._socket.close()
        self.client.close()


@pytest.fixture
def before(wired: Make) -> Iterator[Callable[..., Before]]:
    made: list[Before] = []

    def make(options: Any = {}, **more: Any) -> Before:
        made.append(Before(wired(hello, opens=False, **options), **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_client_is_the_one_the_header_names_and_the_request_behind_it_is_answered(before: Any) -> None:
    it = before()
    it.say(LINE + GET)
    assert it.hear().startswith(b"HTTP/1.1 200 ")
    assert (it.begun[0].client, it.begun[0].server) == (("192.0.2.77", 4711), ("198.51.100.2", 443))
    assert it.proxied not in it.wire.service.connections and it.begun[0] in it.wire.service.connections


def test_it_may_come_octet_by_octet_and_nothing_behind_it_is_taken(before: Any) -> None:
    it = before()
    for at in range(len(LINE)):
        assert it.begun == []
        it.say(LINE[at : at + 1])
    assert len(it.begun) == 1 and it.begun[0].codec.buffer.size == 0
    it.say(GET)
    assert it.hear().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("cut", [1, 6, 12, len(LINE) - 1, len(LINE), len(LINE) + 1, len(LINE) + 10])
def test_it_may_be_cut_anywhere(before: Any, cut: int) -> None:
    it = before()
    it.say((LINE + GET)[:cut])
    it.say((LINE + GET)[cut:])
    assert it.hear().startswith(b"HTTP/1.1 200 ")


def test_where_the_header_names_nobody_the_proxy_is_the_client(before: Any) -> None:
    it = before()
    it.say(b"PROXY UNKNOWN\r\n")
    assert (it.begun[0].client, it.begun[0].server) == (("127.0.0.1", 9), ("10.0.0.9", 8000))


def test_anything_else_is_closed_without_a_word_and_with_a_line(before: Any, caplog: pytest.LogCaptureFixture) -> None:
    it = before()
    with caplog.at_level("INFO", "penstock.error"):
        it.say(GET)
    assert it.is_closed() and it.begun == [] and not it.wire.service.connections
    assert "Refused the proxy 127.0.0.1:9: 400, no PROXY protocol header" in caplog.text


@pytest.mark.parametrize("peer", [("127.0.0.2", 9), None])
def test_a_peer_that_is_not_trusted_is_closed_at_once(before: Any, peer: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "penstock.error"):
        it = before(peer=peer)
    assert it.is_closed() and "--proxy-protocol-allow-ips" in caplog.text
    assert not it.wire.service.connections


def test_a_peer_on_a_unix_socket_may_be_trusted(before: Any) -> None:
    it = before(peer=None, trusted="unix")
    assert str(it.proxied) == "the proxy on a Unix socket"
    it.say(LINE)
    assert it.begun[0].client == ("192.0.2.77", 4711)


def test_no_header_in_time_is_the_end(before: Any, caplog: pytest.LogCaptureFixture) -> None:
    it = before({"timeout_first_byte": 10.0})
    it.say(LINE[:20])
    with caplog.at_level("INFO", "penstock.error"):
        it.wire.wait(11)
    assert it.is_closed() and "no PROXY protocol header in time" in caplog.text


def test_a_look_whether_somebody_is_there_is_no_fault(before: Any, caplog: pytest.LogCaptureFixture) -> None:
    it = before()
    with caplog.at_level("INFO", "penstock.error"):
        it.client.shutdown(socket.SHUT_WR)
        it.wire.turn()
    assert it.proxied.state is State.CLOSED and caplog.text == ""


def test_a_client_that_is_reset_is_let_go(before: Any) -> None:
    it = before()
    it.client.close()
    it.wire.turn()
    assert it.proxied.state is State.CLOSED and not it.wire.service.connections


def test_clients_are_counted_by_their_own_address(before: Any) -> None:
    it = before({"limit_connections_per_client": 1})
    assert it.wire.service._clients == {}
    it.say(LINE)
    assert it.wire.service._clients == {"192.0.2.77": 1}
    it.begun[0].close()
    assert it.wire.service._clients == {}


def test_one_too_many_is_closed_without_a_word(before: Any) -> None:
    it = before(opens=False)
    it.proxied.turn_away(ProtocolError(503, "too many connections are open", "RFC 9110 15.6.4"))
    assert it.is_closed() and not it.wire.service.connections


def test_nothing_is_written_before_the_connection_begins(before: Any) -> None:
    it = before()
    it.proxied._on_drained()
    assert it.proxied.state is State.IDLE


def test_a_drain_does_not_end_between_the_header_and_the_connection_that_begins(before: Any, loop: EventLoop) -> None:
    it = before({"timeout_first_byte": 10.0}, opens=False)
    draining = loop.create_task(it.wire.service.drain())
    it.proxied.open()
    it.say(LINE)
    assert it.begun and not draining.done()
    it.begun[0].close()
    it.wire.turn()
    assert draining.done()


def test_what_waited_for_the_header_needs_no_collector(before: Any) -> None:
    it = before()
    waited = weakref.ref(it.proxied)
    gc.disable()
    try:
        it.say(LINE)
        it.proxied = None
        assert waited() is None
    finally:
        gc.enable()


def test_in_a_drain_a_header_may_still_come_shortly(before: Any, loop: EventLoop) -> None:
    it = before({"timeout_first_byte": 10.0}, opens=False)
    draining = loop.create_task(it.wire.service.drain())
    it.proxied.open()
    it.wire.turn()
    assert not draining.done()
    it.say(LINE + GET)
    assert it.hear().startswith(b"HTTP/1.1 200 ")
    it.begun[0].close()
    it.wire.turn()
    assert draining.done()
