"""Patterns: a reader that has read before says what a new one says, and reads only what differs."""

import random

import pytest

from penstock.codec.buffer import Buffer
from penstock.codec.errors import ProtocolError
from penstock.codec.events import RequestHead
from penstock.codec.head import HeadReader
from penstock.codec.pattern import Pattern, in_common
from penstock.codec.usual import read_usual

LINES = [b"Host: a.example", b"Accept: */*", b"Cookie: one=1", b"Connection: keep-alive", b"Referer: http://a.example/1"]


def octets_of(lines: list[bytes], request_line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((request_line, *lines, b"", b""))


def head_of(lines: list[bytes]) -> RequestHead:
    head = read_usual(octets_of(lines), 100)
    assert head is not None
    return head


def pattern_of(*places: int) -> Pattern:
    other = [line + b"x" if place in places else line for place, line in enumerate(LINES)]
    pattern = in_common(octets_of(LINES), head_of(LINES), head_of(other).fields, None)
    assert pattern is not None
    return pattern


def with_line(place: int, line: bytes) -> list[bytes]:
    return [*LINES[:place], line, *LINES[place + 1 :]]


def read(reader: HeadReader, lines: list[bytes], method: bytes = b"GET") -> RequestHead | int:
    """What a reader makes of a head; the status when it refuses it."""
    buffer = Buffer()
    buffer.feed(octets_of(lines, method + b" / HTTP/1.1"))
    try:
        head = reader.read(buffer)
    except ProtocolError as error:
        return error.status
    assert head is not None
    return head


def test_a_pattern_without_variation_fits_its_own_fields_behind_any_target() -> None:
    pattern = pattern_of()
    assert pattern.read(octets_of(LINES)) == head_of(LINES)
    assert pattern.read(octets_of(LINES, b"GET /a?b HTTP/1.1")) == head_of(LINES)._replace(path=b"/a", query=b"b")
    assert pattern.read(octets_of(LINES[:-1])) is None
    assert pattern.read(octets_of([*LINES, b"X: y"])) is None
    assert pattern.read(octets_of([b"X: y", *LINES])) is None


@pytest.mark.parametrize("line", [b"GET / HTTP/1.0", b"BREW / HTTP/1.1", b"GET /# HTTP/1.1", b"GET * HTTP/1.1", b"GET /\0 HTTP/1.1", b"GET / HTTP/1.1 ", b"PUT / HTTP/1.1"])
def test_another_request_line_does_not_fit(line: bytes) -> None:
    assert pattern_of(2).read(octets_of(LINES, line)) is None


def test_what_varies_is_taken_out() -> None:
    lines = [*LINES[:2], b"Cookie:  two=2\t", LINES[3], b"Referer:"]
    head = pattern_of(2, 4).read(octets_of(lines))
    assert head == head_of(LINES)._replace(fields=[*head_of(LINES).fields[:2], (b"cookie", b"two=2"), (b"connection", b"keep-alive"), (b"referer", b"")])


@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\n", b"\x0b", b"\x7f", b"\r\n", b"\r\nX: y\r\n"])
@pytest.mark.parametrize("where", ["%b1", "1%b", "1%b1"])
@pytest.mark.parametrize("place", [2, 4])
def test_a_forbidden_octet_in_what_varies_does_not_fit(octet: bytes, where: str, place: int) -> None:
    name = LINES[place].partition(b":")[0]
    assert pattern_of(2, 4).read(octets_of(with_line(place, name + b": " + where.encode() % octet))) is None


def test_what_is_known_is_copied_and_never_changed() -> None:
    pattern = pattern_of(2)
    head = pattern.read(octets_of(with_line(2, b"Cookie: other")))
    assert head is not None
    head.fields.clear()
    assert pattern.read(octets_of(LINES)) == head_of(LINES)


def test_what_two_heads_have_in_common_is_all_but_the_values_that_differ() -> None:
    other = with_line(2, b"Cookie: two")
    pattern = in_common(octets_of(other), head_of(other), head_of(LINES).fields, pattern_of(4))
    assert pattern is not None and [place for _, _, place, _ in pattern.parts] == [2, 4]


@pytest.mark.parametrize("lines", [
    [b"Host: b", *LINES[1:]], with_line(3, b"Connection: Keep-Alive"), LINES[:-1], LINES[::-1],
    [LINES[0], b"Accept: x", b"Cookie: x", LINES[3], b"Referer: x"],
])
def test_heads_that_differ_in_what_decides_or_in_number_or_in_most_have_nothing_in_common(lines: list[bytes]) -> None:
    assert in_common(octets_of(lines), head_of(lines), head_of(LINES).fields, None) is None


@pytest.mark.parametrize("lines", [[b"Content-Length: 3"], [b"Connection: Upgrade", b"Upgrade: a"], [b"Content-Length: 3", b"Expect: 100-continue"]])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
def test_heads_that_ask_for_more_than_an_answer_are_read_as_by_a_new_reader(method: bytes, lines: list[bytes]) -> None:
    reader = HeadReader(65536, 100)
    for number in range(4):
        asked = [*LINES[:2], b"Cookie: %d" % number, LINES[4], *lines]
        assert read(reader, asked, method) == read(HeadReader(65536, 100), asked, method)


_CHANGES = [
    b"Host: b.example", b"Host: a b", b"Host : a", b"Accept: text/html", b"accept: */*", b"Cookie: one=2", b"Cookie:", b" folded",
    b"Connection: close", b"Content-Length: 3", b"Content-Length: +3", b"Transfer-Encoding: chunked", b"X-New: 1", b"X-New: 1\r",
    b"Referer: \0", b"Referer: http://a.example/2", b"Upgrade: websocket", b"Expect: 100-continue", b"no colon", b": nameless",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_a_reader_that_has_read_before_says_what_a_new_one_says(seed: int) -> None:
    chance = random.Random(seed)
    reader = HeadReader(65536, 100)
    lines = list(LINES)
    for _ in range(60):
        if chance.random() < 0.3:
            lines = list(LINES)
        for _ in range(chance.randrange(3)):
            place = chance.randrange(len(lines))
            kind = chance.random()
            if kind < 0.7:
                lines[place] = chance.choice([*_CHANGES, *LINES, lines[place][:-1], lines[place] + b"x"])
            elif kind < 0.85:
                lines.insert(place, chance.choice([*_CHANGES, *LINES]))
            elif len(lines) > 1:
                del lines[place]
        assert read(reader, lines) == read(HeadReader(65536, 100), lines), lines
        # A refused head ends the connection: what comes of a head read after one is nobody's concern.
        if isinstance(read(HeadReader(65536, 100), lines), int):
            reader = HeadReader(65536, 100)
