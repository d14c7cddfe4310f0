"""An app's fields as octets: what goes out, what is held to, and what is refused to the app."""

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.codec import response
from penstock.codec.errors import ResponseError
from penstock.codec.response import STATUS_LINES, Defaults, encode_fields, encode_trailers

NONE = Defaults(b"", b"", b"")
BOTH = Defaults(b"date: D\r\n", b"server: S\r\n", b"date: D\r\nserver: S\r\n")


def encoded(*fields: tuple[bytes, bytes]) -> bytes:
    return encode_fields(fields, NONE)[0]


def test_fields_go_out_in_order_with_their_duplicates_and_their_case() -> None:
    assert encoded((b"X-B", b"1"), (b"x-a", b"2"), (b"X-B", b"3")) == b"X-B: 1\r\nx-a: 2\r\nX-B: 3\r\n"


def test_values_may_be_empty_and_hold_obs_text_and_tabs() -> None:
    assert encoded((b"a", b""), (b"b", b"\xe4\t\xff")) == b"a: \r\nb: \xe4\t\xff\r\n"


@pytest.mark.parametrize("octet", [b"\r", b"\n", b"\0", b"\r\n", b"\x0b", b"\x0c", b"\x1b", b"\x7f", b"\r\nset-cookie: a=b"])
@pytest.mark.parametrize("place", ["first", "last", "within", "alone"])
def test_no_octet_of_an_app_can_end_a_field(octet: bytes, place: str) -> None:
    value = {"first": octet + b"a", "last": b"a" + octet, "within": b"a" + octet + b"b", "alone": octet}[place]
    for name in (b"x-a", b"location", b"set-cookie", b"date", b"server", b"x-" + b"l" * 100):
        for _ in range(2):
            with pytest.raises(ResponseError, match="control octet"):
                encoded((b"x-good", b"a"), (name, value), (b"x-good", b"b"))


