"""Slow and silent clients are let go, each within its limit, and hold nobody up. The limits are short here."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.client import Client, ask, request
from support.serving import Server

LIMITS = {"first-byte": 0.6, "head": 0.6, "body": 0.6, "keep-alive": 0.4, "write": 0.6}
SLACK = 5.0
"""The sweep looks twice a second, and the machine may be busy; the limits that stand without options are longer."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    from whole.conftest import serve_tests_app

    options = [word for name, limit in LIMITS.items() for word in (f"--timeout-{name}", str(limit))]
    with serve_tests_app(*options, "--min-body-rate", "1000", "--log-level", "debug") as server:
        yield server
        assert server.stop() == 0
        assert "Traceback" not in server.stderr


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client((server.host, server.port)) as client:
        yield client
    assert ask((server.host, server.port), request()).body == b"hello"


class Stopwatch:
    def __init__(self) -> None:
        self.begin = time.monotonic()

    def within(self, limit: str) -> bool:
        """The limit has passed, and not long ago."""
        return LIMITS[limit] * 0.9 <= time.monotonic() - self.begin <= LIMITS[limit] + SLACK


def test_a_client_that_says_nothing_is_closed(client: Client) -> None:
    watch = Stopwatch()
    assert client.is_closed() and watch.within("first-byte")


def test_a_head_that_stops_is_answered_408(client: Client) -> None:
    watch = Stopwatch()
    client.send(b"GET / HTTP/1.1\r\nHo")
    answer = client.answer()
    assert answer.status == 408 and answer.get("connection") == "close"
    assert client.is_closed() and watch.within("head")


def test_a_head_that_drips_is_answered_408(client: Client) -> None:
    watch = Stopwatch()
    client.send(b"GET / HTTP/1.1\r\n")
    client.drip(b"x-drip: drip\r\n", 0.05, 10)
    assert watch.within("head") and client.answer().status == 408


def test_the_head_of_a_second_request_may_not_drip_either(client: Client) -> None:
    client.send(request())
    client.answer()
    watch = Stopwatch()
    client.send(b"GET / HTTP/1.1\r\n")
    client.drip(b"x-drip: drip\r\n", 0.05, 10)
    assert watch.within("head") and client.answer().status == 408


def test_an_idle_connection_is_closed_without_a_word(client: Client) -> None:
    client.send(request())
    client.answer()
    watch = Stopwatch()
    assert client.is_closed() and watch.within("keep-alive")


def test_a_body_that_stops_is_answered_408_and_the_app_told(server: Server, client: Client) -> None:
    watch = Stopwatch()
    client.send(request("/count", "POST", "content-length: 1000\r\n") + b"x")
    assert client.answer().status == 408 and watch.within("body")
    server.wait_line("upload cut")


def test_a_body_that_drips_is_answered_408(client: Client) -> None:
    watch = Stopwatch()
    client.send(request("/count", "POST", "content-length: 1000\r\n"))
    client.drip(b"x", 0.05, 10)
    assert watch.within("body") and client.answer().status == 408


def test_a_body_that_comes_fast_enough_may_take_longer_than_the_limit(client: Client) -> None:
    client.send(request("/count", "POST", "content-length: 5000\r\n"))
    for _ in range(10):
        client.send(b"x" * 500)
        time.sleep(0.12)
    assert client.answer().body.startswith(b"5000 ")


def test_time_in_which_the_app_does_not_read_is_not_the_clients(client: Client) -> None:
    client.send(request("/count?1.5", "POST", "content-length: 10\r\n") + b"12345")
    assert client.is_silent(1.2)
    client.send(b"67890")
    assert client.answer().body == b"10 10"


def test_a_reader_that_stops_is_cut_and_the_app_told(server: Server) -> None:
    watch = Stopwatch()
    with Client((server.host, server.port), receive_buffer=4096) as client:
        client.send(request("/big?100000000"))
        server.wait_line("send raised ClientDisconnected on /big")
        assert watch.within("write")
        with pytest.raises((ConnectionResetError, AssertionError)):
            client.answer()


def test_a_reader_that_is_only_slow_gets_everything(server: Server) -> None:
    with Client((server.host, server.port), receive_buffer=65536) as client:
        client.send(request("/unread?3000000"))
        client.head()
        got = b""
        while len(got) < 3_000_000:
            got += client.take(min(300_000, 3_000_000 - len(got)))
            time.sleep(0.12)
        assert got == b"y" * 3_000_000


def test_many_of_them_hold_nobody_up(server: Server) -> None:
    """Some of each kind, and others are answered as ever; all are gone within their limits."""
    address = (server.host, server.port)
    stalled: list[Client] = []
    starts: list[Any] = [b"", b"GET / HT", request("/count", "POST", "content-length: 9\r\n"), request("/big?100000000")]
    try:
        for number in range(200):
            stalled.append(Client(address, receive_buffer=4096))
            stalled[-1].send(starts[number % 4])
        begin = time.monotonic()
        while time.monotonic() - begin < max(LIMITS.values()) + 1:
            assert ask(address, request()).body == b"hello"
        for client in stalled[::4]:
            assert client.is_closed()
        for client in stalled[1::4] + stalled[2::4]:
            assert client.answer().status == 408
    finally:
        for client in stalled:
            client.socket.close()
