"""The end of a server: nothing that was begun is lost, nothing holds it for ever, and a second signal always wins."""

import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.client import Client, request
from support.serving import Server, ServingError

Serve = Any


def connect(server: Server) -> Client:
    return Client((server.host, server.port))


def asked_to_end(server: Server) -> None:
    server.signal(signal.SIGTERM)
    server.wait_line("Shutting down")


def test_an_idle_server_ends_at_once(serve: Serve) -> None:
    with serve() as server, connect(server) as client, connect(server) as other:
        for each in (client, other):
            each.send(request())
            each.answer()
        begin = time.monotonic()
        assert server.stop() == 0
        # Neither the grace period nor the time to linger passes.
        assert time.monotonic() - begin < 1.8
        assert client.is_closed() and other.is_closed()


def test_a_running_request_is_finished_and_says_that_it_was_the_last(serve: Serve, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with serve() as server, connect(server) as client:
        client.send(request(f"/hold?{quote(str(gate))}"))
        server.wait_line("holding")
        asked_to_end(server)
        with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
            # The line comes a moment before the sockets are closed; who comes right between the two is reset.
            while True:
                connect(server).socket.close()
        gate.touch()
        answer = client.answer()
        assert (answer.body, answer.get("connection")) == (b"let go", "close")
        client.socket.close()
        assert server.wait_end(2) == 0


def test_an_upload_that_was_begun_is_finished(serve: Serve) -> None:
    with serve() as server, connect(server) as client:
        client.send(request("/count", "POST", "content-length: 10\r\n") + b"12345")
        connect(server).socket.close()
        asked_to_end(server)
        client.send(b"67890")
        answer = client.answer()
        assert (answer.body, answer.get("connection")) == (b"10 5", "close")
        client.socket.close()
        assert server.wait_end(2) == 0


def test_a_request_on_a_fresh_connection_is_answered_though_it_comes_after_the_signal(serve: Serve) -> None:
    with serve() as server, connect(server) as client, connect(server) as second:
        # It is accepted when one that came after it was answered.
        second.send(request())
        second.answer()
        asked_to_end(server)
        time.sleep(0.2)
        client.send(request())
        answer = client.answer()
        assert (answer.body, answer.get("connection")) == (b"hello", "close")
        client.socket.close()
        assert server.wait_end(2) == 0


def test_a_stream_of_events_is_told_at_once(serve: Serve) -> None:
    with serve() as server, connect(server) as client:
        client.send(request("/events"))
        assert client.head().status == 200
        begin = time.monotonic()
        asked_to_end(server)
        server.wait_line("told to leave")
        # It ends in peace: the last chunk comes.
        assert client.rest().endswith(b"0\r\n\r\n")
        client.socket.close()
        assert server.wait_end() == 0
        assert time.monotonic() - begin < 2


def test_an_app_that_waits_for_its_client_is_told_at_once(serve: Serve) -> None:
    with serve() as server, connect(server) as client:
        client.send(request("/wait"))
        server.wait_line("waiting")
        asked_to_end(server)
        assert client.answer().status == 503
        client.socket.close()
        assert server.wait_end(2) == 0
        assert "told" in server.stdout and "ERROR" not in server.stderr


def test_work_after_the_answer_is_finished(serve: Serve) -> None:
    with serve() as server, connect(server) as client:
        client.send(request("/background?0.5"))
        client.answer()
        assert server.stop() == 0
        assert "background done" in server.stdout


@pytest.mark.parametrize("grace", ["0", "0.3"])
def test_an_endless_stream_is_bounded_by_the_grace_period(serve: Serve, grace: str) -> None:
    with serve("--timeout-graceful-shutdown", grace) as server, connect(server) as client:
        client.send(request("/endless"))
        client.head()
        begin = time.monotonic()
        assert server.stop() == 0
        assert float(grace) <= time.monotonic() - begin < 3
        assert "Cancelling GET /endless after" in server.stderr and "in endless" in server.stderr
        assert "Traceback" not in server.stderr and "Application shutdown complete" in server.stderr
        with pytest.raises((ConnectionResetError, AssertionError)):
            assert client.rest().endswith(b"0\r\n\r\n")


def test_no_grace_period_waits_until_a_second_signal(serve: Serve) -> None:
    with serve("--timeout-graceful-shutdown", "none") as server, connect(server) as client:
        client.send(request("/endless"))
        client.head()
        server.signal(signal.SIGINT)
        server.wait_line("Shutting down")
        with pytest.raises(ServingError):
            server.wait_end(0.5)
        begin = time.monotonic()
        assert server.stop(signal.SIGINT) == 1
        assert time.monotonic() - begin < 2
        assert "Forced to end" in server.stderr and "Traceback" not in server.stderr


def test_requests_under_way_at_the_signal_are_all_answered(serve: Serve) -> None:
    """Whatever the kernel has accepted for us is ours to answer."""
    with serve() as server:
        clients = []
        for number in range(60):
            clients.append(connect(server))
            clients[-1].send(request(f"/sleep?0.0{number % 10}"))
        asked_to_end(server)
        for client in clients:
            assert client.answer().body == b"slept"
            client.socket.close()
        assert server.wait_end(2) == 0


def test_the_next_request_of_a_connection_is_never_half_answered(serve: Serve) -> None:
    """A client that asks again and again sees whole answers until a clean end, and the last one says so or is the end."""
    with serve() as server, connect(server) as client:
        server.signal(signal.SIGTERM)
        with pytest.raises((ConnectionError, AssertionError)):
            while True:
                client.send(request())
                answer = client.answer()
                assert answer.body == b"hello"
                if answer.get("connection") == "close":
                    raise ConnectionError
        client.socket.close()
        assert server.wait_end(3) == 0
