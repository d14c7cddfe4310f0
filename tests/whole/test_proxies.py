"""A real server behind proxies: who the client is, in the application and in the log."""

import re
import socket
import ssl

from support.client import Client, ask, request
from support.serving import CHECKOUT, run_to_end
from support.streams import CERTIFICATE
from whole.conftest import Serve

FORWARDED = "x-forwarded-for: 6.6.6.6, 192.0.2.7\r\nx-forwarded-proto: https\r\n"


def test_a_proxy_on_this_machine_is_believed_and_the_log_shows_its_client(serve: Serve) -> None:
    with serve() as server:
        ask((server.host, server.port), request("/", fields=FORWARDED))
        server.wait_line(r'^INFO:     192\.0\.2\.7:0 - "GET / HTTP/1\.1" 200 OK$')
        assert "Believing" not in server.stderr


def test_a_stranger_is_not_believed(serve: Serve) -> None:
    with serve("--forwarded-allow-ips", "10.0.0.0/8") as server:
        server.wait_line(r"^INFO:     Believing forwarded headers from 10\.0\.0\.0/8$")
        ask((server.host, server.port), request("/", fields=FORWARDED))
        server.wait_line(r'^INFO:     127\.0\.0\.1:\d+ - "GET / HTTP/1\.1" 200 OK$')


def test_the_list_of_the_environment_counts(serve: Serve) -> None:
    with serve(env={"FORWARDED_ALLOW_IPS": "*"}) as server:
        ask((server.host, server.port), request("/", fields=FORWARDED))
        server.wait_line(r'^INFO:     6\.6\.6\.6:0 - "GET / HTTP/1\.1" 200 OK$')


def test_a_list_that_is_none_is_told() -> None:
    result = run_to_end("support.apps:app", "--app-dir", str(CHECKOUT / "tests"), "--forwarded-allow-ips", "10.0.0.1/8")
    assert result.returncode == 1
    assert re.match(r"penstock: --forwarded-allow-ips: 10\.0\.0\.1/8 is no network: .*did you mean 10\.0\.0\.0/8\?\n", result.stderr)


LINE = b"PROXY TCP4 192.0.2.77 198.51.100.2 4711 443\r\n"


def test_the_proxy_protocol_says_who_the_client_is(serve: Serve) -> None:
    with serve("--proxy-protocol") as server:
        assert ask((server.host, server.port), LINE + request()).body == b"hello"
        server.wait_line(r'^INFO:     192\.0\.2\.77:4711 - "GET / HTTP/1\.1" 200 OK$')
        with Client((server.host, server.port)) as client:
            client.send(request())
            assert client.is_closed()
        server.wait_line(r"^INFO:     Refused the proxy 127\.0\.0\.1:\d+: 400, no PROXY protocol header")


def test_the_proxy_protocol_comes_before_tls(serve: Serve) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with serve("--proxy-protocol", "--ssl-certfile", str(CERTIFICATE)) as server:
        with socket.create_connection((server.host, server.port), timeout=10) as plain:
            plain.sendall(LINE)
            with context.wrap_socket(plain) as secure:
                secure.sendall(request())
                assert secure.recv(100).startswith(b"HTTP/1.1 200 ")
        server.wait_line(r'^INFO:     192\.0\.2\.77:4711 - "GET / HTTP/1\.1" 200 OK$')