@pytest.mark.parametrize("name", [b"", b" ", b"a b", b"a:", b"a\r\nb", b"a\n", b"\0", b"\xe4", b"(a)", b" a", b"a ", b"a\t", b":path", b"a,b"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    for _ in range(2):
        with pytest.raises(ResponseError, match="not a valid header name"):
            encoded((name, b"b"))


@pytest.mark.parametrize("fields", [
    None, 5, [5], [()], [(b"a",)], [(b"a", b"b", b"c")], [("a", "b")], [(b"a", "b")], [("a", b"b")], [(b"a", 5)], [(b"a", None)], [(None, b"b")],
    [b"a: b"], "ab", {b"a": b"b"}, [(b"content-length", "3")], [(b"content-length", 3)], [(b"connection", "close")],
])
def test_fields_that_are_no_pairs_of_bytes_are_refused(fields: Any) -> None:
    with pytest.raises(ResponseError):
        encode_fields(fields, NONE)


def test_fields_are_any_iterable_and_read_once() -> None:
    def generated() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"b"

    pairs: Any = [[b"a", b"b"], (b"c", b"d")]
    assert encode_fields(generated(), NONE)[0] == b"a: b\r\n"
    assert encode_fields(pairs, NONE)[0] == b"a: b\r\nc: d\r\n"


def test_an_app_that_raises_while_giving_its_fields_is_heard() -> None:
    def generated() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"b"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        encode_fields(generated(), NONE)


def test_date_and_server_come_first_and_once() -> None:
    assert encode_fields([(b"a", b"b")], BOTH)[0] == b"date: D\r\nserver: S\r\na: b\r\n"
    assert encode_fields([(b"Date", b"X")], BOTH)[0] == b"server: S\r\nDate: X\r\n"
    assert encode_fields([(b"server", b"X")], BOTH)[0] == b"date: D\r\nserver: X\r\n"
    assert encode_fields([(b"server", b"X"), (b"date", b"Y")], BOTH)[0] == b"server: X\r\ndate: Y\r\n"
    for _ in range(2):
        assert encode_fields([(b"server", b"X")], NONE)[0] == b"server: X\r\n"


@pytest.mark.parametrize("value, length", [(b"0", 0), (b"12", 12), (b"007", 7), (b"9" * 18, 10**18 - 1)])
def test_a_content_length_is_taken_out_and_held_to(value: bytes, length: int) -> None:
    assert encode_fields([(b"Content-Length", value), (b"a", b"b")], NONE) == (b"a: b\r\n", length, False)


@pytest.mark.parametrize("value", [b"", b"+1", b"-1", b" 1", b"1_0", b"0x1", b"1, 1", b"1.0", b"\xb2", b"9" * 19, b"1\r\n"])
def test_a_content_length_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(ResponseError, match="content-length"):
        encoded((b"content-length", value))


def test_two_content_lengths_are_refused() -> None:
    with pytest.raises(ResponseError, match="more than one"):
        encoded((b"content-length", b"1"), (b"Content-Length", b"1"))


@pytest.mark.parametrize("name, value", [
    (b"Transfer-Encoding", b"chunked"), (b"transfer-encoding", b"gzip"), (b"Keep-Alive", b"timeout=5"), (b"Connection", b"keep-alive"),
    (b"connection", b"Close"), (b"connection", b""),
])
def test_what_an_app_says_about_framing_and_keeping_the_connection_is_not_sent(name: bytes, value: bytes) -> None:
    for _ in range(2):
        assert encoded((name, value), (b"a", b"b")) == b"a: b\r\n"


def test_an_app_may_name_the_upgrade_it_offers() -> None:
    for _ in range(2):
        assert encoded((b"upgrade", b"h3"), (b"Connection", b"Upgrade, close")) == b"upgrade: h3\r\nConnection: upgrade\r\n"
    with pytest.raises(ResponseError):
        encoded((b"connection", b"upgrade\r\nx: y"))


@pytest.mark.parametrize("value, closes", [
    (b"close", True), (b"Close", True), (b"foo, close", True), (b"keep-alive", False), (b"", False), (b"closed", False),
])
def test_an_app_may_ask_to_close_the_connection(value: bytes, closes: bool) -> None:
    assert encode_fields([(b"Connection", value)], NONE)[2] is closes
    assert encode_fields([(b"connection", value), (b"connection", b"x")], NONE)[2] is closes


def test_what_comes_again_is_remembered_whatever_came_once_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "_NAMES", {})
    monkeypatch.setattr(response, "_LINES", {})
    for number in range(3000):
        encoded((b"x-%d" % number, b"%d" % number))
    encoded((b"server-timing", b"db"))
    assert b"server-timing" in response._NAMES and (b"server-timing", b"db") in response._LINES


def test_tables_are_bounded_and_full_ones_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "_NAMES", {})
    monkeypatch.setattr(response, "_LINES", {})
    for number in range(3000):
        name = b"x-%d" % number
        assert encoded((name, b"v")) == name + b": v\r\n"
        assert len(response._NAMES) <= 1024 and len(response._LINES) <= 1024
    assert encoded((b"x-new", b"v"), (b"x-1", b"w")) == b"x-new: v\r\nx-1: w\r\n"
    with pytest.raises(ResponseError):
        encoded((b"x-new", b"v\r\n"))
    with pytest.raises(ResponseError):
        encoded((b"x new", b"v"))


def test_long_and_changing_lines_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(response, "_LINES", {})
    encoded((b"x-long", b"v" * 1000), (b"set-cookie", b"secret"), (b"date", b"D"))
    assert response._LINES == {}


def test_trailers_are_checked_like_fields_and_frame_nothing() -> None:
    assert encode_trailers([(b"a", b"b"), (b"content-length", b"5"), (b"transfer-encoding", b"x"), (b"connection", b"close")]) == b"a: b\r\n"
    with pytest.raises(ResponseError):
        encode_trailers([(b"a", b"b\r\n")])


def test_every_status_has_a_line_with_a_reason_or_an_empty_one() -> None:
    assert STATUS_LINES[200] == b"HTTP/1.1 200 OK\r\n" and STATUS_LINES[404] == b"HTTP/1.1 404 Not Found\r\n"
    # RFC 9112 4: the space before a reason stands even when there is none.
    assert STATUS_LINES[299] == b"HTTP/1.1 299 \r\n" and set(STATUS_LINES) == set(range(100, 1000))
