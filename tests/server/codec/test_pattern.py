"""Patterns: a reader that has read before says what a new one says, and reads only what differs."""

import random

import pytest

from penstock.codec.buffer import Buffer
from penstock.codec.errors import ProtocolError
from penstock.codec.events import Field, RequestHead
from penstock.codec.head import HeadReader
from penstock.codec.pattern import Pattern

LINES = [b"Host: a.example", b"Accept: */*", b"Cookie: one=1", b"Connection: keep-alive", b"Referer: http://a.example/1"]


def read(reader: HeadReader, block: bytes) -> RequestHead | int:
    """What a reader makes of a head; the status when it refuses it."""
    buffer = Buffer()
    buffer.feed(block + b"\r\n\r\n")
    try:
        head = reader.read(buffer)
    except ProtocolError as error:
        return error.status
    assert head is not None
    return head


def head_of(*lines: bytes) -> bytes:
    return b"\r\n".join((b"GET / HTTP/1.1", *lines))


def pattern_of(lines: list[bytes], *places: int) -> Pattern:
    fields: list[Field] = []
    for line in lines:
        name, _, value = line.partition(b": ")
        fields.append((name.lower(), value))
    return Pattern(lines, fields, frozenset(places))


def test_a_pattern_without_variation_fits_only_its_own_lines() -> None:
    pattern = pattern_of(LINES)
    assert pattern.read(b"\r\n".join(LINES)) == pattern.fields
    assert pattern.read(b"\r\n".join(LINES[:-1])) is None
    assert pattern.read(b"\r\n".join([*LINES, b"X: y"])) is None


def test_what_varies_is_taken_out() -> None:
    pattern = pattern_of(LINES, 2, 4)
    lines = [*LINES[:2], b"Cookie:  two=2\t", LINES[3], b"Referer:"]
    fields = pattern.read(b"\r\n".join(lines))
    assert fields is not None
    assert fields[2] == (b"cookie", b"two=2")
    assert fields[4] == (b"referer", b"")
    assert fields[0] is pattern.fields[0]


@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\n", b"\x0b", b"\x7f"])
@pytest.mark.parametrize("where", ["%b1", "1%b", "1%b1"])
def test_a_forbidden_octet_in_what_varies_does_not_fit(octet: bytes, where: str) -> None:
    value = where.encode() % octet
    assert pattern_of(LINES, 2).read(b"\r\n".join([*LINES[:2], b"Cookie: " + value, *LINES[3:]])) is None


def test_the_pattern_is_copied_and_never_changed() -> None:
    pattern = pattern_of(LINES, 2)
    before = list(pattern.fields)
    fields = pattern.read(b"\r\n".join([*LINES[:2], b"Cookie: other", *LINES[3:]]))
    assert fields is not None
    fields.clear()
    assert pattern.fields == before


def test_a_field_that_decides_never_varies() -> None:
    reader = HeadReader(65536, 100)
    for host in (b"a.example", b"b.example", b"c d"):
        expected = read(HeadReader(65536, 100), head_of(b"Host: " + host, b"Accept: x"))
        assert read(reader, head_of(b"Host: " + host, b"Accept: x")) == expected


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
        block = head_of(*lines)
        assert read(reader, block) == read(HeadReader(65536, 100), block), block
        # A refused head ends the connection: what comes of a head read after one is nobody's concern.
        if isinstance(read(HeadReader(65536, 100), block), int):
            reader = HeadReader(65536, 100)
