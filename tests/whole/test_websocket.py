"""WebSockets as their users meet them: the command line, clients that behave and clients that do not, the end."""

import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from support.client import Client, ask, request
from support.serving import Server, serving
from support.ws_cases import frame
from support.ws_client import SocketClient
from support.ws_wire import handshake

TESTS = Path(__file__).parent.parent
CERTIFICATE = TESTS / "support" / "localhost.pem"
CLOSE = b"\x03\xe8"
MIB = 1 << 20

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def serve(*options: str, **more: Any) -> AbstractContextManager[Server]:
    return serving("support.ws_apps:app", "--app-dir", str(TESTS), *options, **more)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("--timeout-graceful-shutdown", "1") as server:
        yield server
        assert server.stop() == 0 and "Traceback" not in server.stderr


def address(server: Server) -> tuple[str, int]:
    return server.host, server.port


def memory(server: Server) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    return int(found[1]) << 10 if found else 0


def is_quick(server: Server) -> bool:
    """Somebody else is served meanwhile."""
    with SocketClient(address(server)) as client:
        for number in range(20):
            client.say(0x81, b"%d" % number)
            assert client.frame() == (0x81, b"%d" % number)
    return ask(address(server), request()).body == b"hello"


def test_messages_come_back_and_the_log_has_a_line(server: Server) -> None:
    with SocketClient(address(server), offers=True) as client:
        for payload in (b"hello", b"", b"x" * 5_000, b"long " * 50_000):
            client.say(0x81, payload)
            assert client.frame() == (0x81, payload)
        client.say(0x88, b"\x0f\xa0bye")
        assert client.frames() == [(0x88, b"\x0f\xa0bye")]
    server.wait_line(r'"GET / HTTP/1.1" 101 Switching Protocols')
    server.wait_line("ended with 4000 'bye'")


def test_a_client_that_leaves_without_a_word_is_1006(server: Server) -> None:
    with SocketClient(address(server), "/wait") as client:
        server.wait_line("waiting")
        client.reset()
    server.wait_line("told 1006 ''")


def test_what_is_refused_leaves_the_connection_open(server: Server) -> None:
    with Client(address(server)) as client:
        client.send(handshake("/deny"))
        assert client.answer().status == 403
        client.send(request())
        assert client.answer().body == b"hello"


def test_it_works_over_tls() -> None:
    context = ssl.create_default_context(cafile=CERTIFICATE)
    with serve("--ssl-certfile", str(CERTIFICATE)) as server:
        plain = socket.create_connection(address(server), 15)
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(handshake() + frame(0x81, b"early"))
            octets = b""
            while not octets.endswith(b"\x81\x05early"):
                octets += client.recv(65536)
            big = b"y" * 300_000
            client.sendall(frame(0x82, big, key=b"\0\0\0\0"))
            octets = b""
            while len(octets) < 10 + len(big):
                octets += client.recv(65536)
            assert octets[10:] == big
            client.sendall(frame(0x88, CLOSE))
            assert client.recv(100) == b"\x88\x02" + CLOSE
        assert server.stop() == 0


def test_none_means_none() -> None:
    with serve("--ws", "none") as server:
        assert ask(address(server), handshake()).body == b"hello"


# -- clients that do not behave


@needs_proc
def test_clients_that_never_read_cost_little_and_hold_nobody_up(server: Server) -> None:
    before = memory(server)
    clients = [SocketClient(address(server), "/flood", receive_buffer=4096) for _ in range(50)]
    assert is_quick(server)
    # Each: what the channel queues (64 KiB and a message), and what Python needs for it.
    assert memory(server) - before < 50 * MIB // 2
    for client in clients:
        client.socket.close()


@needs_proc
def test_clients_that_never_stop_sending_cost_little_and_hold_nobody_up(server: Server) -> None:
    before = memory(server)
    clients = [SocketClient(address(server), "/sink") for _ in range(8)]
    ends = threading.Event()

    def send(client: SocketClient, octets: bytes) -> None:
        client.socket.settimeout(0.2)
        while not ends.is_set():
            try:
                client.socket.send(octets)
            except TimeoutError:
                pass
            except OSError:
                return

    kinds = [frame(0x82, b"x" * 60_000, key=b"\0\0\0\0"), frame(0x81, b"small"), frame(0x89, b"ping"), frame(0x01, b"") + frame(0x80, b"")]
    threads = [threading.Thread(target=send, args=(client, kinds[number % 4])) for number, client in enumerate(clients)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            assert is_quick(server)
        # Each: a queue of 256 KiB and a message, 120 KiB that were read, and answers to its pings.
        assert memory(server) - before < 20 * MIB
    finally:
        ends.set()
        for thread, client in zip(threads, clients, strict=True):
            thread.join()
            client.socket.close()


def test_a_client_that_takes_nothing_is_let_go() -> None:
    with serve("--timeout-write", "0.6") as server, SocketClient(address(server), "/flood", receive_buffer=4096):
        server.wait_line("send raised ClientDisconnected on /flood")
        assert server.stop() == 0 and "Traceback" not in server.stderr


def test_a_client_that_does_not_answer_pings_is_let_go() -> None:
    with serve("--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.4") as server, SocketClient(address(server), "/wait") as client:
        frames = client.frames()
        assert frames[0] == (0x89, b"") and frames[-1][1][:2] == b"\x03\xf3"
        server.wait_line("told 1011 'no answer to a ping within 0.4 s'")


# -- the end


def test_at_the_end_everybody_is_told_and_the_server_ends_at_once() -> None:
    with serve() as server:
        clients = [SocketClient(address(server), "/wait") for _ in range(30)]
        begin = time.monotonic()
        ended: list[int] = []
        stopping = threading.Thread(target=lambda: ended.append(server.stop()))
        stopping.start()
        for client in clients:
            assert client.frame() == (0x88, b"\x03\xf4the server stops")
            client.say(0x88, b"\x03\xf4")
            client.socket.close()
        stopping.join()
        assert ended == [0] and time.monotonic() - begin < 8
        assert server.stdout.count("told 1012 'the server stops'") == 30


def test_what_does_not_end_is_named_when_it_is_cut() -> None:
    with serve("--timeout-graceful-shutdown", "0.5") as server, SocketClient(address(server), "/deaf") as client:
        server.wait_line("deaf")
        assert server.stop() == 0
        assert client.frames() == [(0x88, b"\x03\xf4the server stops")]
        assert "Cancelling WebSocket /deaf after" in server.stderr and "ws_apps.py" in server.stderr
        assert "Traceback" not in server.stderr
