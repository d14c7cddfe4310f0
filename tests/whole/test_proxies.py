"""A real server behind proxies: who the client is, in the application and in the log."""

import re

from support.client import ask, request
from support.serving import CHECKOUT, run_to_end
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
