"""Fields, line by line: what they say about the connection, and tables that stay bounded."""

import pytest

from penstock.codec import fields
from penstock.codec.errors import ProtocolError
from penstock.codec.fields import bad_octet, check_host, is_forwarded, judge, parse_fields, read_length


def test_fields_are_lower_case_names_and_bare_values_and_those_that_decide_are_named() -> None:
    found, decisive = parse_fields(b"Host:a\r\nX-A: \t b c\t \r\nCONNECTION: close\r\nx-a:", 4)
    assert found == [(b"host", b"a"), (b"x-a", b"b c"), (b"connection", b"close"), (b"x-a", b"")]
    assert decisive == [found[0], found[2]]
    assert parse_fields(b"", 0) == ([], [])


@pytest.mark.parametrize("block, reason", [
    (b"A: b\r\n c", "a folded header line"), (b"A", "a header line without a colon"), (b"A : b", "white space before a header's colon"),
    (b"A\xff: b", "a header name that is not a token"), (b": b", "a header name that is not a token"), (b"A: b\r", "a bare CR in the request"),
    (b"A: \n", "a bare LF in the request"), (b"A: \0", "a NUL in the request"), (b"A: b\r\nB: c\r\nC: d", "more than 2 header fields"),
])
def test_a_line_that_is_none_is_refused_with_its_reason(block: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_fields(block, 2)
    assert caught.value.reason == reason


def test_what_decides_is_judged_by_version() -> None:
    host = (b"host", b"a")
    assert judge("1.1", [host]) == (0, True, False, ())
    assert judge("1.0", [host, (b"upgrade", b"x"), (b"connection", b"Keep-Alive, upgrade")]) == (0, True, False, ())
    assert judge("1.1", [host, (b"content-length", b"3"), (b"expect", b"100-Continue")]) == (3, True, True, ())


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-anything", b"forwarded"])
def test_what_proxies_write_is_told(name: bytes) -> None:
    assert is_forwarded([b"host", name]) and not is_forwarded([b"host", b"x-a-" + name, b"via"]) and not is_forwarded([])


def test_tables_are_bounded_and_an_emptied_one_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_NAMES", {})
    monkeypatch.setattr(fields, "HOSTS", set())
    block = b"Host: a\r\nX-A: b\r\nConnection: close"
    fresh = parse_fields(block, 9)
    for number in range(5000):
        parse_fields(b"X-%d: a" % number, 9)
        check_host(b"h%d" % number)
        assert len(fields._NAMES) <= 2048 and len(fields.HOSTS) <= 256
    assert parse_fields(block, 9) == fresh
    with pytest.raises(ProtocolError):
        parse_fields(b"X-5 : b", 9)


def test_long_names_and_hosts_are_not_kept() -> None:
    parse_fields(b"n" * 100 + b": v", 9)
    check_host(b"h" * 100)
    assert not any(len(name) > 64 for name in [*fields._NAMES, *fields.HOSTS])


def test_a_bad_octet_is_named_with_its_place() -> None:
    assert (bad_octet(b"ab\0c", 10).reason, bad_octet(b"ab\0c", 10).offset) == ("a NUL in the request", 12)


@pytest.mark.parametrize("length", [b"", b"+1", b"-1", b" 1", b"1 ", b"1_0", b"0x1", b"\xb2", b"1,1", b"1.0", b"9" * 19, b"0" * 5000])
def test_a_length_is_digits_alone_and_not_too_many(length: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_length(length)


def test_a_length_may_be_as_large_as_anybody_can_send() -> None:
    assert read_length(b"9" * 18) == 10**18 - 1 and read_length(b"0") == 0
