import asyncio
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from penstock_reactor import EventLoop
from penstock_reactor.tls_engine import TlsEngine, TlsOptions
from support import secure
from support.faults import FaultySocket
from support.wire import Watched, Wire, hello

from penstock.codec.errors import ProtocolError
from penstock.connection.exchange import Exchange
from penstock.connection.files import send_file
from penstock.connection.life import DRAIN_FIRST_BYTE
from penstock.connection.states import State

GET = b"GET /there HTTP/1.1\r\nHost: x\r\n\r\n"


class Client:
    """The TLS of a wire's client."""

    def __init__(self, wire: Wire, context: ssl.SSLContext | None = None) -> None:
        self.wire = wire
        self.engine = TlsEngine(TlsOptions(context or secure.client_context(), False, "localhost", 1, 1))

    def exchange_octets(self) -> None:
        if self.engine.has_output:
            self.wire.say(self.engine.take_output())
        self.engine.feed(self.wire.hear())

    def shake_hands(self) -> None:
        while not self.engine.shake_hands():
            self.exchange_octets()
        self.exchange_octets()

    def say(self, octets: bytes) -> None:
        self.engine.encrypt(octets)
        self.exchange_octets()

    def hear(self) -> bytes:
        self.exchange_octets()
        return self.engine.read() if self.engine.has_input else b""


@pytest.fixture
def wires(loop: EventLoop) -> Iterator[Any]:
    made: list[Wire] = []
    Watched.wrong_moves.clear()

    def make(**options: Any) -> tuple[Wire, Client]:
        made.append(Wire(loop, tls=secure.server_context(), **options))
        return made[-1], Client(made[-1])

    yield make
    for wire in made:
        wire.close()
    assert Watched.wrong_moves == []


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("Refused")]


def test_a_request_after_the_handshake_is_answered(wires: Any) -> None:
    wire, client = wires()
    client.shake_hands()
    client.say(GET)
    assert client.hear().endswith(b"\r\n\r\n/there")
    client.say(GET)
    assert client.hear().endswith(b"\r\n\r\n/there")
    assert wire.state() is State.IDLE
    assert wire.answered[0].connection.scheme == "https"


