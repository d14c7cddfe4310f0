"""TLS without I/O: two engines talk to each other by hand."""

import ssl
from typing import Any

import pytest
from penstock_reactor.tls_engine import RECORD_BYTES, TlsEngine
from support.secure import client_context, options

Engines = tuple[TlsEngine, TlsEngine]


def move(source: TlsEngine, target: TlsEngine) -> None:
    target.feed(source.take_output())


@pytest.fixture
def engines() -> Engines:
    """A client and a server after their handshake."""
    client, server = TlsEngine(options(False)), TlsEngine(options(True))
    while not (client.shake_hands() and server.shake_hands()):
        move(client, server)
        server.shake_hands()
        move(server, client)
    move(server, client)
    assert client.read() == b""  # the session tickets
    return client, server


@pytest.mark.parametrize("data", [b"x", b"y" * RECORD_BYTES, b"z" * (5 * RECORD_BYTES + 1)])
def test_what_one_encrypts_the_other_reads_whole(engines: Engines, data: bytes) -> None:
    client, server = engines
    assert client.encrypt(data) and client.has_output
    move(client, server)
    assert not client.has_output and server.has_input
    assert server.read() == data
    assert not server.has_input and server.read() == b"" and not server.is_over


def test_a_record_may_come_byte_by_byte(engines: Engines) -> None:
    client, server = engines
    client.encrypt(b"first" * 4000)
    client.encrypt(b"second")
    read = bytearray()
    for byte in client.take_output():
        server.feed(bytes([byte]))
        read += server.read()
    assert bytes(read) == b"first" * 4000 + b"second"


def test_reading_into_a_small_buffer_leaves_the_rest(engines: Engines) -> None:
    client, server = engines
    buffer = bytearray(4)
    assert server.read_into(buffer) == 0
    client.encrypt(b"0123456789")
    move(client, server)
    counts = []
    while server.has_input:
        counts.append(server.read_into(buffer))
    assert counts == [4, 4, 2] and not server.is_over


@pytest.mark.parametrize("into", [False, True])
def test_a_goodbye_is_the_end_and_no_failure(engines: Engines, into: bool) -> None:
    client, server = engines
    assert not client.say_goodbye()
    move(client, server)
    assert (server.read_into(bytearray(9)) if into else server.read()) in (0, b"")
    assert server.is_over and server.failure is None
    assert server.say_goodbye()
    move(server, client)
    assert client.read() == b"" and client.is_over and client.failure is None


def test_data_before_a_goodbye_is_read_first(engines: Engines) -> None:
    client, server = engines
    client.encrypt(b"last words")
    client.say_goodbye()
    move(client, server)
    assert server.read() == b"last words"
    assert server.is_over and server.failure is None


def test_a_goodbye_is_said_over_unread_data(engines: Engines) -> None:
    client, server = engines
    client.encrypt(b"unread")
    move(client, server)
    assert not server.say_goodbye()
    move(server, client)
    assert client.read() == b"" and client.is_over
    assert server.read() == b"" and not server.is_over
    client.encrypt(b"more")
    client.say_goodbye()
    move(client, server)
    assert server.read() == b"more" and server.is_over and server.failure is None


@pytest.mark.parametrize("before", [b"", b"good"])
def test_garbage_is_a_failure_after_what_was_good(engines: Engines, before: bytes) -> None:
    client, server = engines
    if before:
        client.encrypt(before)
    client.encrypt(b"to be broken")
    data = bytearray(client.take_output())
    data[-1] ^= 1
    server.feed(bytes(data))
    assert server.read() == before
    assert server.is_over and isinstance(server.failure, ssl.SSLError)
    assert server.has_output  # an alert


def test_a_failed_handshake_raises_and_leaves_an_alert() -> None:
    client = TlsEngine(options(False)._replace(server_hostname="other.example"))
    server = TlsEngine(options(True))
    client.shake_hands()
    move(client, server)
    server.shake_hands()
    move(server, client)
    with pytest.raises(ssl.SSLCertVerificationError):
        client.shake_hands()
    assert client.has_output


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ssl_object", ssl.SSLObject), ("sslcontext", ssl.SSLContext), ("peercert", dict), ("cipher", tuple)],
)
def test_extra_info_is_what_asyncio_documents(engines: Engines, name: str, kind: Any) -> None:
    client, _ = engines
    assert isinstance(client.extra_info(name), kind)
    assert client.extra_info("sslcontext") is client_context()
    assert client.extra_info("compression") is None
    with pytest.raises(KeyError):
        client.extra_info("peername")
