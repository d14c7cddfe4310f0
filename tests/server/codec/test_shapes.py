"""Shapes: a head that one match takes apart says what the full reading says of it."""

import random
from collections.abc import Iterator

import pytest
from support.mutation import Maker

from penstock.codec import shapes
from penstock.codec.buffer import Buffer
from penstock.codec.errors import ProtocolError
from penstock.codec.events import RequestHead
from penstock.codec.head import HeadReader
from penstock.codec.shapes import SHAPES, learn_shape

LINES = [b"Host: a.example", b"Accept: */*", b"Cookie: one=1", b"Connection: keep-alive", b"Referer: http://a.example/1"]

CHANGES = [
    b"Host: b.example:80", b"Host: a b", b"Host: [::1]", b"Host : a", b"Accept: text/html", b"accept: */*", b"Cookie: one=2", b"Cookie:",
    b"Cookie: ", b"Cookie:  two=2\t", b"Cookie: a\tb", b" folded", b"Connection: close", b"Connection: Keep-Alive", b"Content-Length: 3",
    b"Content-Length: +3", b"Transfer-Encoding: chunked", b"X-New: 1", b"X-New: 1\r", b"X-New: \r1", b"X-New: \n1", b"Referer: \0",
    b"Referer: http://a.example/2", b"Upgrade: websocket", b"Expect: 100-continue", b"no colon", b": nameless", b"Referer: \xff",
]  # fmt: skip
REQUEST_LINES = [
    b"GET / HTTP/1.1", b"GET /a?b?c HTTP/1.1", b"GET /? HTTP/1.1", b"BREW / HTTP/1.1", b"get / HTTP/1.1", b"GET /# HTTP/1.1", b"GET /\xff HTTP/1.1",
    b"GET / HTTP/1.0", b"GET / HTTP/1.2", b"GET http://b/ HTTP/1.1", b"GET * HTTP/1.1", b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"\r\nGET / HTTP/1.1",
    b"GET /a HTTP/1.1\r\nHost: first",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = dict(SHAPES)
    SHAPES.clear()
    monkeypatch.setattr(shapes, "_seen", set())
    yield
    SHAPES.clear()
    SHAPES.update(before)


def read(block: bytes, reader: HeadReader | None = None) -> RequestHead | tuple[int, str, int]:
    """What a reader makes of a head, or how it refuses it."""
    buffer = Buffer()
    buffer.feed(block + b"\r\n\r\n")
    try:
        head = (reader or HeadReader(65536, 100)).read(buffer)
    except ProtocolError as error:
        return error.status, error.reason, error.offset
    assert head is not None
    return head


def read_in_full(block: bytes) -> RequestHead | tuple[int, str, int]:
    known = dict(SHAPES)
    SHAPES.clear()
    try:
        return read(block)
    finally:
        SHAPES.clear()
        SHAPES.update(known)


def head_of(lines: list[bytes], request_line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((request_line, *lines))


def learn(lines: list[bytes]) -> None:
    for _ in range(2):
        read(head_of(lines))


def count() -> int:
    return sum(map(len, SHAPES.values()))


def test_names_that_come_twice_in_one_order_are_a_shape() -> None:
    read(head_of(LINES))
    assert not count()
    read(head_of([b"Host: b", *LINES[1:]]))
    assert count() == 1
    (shape,) = SHAPES[2 * len(LINES)]
    assert shape.read(head_of(LINES)) == read_in_full(head_of(LINES))
    assert shape.read(head_of(LINES[::-1])) is None


@pytest.mark.parametrize("line", [b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Upgrade: x", b"Expect: 100-continue", b"Connection: a"])
def test_what_else_decides_makes_no_shape(line: bytes) -> None:
    learn([*LINES, line])
    assert not count()


def test_few_shapes_are_kept_and_no_long_ones() -> None:
    for number in range(500):
        learn([b"Host: a", b"X-%d: 1" % number])
        learn([b"Host: a", *(b"X-%d-%d: 1" % (number, place) for place in range(number % 60))])
    assert count() <= 64
    assert all(len(alike) <= 4 for alike in SHAPES.values())
    assert max(SHAPES) <= 80
    for number in range(1000):
        learn_shape([b"Host: a", b"Y-%d: 1" % number], [(b"host", b"a")])
    assert len(shapes._seen) <= 256


def test_a_shape_with_more_fields_than_this_reader_takes_is_refused() -> None:
    learn(LINES)
    answer = read(head_of(LINES), HeadReader(65536, 4))
    assert isinstance(answer, tuple) and answer[0] == 431


@pytest.mark.parametrize("request_line", REQUEST_LINES)
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_known_head_is_read_as_in_full(request_line: bytes, change: bytes) -> None:
    learn(LINES)
    for place in range(len(LINES)):
        for lines in ([*LINES[:place], change, *LINES[place + 1 :]], [*LINES[:place], change, *LINES[place:]]):
            block = head_of(lines, request_line)
            assert read(block) == read_in_full(block), block


@pytest.mark.parametrize("seed", range(10))
def test_spoilt_heads_are_read_as_in_full(seed: int) -> None:
    chance = random.Random(seed)
    maker = Maker(seed, [head_of(LINES) + b"\r\n\r\n", head_of(LINES[::-1], b"GET /a?b HTTP/1.1") + b"\r\n\r\n"])
    learn(LINES)
    learn(LINES[::-1])
    reader = HeadReader(65536, 100)
    for _ in range(500):
        block = maker.make().partition(b"\r\n\r\n")[0]
        expected = read_in_full(block)
        assert read(block) == expected, block
        assert read(block, reader) == expected, block
        if isinstance(expected, tuple) or chance.random() < 0.1:
            reader = HeadReader(65536, 100)
