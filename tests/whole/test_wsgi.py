"""A WSGI application served as its users serve it: streams both ways, clients that leave, threads that are all busy."""

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from support.client import Client, ask, request
from support.serving import CHECKOUT, Server, serving

CHUNKED = "transfer-encoding: chunked\r\n"


def serve(*options: str, **more: Any) -> AbstractContextManager[Server]:
    return serving("support.wsgi_apps:app", "--app-dir", str(CHECKOUT / "tests"), *options, **more)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("--timeout-write", "1") as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client((server.host, server.port)) as client:
        yield client
    assert ask((server.host, server.port), request()).body == b"hello"


def chunk(octets: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(octets), octets)


def test_requests_are_answered_one_after_another_on_one_connection(client: Client) -> None:
    for _ in range(3):
        client.send(request())
        answer = client.answer()
        assert (answer.status, answer.body, answer.get("content-length")) == (200, b"hello", "5")
    client.send(request() * 5)
    assert [client.answer().body for _ in range(5)] == [b"hello"] * 5


def test_the_server_passes_the_validator_of_the_standard_library(client: Client, server: Server) -> None:
    client.send(request("/valid", "GET", "x-field: 1\r\ncookie: a=b\r\n"))
    answer = client.answer()
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize("is_chunked", [True, False])
def test_each_line_is_answered_before_the_next_is_sent(client: Client, is_chunked: bool) -> None:
    client.send(request("/echo", "POST", CHUNKED if is_chunked else "content-length: 8\r\n"))
    for number, line in enumerate([b"one\n", b"two\n"]):
        client.send(chunk(line) if is_chunked else line)
        if not number:
            assert client.head().status == 200
        assert client.line() == b"4" and client.take(6) == line + b"\r\n"
    if is_chunked:
        client.send(b"0\r\n\r\n")
    assert client.line() == b"0" and client.line() == b""


def test_a_large_body_is_read_as_it_comes(client: Client) -> None:
    client.send(request("/count", "POST", body=b"x" * 5_000_000))
    assert client.answer().body == b"5000000"


def test_a_client_that_waits_for_100_continue_sends_when_the_body_is_read(client: Client) -> None:
    expecting = "expect: 100-continue\r\ncontent-length: 5\r\n"
    client.send(request("/read-after", "POST", expecting))
    answer = client.head()
    assert answer.status == 200
    client.send(b"12345")
    assert client.line() == b"6" and client.take(8) == b"first \r\n" and client.line() == b"5" and client.take(5) == b"12345"


def test_a_client_whose_body_is_not_read_is_not_asked_for_it(client: Client) -> None:
    client.send(request("/", "POST", "expect: 100-continue\r\ncontent-length: 5\r\n"))
    answer = client.answer()
    assert (answer.status, answer.interim, answer.get("connection")) == (200, [], "close")


def test_a_failure_is_answered_500_and_the_log_shows_the_applications_lines_alone(client: Client, server: Server) -> None:
    client.send(request("/fail"))
    assert client.answer().status == 500
    server.wait_line("LookupError: of the application")
    trace = server.stderr.rpartition("Traceback")[2]
    assert "wsgi_apps.py" in trace and "penstock/asgi" not in trace and "bridge.py" not in trace


def test_a_failure_in_the_midst_cuts_the_connection(client: Client) -> None:
    client.send(request("/fail-late"))
    client.head()
    with pytest.raises((ConnectionResetError, AssertionError)):
        client.take(100)


def test_an_application_that_ends_the_program_ends_its_request(client: Client) -> None:
    client.send(request("/leave"))
    assert client.answer().status == 500


def test_what_it_writes_to_its_errors_is_in_the_log(client: Client, server: Server) -> None:
    client.send(request("/errors"))
    client.answer()
    server.wait_line("^ERROR: +a line of the application$")


def test_a_client_that_leaves_frees_a_thread_that_sends_without_end(server: Server) -> None:
    with Client((server.host, server.port)) as client:
        client.send(request("/big"))
        client.take(100_000)
    server.wait_line("big closed")


