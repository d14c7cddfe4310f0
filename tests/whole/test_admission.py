"""Too much at once: each limit answers 503 or pauses, and what was let in is served."""

import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.client import Answer, Client, ask, request
from support.serving import Server

Serve = Any


def connect(server: Server) -> Client:
    return Client((server.host, server.port))


def assert_turned_away(answer: Answer) -> None:
    assert (answer.status, answer.get("retry-after"), answer.get("connection")) == (503, "1", "close")


def test_more_requests_than_may_run_are_turned_away_and_idle_connections_do_not_count(serve: Serve, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with serve("--limit-concurrency", "1") as server, connect(server) as first, connect(server) as second, connect(server) as third:
        for client in (first, second, third):
            client.send(request())
            assert client.answer().status == 200
        first.send(request(f"/hold?{quote(str(gate))}"))
        server.wait_line("holding")
        second.send(request())
        assert_turned_away(second.answer())
        gate.touch()
        assert first.answer().body == b"let go"
        third.send(request())
        assert third.answer().status == 200


@pytest.mark.parametrize("option", ["--limit-connections", "--limit-connections-per-client"])
def test_more_connections_than_may_be_open_are_turned_away(serve: Serve, option: str) -> None:
    with serve(option, "2") as server:
        with connect(server) as first, connect(server) as second:
            for client in (first, second):
                client.send(request())
                assert client.answer().status == 200
            with connect(server) as third:
                third.send(request())
                assert_turned_away(third.answer())
                assert third.is_closed()
            server.wait_line("Refused .*: 503, too many connections")
        deadline = time.monotonic() + 5
        while (status := ask((server.host, server.port), request()).status) != 200:
            assert status == 503 and time.monotonic() < deadline


def test_a_body_over_the_limit_is_refused_and_the_connection_closed(serve: Serve) -> None:
    with serve("--limit-body", "1000") as server:
        for octets in (
            request("/count", "POST", "content-length: 1001\r\n"),
            request("/count", "POST", "transfer-encoding: chunked\r\n") + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
            request("/count", "POST", "content-length: 1000000\r\n") + b"x" * 1_000_000,
            request("/count", "POST", "expect: 100-continue\r\ncontent-length: 1001\r\n"),
        ):
            with connect(server) as client:
                client.send(octets)
                answer = client.answer()
                assert (answer.status, answer.interim) == (413, []) and client.is_closed()
        assert ask((server.host, server.port), request("/count", "POST", body=b"x" * 1000)).body.startswith(b"1000 ")


@pytest.mark.parametrize("option, value, fields, status", [
    ("--limit-head", "300", "x: " + "y" * 300 + "\r\n", 431),
    ("--limit-fields", "5", "a: b\r\n" * 6, 431),
    ("--limit-head", "300", "", 414),
])
def test_a_head_over_its_limits_is_refused(serve: Serve, option: str, value: str, fields: str, status: int) -> None:
    with serve(option, value) as server, connect(server) as client:
        client.send(request("/" + "x" * 400 if status == 414 else "/", fields=fields))
        assert client.answer().status == status and client.is_closed()


def cpu_seconds(server: Server) -> float:
    with open(f"/proc/{server.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.skipif(sys.platform != "linux", reason="another process's limits cannot be set here")
def test_a_server_without_descriptors_pauses_and_goes_on_when_it_has_some(serve: Serve) -> None:
    import resource

    with serve() as server:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (30, 4096))
        clients = [connect(server) for _ in range(60)]
        try:
            server.wait_line("WARNING: +Accepting pauses: Too many open files.*ulimit")
            before = cpu_seconds(server)
            time.sleep(0.6)
            assert cpu_seconds(server) - before < 0.2, "it does not spin"
            clients[0].send(request())
            assert clients[0].answer().status == 200
            for client in clients[:40]:
                client.socket.close()
            clients[59].send(request())
            assert clients[59].answer().status == 200
        finally:
            for client in clients:
                client.socket.close()
