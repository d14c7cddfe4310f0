import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from support import secure

from penstock.testing.client import BadAnswer, Client, ask, request

Answers = Callable[..., tuple[str, int]]


@pytest.fixture
def answers() -> Iterator[Answers]:
    """A server that says the same to everybody once something has come, and can be told how to end."""
    threads: list[threading.Thread] = []
    listening: list[socket.socket] = []

    def start(octets: bytes, closes: bool = True, tls: ssl.SSLContext | None = None, family: int = socket.AF_INET) -> tuple[str, int]:
        server = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        listening.append(server)

        def serve() -> None:
            with suppress(OSError):
                sock, _ = server.accept()
                with tls.wrap_socket(sock, server_side=True) if tls is not None else sock as peer:
                    peer.recv(65536)
                    peer.sendall(octets)
                    if not closes:
                        while peer.recv(65536):
                            pass

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        host, port = server.getsockname()[:2]
        return host, port

    yield start
    for each in listening:
        each.close()
    for thread in threads:
        thread.join(15)


def test_a_request_is_made_of_its_parts() -> None:
    assert request() == b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"
    assert request("/x", "PUT", "a: b\r\n", b"12", "1.0") == b"PUT /x HTTP/1.0\r\nhost: test\r\na: b\r\ncontent-length: 2\r\n\r\n12"


def test_an_answer_has_status_fields_and_body(answers: Answers) -> None:
    answer = ask(answers(b"HTTP/1.1 200 All right\r\nX-One: 1\r\ncontent-length: 2\r\n\r\nab", closes=False), request())
    assert (answer.status, answer.reason, answer.body) == (200, "All right", b"ab")
    assert answer.fields == [("x-one", "1"), ("content-length", "2")] and answer.get("x-one") == "1" and answer.get("x") is None


def test_what_comes_before_an_answer_is_not_the_answer(answers: Answers) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    answer = ask(answers(early + b"HTTP/1.1 204 No Content\r\n\r\n", closes=False), request())
    assert (answer.status, answer.interim, answer.fields) == (204, [103, 100], [])


def test_chunks_are_joined_and_trailers_kept(answers: Answers) -> None:
    answer = ask(answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX-Sum: 3\r\n\r\n"), request())
    assert (answer.body, answer.chunks, answer.trailers) == (b"abc", [b"a", b"bc"], [("x-sum", "3")])


def test_without_a_length_the_end_is_the_end(answers: Answers) -> None:
    assert ask(answers(b"HTTP/1.1 200 OK\r\n\r\nall of it"), request()).body == b"all of it"


def test_to_head_there_is_no_body_whatever_is_said(answers: Answers) -> None:
    assert ask(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", closes=False), request(method="HEAD")).body == b""


@pytest.mark.parametrize("octets, told", [
    (b"HTTP/1.0 200 OK\r\n\r\n", "version"), (b"HTTP/1.1 200 OK\r\nfield\r\n\r\n", "no field"), (b"HTTP/1.1 200", "in a line"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na", "2 octets early"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\na", "2 times"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\na", "framed by"),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc", "a chunk does not end"),
])
def test_what_is_no_answer_is_told(answers: Answers, octets: bytes, told: str) -> None:
    with pytest.raises(BadAnswer, match=told):
        ask(answers(octets), request())


def test_pipelined_requests_have_their_answers_in_order(answers: Answers) -> None:
    first, second = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n", b"HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nb"
    with Client(answers(first + second, closes=False)) as client:
        assert [each.status for each in client.pipeline(request(method="HEAD"), request())] == [200, 404]


def test_an_answer_can_be_read_bit_by_bit(answers: Answers) -> None:
    with Client(answers(b"HTTP/1.1 200 OK\r\na: b\r\n\r\nline\r\n1234rest")) as client:
        client.send(request())
        assert client.head().get("a") == "b"
        assert (client.line(), client.take(4), client.rest()) == (b"line", b"1234", b"rest")
        assert client.is_closed()


# -- all that a client should not do


def test_a_drip_ends_when_the_server_closes(answers: Answers) -> None:
    with Client(answers(b"too slow")) as client:
        assert client.drip(b"ab", 0.01, 10) < 10 and client.waiting == b"too slow"


def test_a_drip_that_is_tolerated_ends_with_its_time(answers: Answers) -> None:
    with Client(answers(b"", closes=False)) as client:
        assert client.drip(b"ab", 0.01, 0.1) >= 0.1
        assert client.is_silent(0.01)


@pytest.mark.parametrize("closes", [True, False])
def test_a_stall_ends_when_the_server_closes_or_with_its_time(answers: Answers, closes: bool) -> None:
    with Client(answers(b"too late", closes=closes)) as client:
        client.send(b"GET")
        assert (client.stall(10 if closes else 0.2) < 10) and client.waiting == b"too late"


def test_something_that_comes_is_not_silence(answers: Answers) -> None:
    with Client(answers(b"x", closes=False)) as client:
        client.send(b"y")
        assert not client.is_silent(10) and client.waiting == b"x" and not client.is_closed()


def test_a_half_closed_client_still_listens(answers: Answers) -> None:
    with Client(answers(b"HTTP/1.1 200 OK\r\n\r\nx", closes=False)) as client:
        client.half_close()
        assert client.answer().body == b"x"


def test_a_reset_is_none_in_peace() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = Client(server.getsockname())
        peer, _ = server.accept()
        client.reset()
        with peer, pytest.raises(ConnectionResetError):
            peer.recv(1)


def test_a_server_that_resets_has_closed_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Client(server.getsockname(), receive_buffer=4096) as client:
        peer, _ = server.accept()
        client.send(b"unread")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        assert client.is_closed()


# -- addresses


def test_an_address_may_be_a_url(answers: Answers) -> None:
    host, port = answers(b"HTTP/1.1 200 OK\r\n\r\n")
    assert ask(f"http://{host}:{port}/any/path", request()).status == 200


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_may_be_one_of_ipv6(answers: Answers) -> None:
    try:
        _, port = answers(b"HTTP/1.1 200 OK\r\n\r\n", family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    assert ask(f"http://[::1]:{port}", request()).status == 200


def test_it_speaks_https_when_told_how(answers: Answers) -> None:
    host, port = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", closes=False, tls=secure.server_context())
    context = secure.client_context()
    context.check_hostname = False
    with Client((host, port), tls=context) as client:
        client.send(request())
        assert client.answer().body == b"x"
