"""Requests and answers on a started server: framing, order, disconnects, failures, nonsense."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from support.client import Answer, Client, ask, request
from support.serving import Server

Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client((server.host, server.port)) as client:
        yield client


def fetch(client: Client, octets: bytes) -> Answer:
    client.send(octets)
    return client.answer(to_head=octets.startswith(b"HEAD "))


def another(server: Server) -> None:
    """The next client is unharmed."""
    assert ask((server.host, server.port), request()).body == b"hello"


def test_a_connection_serves_one_request_after_another(client: Client) -> None:
    for _ in range(20):
        answer = fetch(client, request())
        assert (answer.status, answer.body, answer.get("connection")) == (200, b"hello", None)
        assert answer.get("server") == "penstock"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.get("date") or "")


def test_an_old_client_is_closed_unless_it_asks_to_stay(server: Server, client: Client) -> None:
    stays = fetch(client, request(version="1.0", fields="connection: keep-alive\r\n"))
    assert stays.get("connection") == "keep-alive"
    leaves = fetch(client, request(version="1.0"))
    assert leaves.get("connection") == "close" and client.is_closed()


def test_a_client_that_asks_to_close_is_closed(client: Client) -> None:
    assert fetch(client, request(fields="connection: close\r\n")).get("connection") == "close"
    assert client.is_closed()


def test_pipelined_requests_are_answered_in_order_whatever_they_take(client: Client) -> None:
    paths = ["/sleep?0.2", "/", "/big?655360", "/echo", "/sleep?0.05", "/", "/fail", "/unread?3"]
    client.send(b"".join(request(path, "POST" if path == "/echo" else "GET", body=b"body" if path == "/echo" else b"") for path in paths))
    answers = [client.answer() for _ in paths]
    assert [answer.status for answer in answers] == [200] * 6 + [500, 200]
    assert [answer.body[:5] for answer in answers] == [b"slept", b"hello", b"xxxxx", b"body", b"slept", b"hello", b"Inter", b"yyy"]
    assert len(answers[2].body) == 655360


def test_head_is_answered_with_the_head_alone(client: Client) -> None:
    answer = fetch(client, request(method="HEAD"))
    assert answer.get("content-length") == "5"
    assert fetch(client, request()).body == b"hello"


def test_chunks_go_both_ways(client: Client) -> None:
    client.send(request("/mirror", "POST", "transfer-encoding: chunked\r\n"))
    assert client.is_silent(0.05)
    for piece in (b"one", b"two", b"three"):
        client.send(b"%x;extension=1\r\n%b\r\n" % (len(piece), piece))
        if piece == b"one":
            assert client.head().get("transfer-encoding") == "chunked"
        assert client.line() == b"%x" % len(piece)
        assert client.take(len(piece) + 2) == piece + b"\r\n"
    client.send(b"0\r\nx-trailer: 1\r\n\r\n")
    assert client.line() == b"0" and client.line() == b""
    assert fetch(client, request()).body == b"hello"


def test_an_old_client_is_sent_a_stream_without_chunks(client: Client) -> None:
    answer = fetch(client, request("/big?655360", version="1.0", fields="connection: keep-alive\r\n"))
    assert answer.get("transfer-encoding") is None and answer.get("connection") == "close"
    assert answer.body == b"x" * 655360


def test_100_continue_comes_at_the_first_receive_and_never_otherwise(client: Client) -> None:
    expects = "expect: 100-continue\r\ncontent-length: 5\r\n"
    client.send(request("/count?0.2", "POST", expects))
    assert client.is_silent(0.1), "the app does not read yet"
    assert client.line() == b"HTTP/1.1 100 Continue" and client.line() == b""
    client.send(b"12345")
    assert client.answer().body == b"5 5"
    answer = fetch(client, request("/unread", "POST", expects))
    assert (answer.status, answer.interim, answer.get("connection")) == (200, [], "close")


def test_another_expectation_is_refused(server: Server, client: Client) -> None:
    assert fetch(client, request("/echo", "POST", "expect: the-unexpected\r\n", b"x")).status == 417
    another(server)


def test_an_unread_body_leaves_the_connection_usable_when_it_is_small(client: Client) -> None:
    assert fetch(client, request("/unread", "POST", body=b"x" * 30_000)).body == b"yyyyy"
    assert fetch(client, request()).body == b"hello"


def test_an_unread_body_that_is_large_closes_and_loses_nothing_of_the_answer(server: Server) -> None:
    for _ in range(5):
        with Client((server.host, server.port)) as client:
            # All of it is on its way before the first octet of the answer is read.
            client.send(request("/unread?300000", "POST", "content-length: 2000000\r\n") + b"x" * 2_000_000)
            answer = client.answer()
            assert answer.body == b"y" * 300_000 and answer.get("connection") == "close"
            assert client.is_closed()


def test_a_half_closed_client_gets_its_answer(client: Client) -> None:
    client.send(request("/sleep?0.2") + request("/big?655360"))
    client.half_close()
    assert client.answer().body == b"slept"
    assert len(client.answer().body) == 655360
    assert client.is_closed()


# -- disconnects


@pytest.mark.parametrize("leave", [Client.reset, lambda client: client.socket.close()])
def test_an_app_that_waits_is_told_that_its_client_left(server: Server, client: Client, leave: object) -> None:
    client.send(request("/wait"))
    server.wait_line("^waiting$")
    leave(client)  # type: ignore[operator]  # one of the two above
    server.wait_line("^told$")


def test_sending_to_a_client_that_left_raises(server: Server) -> None:
    with Client((server.host, server.port)) as client:
        client.send(request("/endless"))
        client.head()
    server.wait_line("send raised ClientDisconnected on /endless")


def test_a_client_that_leaves_in_its_upload_is_told_to_the_app(server: Server) -> None:
    with Client((server.host, server.port)) as client:
        client.send(request("/count", "POST", "content-length: 1000\r\n") + b"x")
    server.wait_line("upload cut")
    another(server)


# -- the app's failures


def test_an_app_that_fails_before_its_answer_gives_500_and_the_connection_goes_on(server: Server, client: Client) -> None:
    answer = fetch(client, request("/fail"))
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    server.wait_line("ZeroDivisionError: the app's own fault")
    assert fetch(client, request()).body == b"hello"


def test_an_app_that_fails_in_its_answer_is_cut_so_that_the_client_notices(server: Server, client: Client) -> None:
    client.send(request("/fail-late"))
    with pytest.raises((ConnectionResetError, AssertionError)):
        client.answer()
    another(server)


def test_an_app_that_returns_without_an_answer_gives_500(server: Server, client: Client) -> None:
    assert fetch(client, request("/nothing")).status == 500
    server.wait_line("returned without sending a response: GET /nothing")


def test_work_after_the_answer_holds_up_nobody(server: Server, client: Client) -> None:
    assert fetch(client, request("/background?1")).body == b"answered"
    assert fetch(client, request()).body == b"hello"
    assert "background done" not in server.stdout
    server.wait_line("background done")


# -- nonsense


@pytest.mark.parametrize("octets, told", [
    (b"GET / HTTP/1.1\nHost: x\n\n", "a bare LF"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "TLS"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "more than one Host"),
    (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "together"),
    (b"GET / HTTP/1.1\r\nHost: x\r\nX: \x1b[31m\r\n\r\n", "a control octet"),
    (b"\0" * 100_000, "NUL"),
])
def test_nonsense_is_refused_with_a_line_in_the_log_and_the_next_client_unharmed(
    server: Server, client: Client, octets: bytes, told: str
) -> None:
    client.send(octets)
    answer = client.answer()
    assert answer.status in (400, 505) and answer.get("connection") == "close"
    assert client.is_closed()
    me = "{}:{}".format(*client.socket.getsockname())
    found = server.wait_line(rf"^INFO: +Refused {me}: (?P<why>.*)$")
    assert told in found["why"] and "RFC" in found["why"] and "\x1b" not in found["why"]
    another(server)


def test_a_bad_chunk_is_refused_in_the_midst_of_the_request(server: Server, client: Client) -> None:
    client.send(request("/count", "POST", "transfer-encoding: chunked\r\n"))
    client.send(b"5\r\nhelloXX")
    assert client.answer().status == 400 and client.is_closed()
    another(server)


def test_nothing_behind_a_bad_request_is_answered(client: Client) -> None:
    client.send(request() + b"nonsense\r\n\r\n" + request() * 5)
    assert [client.answer().status, client.answer().status] == [200, 400]
    assert client.is_closed()


# -- the access log


def test_each_answer_is_a_line_of_the_access_log(server: Server, client: Client) -> None:
    me = re.escape("{}:{}".format(*client.socket.getsockname()))
    for octets in (request("/echo?a=%22", "POST", body=b"x"), request("/fail"), request("/nothing", version="1.0")):
        fetch(client, octets)
    server.wait_line(rf'^INFO:     {me} - "POST /echo\?a=%22 HTTP/1.1" 200 OK$')
    server.wait_line(rf'^INFO:     {me} - "GET /fail HTTP/1.1" 500 Internal Server Error$')
    server.wait_line(rf'^INFO:     {me} - "GET /nothing HTTP/1.0" 500 Internal Server Error$')


def test_a_stream_the_client_left_has_its_line_too(server: Server) -> None:
    with Client((server.host, server.port)) as client:
        me = re.escape("{}:{}".format(*client.socket.getsockname()))
        client.send(request("/endless?once"))
        client.head()
    server.wait_line(rf'^INFO:     {me} - "GET /endless\?once HTTP/1.1" 200 OK \(client gone\)$')


def test_old_clients_are_served_on_request_only(serve: Serve) -> None:
    octets = b"get /?caf\xc3\xa9 HTTP/1.1\r\nhost: test\r\n\r\n"
    for options, status in ((), 400), (("--lenient-requests",), 200):
        with serve(*options) as server, Client((server.host, server.port)) as client:
            client.send(octets)
            assert client.answer().status == status