def test_a_target_may_be_an_https_url(wires: Any) -> None:
    _, client = wires()
    client.shake_hands()
    client.say(b"GET https://x/there HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.hear().endswith(b"\r\n\r\n/there")


def test_a_request_that_comes_with_the_end_of_the_handshake_is_answered(wires: Any) -> None:
    _, client = wires()
    while not client.engine.shake_hands():
        client.exchange_octets()
    # What ends the handshake, and the request, in one packet.
    client.say(GET)
    assert client.hear().endswith(b"\r\n\r\n/there")


@pytest.mark.parametrize("size", [70_000, 200_000])
def test_a_large_body_that_comes_with_the_end_of_the_handshake_is_read_to_its_end(wires: Any, size: int) -> None:
    """More than is to be read at once: reading stops, and goes on when the app has taken it."""
    taken = 0

    async def answer(exchange: Exchange) -> None:
        nonlocal taken
        await asyncio.sleep(0)
        has_more = True
        while has_more:
            if (piece := exchange.take()) is None:
                await exchange.wait_readable()
            else:
                taken, has_more = taken + len(piece[0]), piece[1]
        await hello(exchange)

    wire, client = wires(answer=answer)
    while not client.engine.shake_hands():
        client.exchange_octets()
    client.engine.encrypt(b"POST /there HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    octets = client.engine.take_output()
    while octets:
        octets = octets[wire.peer.send(octets) :]
        wire.turn()
    assert client.hear().endswith(b"\r\n\r\n/there") and taken == size


def test_the_handshake_may_come_octet_by_octet(wires: Any) -> None:
    wire, client = wires()
    while not client.engine.shake_hands():
        for octet in client.engine.take_output():
            wire.say(bytes([octet]))
        client.engine.feed(wire.hear())
    client.say(GET)
    assert client.hear().endswith(b"\r\n\r\n/there")


def test_a_handshake_that_the_kernel_has_no_room_for_goes_on_when_it_has(wires: Any) -> None:
    wire, client = wires(sock=lambda real: FaultySocket(real, send={1: BlockingIOError()}))
    client.shake_hands()
    client.say(GET)
    assert client.hear().endswith(b"/there") and wire.state() is State.IDLE


def test_plain_http_is_told_in_plain_http(wires: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    wire, _ = wires()
    wire.say(GET)
    answer = wire.hear()
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"this port speaks https\n")
    assert wire.state() is State.CLOSED
    assert "the client does not speak TLS (RFC 8446 4.1): b'GET /there" in refusals(caplog)[0]


def test_nonsense_is_closed_with_one_line_in_the_log_and_no_answer(wires: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    wire, _ = wires()
    wire.say(b"\0\1\2\3")
    assert wire.hear() == b""
    assert wire.state() is State.CLOSED
    assert len(refusals(caplog)) == 1


def test_a_broken_hello_gets_the_alert_that_tls_has_for_it(wires: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    wire, _ = wires()
    wire.say(b"\x16\x03\x01\x00\x05hello")
    assert wire.hear()[:1] == b"\x15"
    assert wire.state() is State.CLOSED
    assert len(refusals(caplog)) == 1


def test_a_client_that_trusts_us_not_is_one_line_in_the_log(wires: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    wire, _ = wires()
    client = Client(wire, ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        client.shake_hands()
    client.exchange_octets()
    assert "unknown ca" in refusals(caplog)[0]


def test_a_handshake_has_a_limit_of_its_own(wires: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    wire, client = wires(timeout_handshake=3, timeout_first_byte=50)
    client.engine.shake_hands()
    wire.say(client.engine.take_output()[:20])
    wire.wait(2.9)
    assert wire.state() is State.HANDSHAKING
    wire.wait(0.2)
    assert wire.state() is State.CLOSED
    assert "it took too long" in refusals(caplog)[0]


def test_after_the_handshake_the_first_octet_has_its_time(wires: Any) -> None:
    wire, client = wires(timeout_handshake=3, timeout_first_byte=5)
    client.shake_hands()
    wire.wait(4.9)
    assert wire.state() is State.IDLE
    wire.wait(0.2)
    assert wire.state() is State.CLOSED


def test_a_client_that_leaves_in_the_handshake_is_let_go(wires: Any) -> None:
    wire, client = wires()
    client.engine.shake_hands()
    wire.say(client.engine.take_output()[:20])
    wire.end()
    assert wire.state() is State.CLOSED


def test_one_too_many_is_told_after_its_handshake(wires: Any) -> None:
    wire, client = wires(opens=False)
    wire.connection.turn_away(ProtocolError(503, "too many connections are open", "RFC 9110 15.6.4"))
    client.shake_hands()
    assert client.hear().startswith(b"HTTP/1.1 503 ")


def test_a_drain_waits_a_moment_for_a_handshake_and_gives_the_answer_that_is_owed(wires: Any) -> None:
    wire, client = wires()
    wire.service.is_draining = True
    wire.connection.drain()
    client.shake_hands()
    client.say(GET)
    assert b"connection: close\r\n" in client.hear()
    waiting, _ = wires()
    waiting.service.is_draining = True
    waiting.connection.drain()
    waiting.wait(DRAIN_FIRST_BYTE + 0.1)
    assert waiting.state() is State.CLOSED


def test_a_connection_opened_during_a_drain_is_answered_too(wires: Any) -> None:
    wire, client = wires(opens=False)
    wire.service.is_draining = True
    wire.connection.open()
    client.shake_hands()
    client.say(GET)
    assert b"connection: close\r\n" in client.hear()


def test_the_end_is_told_by_close_notify(wires: Any) -> None:
    wire, client = wires()
    client.shake_hands()
    client.say(GET.replace(b"Host", b"Connection: close\r\nHost"))
    assert client.hear().endswith(b"/there")
    assert client.engine.is_over or client.engine.read() == b"" and client.engine.is_over
    assert client.engine.failure is None
    assert wire.state() is not State.IDLE


@pytest.mark.parametrize("call", range(2, 7))
def test_the_end_is_told_by_close_notify_also_where_the_kernel_has_no_room_for_it(wires: Any, call: int) -> None:
    """FIN waits for it: behind FIN it could not be sent any more."""
    faulty: list[FaultySocket] = []

    def full(real: socket.socket) -> FaultySocket:
        faulty.append(FaultySocket(real, send={call: BlockingIOError()}))
        return faulty[0]

    wire, client = wires(sock=full)
    client.shake_hands()
    client.say(GET.replace(b"Host", b"Connection: close\r\nHost"))
    assert client.hear().endswith(b"/there")
    assert faulty[0].calls["send"] >= 4, "handshake, session tickets, the answer, close_notify"
    assert client.engine.is_over and client.engine.failure is None
    assert wire.state() is State.LINGERING


def test_a_client_that_says_goodbye_and_keeps_the_socket_is_let_go(wires: Any) -> None:
    wire, client = wires()
    client.shake_hands()
    client.say(GET)
    client.hear()
    client.engine.say_goodbye()
    client.exchange_octets()
    assert wire.state() in (State.LINGERING, State.CLOSED)


def test_a_client_that_asked_to_close_is_waited_for_because_its_close_notify_is_still_to_come(wires: Any) -> None:
    """A closed socket would answer it with RST, and what the kernel still holds of the answer would be lost."""
    wire, client = wires()
    client.shake_hands()
    client.say(GET.replace(b"Host", b"Connection: close\r\nHost"))
    assert wire.state() is State.LINGERING
    assert client.hear().endswith(b"/there")
    client.engine.say_goodbye()
    client.exchange_octets()
    assert wire.state() is State.CLOSED


def test_a_file_arrives_by_encryption_as_by_the_kernel(wires: Any, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2000
    (tmp_path / "file").write_bytes(content)

    async def answer(exchange: Exchange) -> None:
        exchange.start(200, [])
        with (tmp_path / "file").open("rb") as file:
            await send_file(exchange, file.fileno(), 0, len(content), is_whole=True)
        exchange.write(b"", True)

    _, client = wires(answer=answer)
    client.shake_hands()
    client.say(GET)
    heard = b""
    while piece := client.hear():
        heard += piece
    assert heard.endswith(b"\r\n\r\n" + content)