def test_a_client_that_stops_reading_frees_the_thread_when_its_time_is_up(server: Server) -> None:
    already = server.stdout.count("big closed")
    with Client((server.host, server.port), receive_buffer=4096) as client:
        client.send(request("/big"))
        server.wait_line("(?s)" + ".*big closed" * (already + 1))


def test_a_client_that_leaves_frees_a_thread_that_waits_for_its_body(server: Server) -> None:
    before = server.stderr.count("Traceback")
    with Client((server.host, server.port)) as client:
        client.send(request("/upload", "POST", "content-length: 100\r\n") + b"half")
        server.wait_line("upload begun")
    server.wait_line("upload ended by ClientDisconnected")
    ask((server.host, server.port), request("/errors"))
    server.wait_line("a line of the application")
    assert server.stderr.count("Traceback") == before


def test_a_slow_client_holds_the_application_back(server: Server) -> None:
    """It makes what the socket's buffers take, and no more: not megabytes to be kept here."""
    before = server.stdout.count("piece")
    with Client((server.host, server.port), receive_buffer=4096) as client:
        client.send(request("/big"))
        client.head()
        assert server.stdout.count("piece") - before < 200
        client.take(1_000_000)


def test_a_websocket_is_refused(client: Client) -> None:
    handshake = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    client.send(request("/", "GET", handshake))
    assert client.answer().status == 403


def test_a_file_is_sent(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 20_000)
    client.send(request(f"/file?{path}"))
    assert client.answer().body == path.read_bytes()


HALF = request("/upload", "POST", "content-length: 10\r\n") + b"12345"
"""Keeps a thread until the rest comes."""


def test_when_all_threads_are_busy_requests_wait_their_turn() -> None:
    with serve("--wsgi-threads", "2") as server:
        clients = [Client((server.host, server.port)) for _ in range(4)]
        for client in clients[:2]:
            client.send(HALF)
        server.wait_line("(?s)upload begun.*upload begun")
        for client in clients[2:]:
            client.send(request())
        assert clients[2].is_silent(0.3) and clients[3].is_silent(0.01)
        for client in clients[:2]:
            client.send(b"67890")
        assert [client.answer().body for client in clients] == [b"hello"] * 4
        for client in clients:
            client.socket.close()


def test_above_the_limit_of_running_requests_one_is_refused_at_once() -> None:
    with serve("--wsgi-threads", "1", "--limit-concurrency", "2") as server:
        address = (server.host, server.port)
        with Client(address) as first, Client(address) as second:
            first.send(HALF)
            server.wait_line("upload begun")
            second.send(request())
            assert second.is_silent(0.2)
            assert ask(address, request()).status == 503
            first.send(b"67890")
            assert first.answer().body == second.answer().body == b"hello"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a process cannot be sent these signals there")
def test_a_running_request_is_finished_when_the_server_stops() -> None:
    with serve() as server, Client((server.host, server.port)) as client:
        client.send(HALF)
        server.wait_line("upload begun")
        server.process.send_signal(signal.SIGTERM)
        server.wait_line("Shutting down")
        client.send(b"67890")
        answer = client.answer()
        assert (answer.body, answer.get("connection")) == (b"hello", "close")
        assert server.wait_end() == 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a process cannot be sent these signals there")
def test_a_thread_that_does_not_end_is_named_and_holds_nothing_up() -> None:
    with serve("--timeout-graceful-shutdown", "0.3") as server, Client((server.host, server.port)) as client:
        client.send(request("/block?60"))
        server.wait_line("blocking")
        assert server.stop() == 0
        server.wait_line(r"waits for a thread to end: penstock-wsgi-1, in .*wsgi_apps.py")


def test_workers_serve_it_too() -> None:
    with serve("--workers", "2") as server:
        assert ask((server.host, server.port), request()).body == b"hello"
