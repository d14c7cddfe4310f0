"""What an error says: to the peer, to the log, and about what the peer may be."""

import pytest

from penstock.codec.errors import ProtocolError, ResponseError
from support.replay import LIMITS

from penstock.codec.http1 import Http1Codec


def refused(octets: bytes) -> ProtocolError:
    codec = Http1Codec(LIMITS)
    codec.feed(octets)
    with pytest.raises(ProtocolError) as caught:
        codec.next_event()
    return caught.value


def test_an_error_says_status_reason_clause_place_and_octets() -> None:
    error = refused(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n")
    assert (error.status, error.reason, error.clause, error.offset) == (400, "a NUL in the request", "RFC 9110 5.5", 31)
    assert str(error) == r"400, a NUL in the request (RFC 9110 5.5) at octet 31: b'\x00c\r\n\r\n'"


def test_an_error_without_octets_says_less() -> None:
    assert str(refused(b"GET / HTTP/1.1\r\n\r\n")) == "400, no Host (RFC 9112 3.2)"


def test_octets_of_a_body_have_no_place_in_the_head() -> None:
    codec = Http1Codec(LIMITS)
    codec.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")
    codec.next_event()
    with pytest.raises(ProtocolError) as caught:
        codec.next_event()
    assert str(caught.value) == "400, a chunk size that is not a hexadecimal number (RFC 9112 7.1): b'xyz'"


def test_what_it_shows_of_the_octets_is_short_and_escaped() -> None:
    error = refused(b"GET /\xff" + b"a" * 900 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(str(error)) < 200 and str(error).isascii() and r"b'/\xffaaa" in str(error)


@pytest.mark.parametrize("octets, what", [
    (b"\x16\x03\x01\x02\x00\x01\x00", "TLS"), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"), (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY"), (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "PROXY"), (b"EHLO a\r\n", "mail"),
    (b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", "proxy"), (b"\x05\x01\0", "SOCKS"),
])
def test_an_error_guesses_what_the_peer_speaks(octets: bytes, what: str) -> None:
    error = refused(octets)
    assert what in error.hint and error.hint in str(error)


def test_an_error_guesses_nothing_of_plain_mistakes() -> None:
    assert refused(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n").hint == ""


@pytest.mark.parametrize("octets, offset", [
    (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 6), (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 4), (b"GET / HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n", 25),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 22), (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x1\r\n\r\n", 41),
])
def test_an_error_finds_the_octets_to_blame(octets: bytes, offset: int) -> None:
    assert refused(octets).offset == offset


def test_an_app_catches_its_own_errors_as_value_errors() -> None:
    assert issubclass(ResponseError, ValueError) and not issubclass(ProtocolError, ValueError)
