"""The usual head: what one match takes apart says what the full reading says of it, and nobody can make it costly."""

import random
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from penstock.codec import head, usual
from penstock.codec.buffer import Buffer
from penstock.codec.errors import ProtocolError
from penstock.codec.events import RequestHead
from penstock.codec.head import HeadReader
from penstock.codec.usual import read_usual
from support.mutation import Maker

Answer = RequestHead | tuple[int, str, int]

LINES = [b"Host: a.example", b"Accept: */*", b"Cookie: one=1", b"Connection: keep-alive", b"Referer: http://a.example/1"]

CHANGES = [
    b"Host: b.example:80", b"Host: a b", b"Host: [::1]", b"Host: a%41", b"Host:", b"Host : a", b"Accept: text/html", b"accept: */*", b"Cookie: one=2",
    b"Cookie:", b"Cookie: ", b"Cookie:  two=2\t", b"Cookie: a\tb", b"Cookie:a: b", b" folded", b"Connection: close", b"Connection: Keep-Alive",
    b"Connection: keep-alive, close", b"Content-Length: 3", b"Content-Length: +3", b"Transfer-Encoding: chunked", b"X-New: 1", b"X-New: 1\r",
    b"X-New: \r1", b"X-New: \n1", b"X-New: 1\x0b", b"Referer: \0", b"Referer: \x7f", b"Upgrade: websocket", b"Expect: 100-continue", b"no colon",
    b": nameless", b"Referer: \xff", b"X-Forwarded-For: a", b"FORWARDED: for=a", b"no colon\r\nReferer: b: c", b"X\0Y: b", b"X Y: b", b"X\xffY: b",
]  # fmt: skip
REQUEST_LINES = [
    b"GET / HTTP/1.1", b"GET /a?b?c HTTP/1.1", b"GET /? HTTP/1.1", b"BREW / HTTP/1.1", b"get / HTTP/1.1", b"GET /# HTTP/1.1", b"GET /?# HTTP/1.1",
    b"GET /\xff HTTP/1.1", b"GET / HTTP/1.0", b"GET / HTTP/1.2", b"GET http://b/ HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET  / HTTP/1.1",
    b"GET / HTTP/1.1 ", b"\r\nGET / HTTP/1.1", b"GET /a HTTP/1.1\r\nHost: first", b"GET /\t HTTP/1.1", b"GET HTTP/1.1", b"HEAD / HTTP/1.1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(usual, "_ORDERS", {})
    monkeypatch.setattr(usual, "_SHAPES", {})
    monkeypatch.setattr(usual, "_LAST", [])
    yield


def read(block: bytes, reader: HeadReader | None = None) -> Answer:
    """What a reader makes of a head, or how it refuses it."""
    buffer = Buffer()
    buffer.feed(block + b"\r\n\r\n")
    try:
        head = (reader or HeadReader(65536, 100)).read(buffer)
    except ProtocolError as error:
        return error.status, error.reason, error.offset
    assert head is not None
    return head


def read_in_full(block: bytes) -> Answer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "read_usual", lambda octets, max_fields: None)
        return read(block)


def head_of(lines: list[bytes], request_line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join((request_line, *lines))


def learn(lines: list[bytes], times: int = 100) -> None:
    for _ in range(times):
        read(head_of(lines))


def shapes() -> list[usual._Order]:
    return [shape for alike in usual._SHAPES.values() for shape in alike]


def test_a_head_never_seen_before_is_taken_apart() -> None:
    assert read_usual(head_of(LINES) + b"\r\n\r\n", 100) == read_in_full(head_of(LINES))
    assert read_usual(head_of([*LINES, b"Content-Length: 3"]) + b"\r\n\r\n", 100) == read_in_full(head_of([*LINES, b"Content-Length: 3"]))


def test_an_order_that_comes_often_gets_a_pattern_of_its_own() -> None:
    learn(LINES, 99)
    assert not shapes()
    learn([b"Host: b", *LINES[1:]], 1)
    assert [shape.names for shape in shapes()] == [(b"host", b"accept", b"cookie", b"connection", b"referer")]
    assert read(head_of([b"Host: c", *LINES[1:]])) == read_in_full(head_of([b"Host: c", *LINES[1:]]))


@pytest.mark.parametrize("line", [b"Content-Length: 3", b"Transfer-Encoding: chunked", b"Upgrade: x", b"Expect: 100-continue", b"Connection: a"])
def test_what_else_decides_is_always_judged(line: bytes) -> None:
    learn([*LINES, line])
    assert not shapes() and read(head_of([*LINES, line])) == read_in_full(head_of([*LINES, line]))


def test_a_shape_with_more_fields_than_this_reader_takes_is_refused() -> None:
    learn(LINES)
    assert shapes() and read(head_of(LINES), HeadReader(65536, 4)) == (431, "more than 4 header fields", -1)


@pytest.mark.parametrize("times", [1, 100])
@pytest.mark.parametrize("request_line", REQUEST_LINES)
def test_every_change_of_a_known_head_is_read_as_in_full(request_line: bytes, times: int) -> None:
    learn(LINES, times)
    for change in CHANGES:
        for place in range(len(LINES)):
            for lines in ([*LINES[:place], change, *LINES[place + 1 :]], [*LINES[:place], change, *LINES[place:]]):
                block = head_of(lines, request_line)
                # Twice: an order that was wrongly learnt would be believed the second time.
                assert read(block) == read(block) == read_in_full(block), block


@pytest.mark.parametrize("seed", range(10))
def test_spoilt_heads_are_read_as_in_full(seed: int) -> None:
    maker = Maker(seed, [head_of(LINES) + b"\r\n\r\n", head_of(LINES[::-1], b"GET /a?b HTTP/1.1") + b"\r\n\r\n"])
    learn(LINES)
    learn(LINES[::-1])
    reader = HeadReader(65536, 100)
    for _ in range(500):
        block = maker.make().partition(b"\r\n\r\n")[0]
        expected = read_in_full(block)
        assert read(block) == read(block, reader) == expected, block
        if isinstance(expected, tuple) and not isinstance(expected, RequestHead):
            reader = HeadReader(65536, 100)


def test_ever_new_orders_fill_nothing_and_push_no_shape_out() -> None:
    learn(LINES)
    for number in range(1000):
        read(head_of([*LINES, *(b"X-%d-%d: 1" % (number, place) for place in range(number % 40))]))
    read(head_of([b"Host: a", *(b"%d-%s: 1" % (number, b"x" * 60) for number in range(30))]))
    assert len(usual._ORDERS) <= 512
    assert all(sum(map(len, names)) <= 1024 for names in usual._ORDERS)
    assert len(shapes()) == 1


def test_an_order_gets_its_pattern_once_whatever_other_methods_come_in_it() -> None:
    learn(LINES)
    for request_line in [b"HEAD / HTTP/1.1", b"GET / HTTP/1.0", b"HEAD / HTTP/1.1"]:
        read(head_of(LINES, request_line))
    assert len(shapes()) == 1


def test_of_many_orders_that_come_often_those_in_use_stay() -> None:
    learn(LINES)
    for number in range(20):
        learn([*LINES[:-1], b"X-%d: 1" % number])
        learn([b"Host: a", *(b"X-%d-%d: 1" % (number, place) for place in range(number))])
        learn(LINES, 1)
    assert all(len(alike) <= 4 for alike in usual._SHAPES.values())
    assert usual._SHAPES[len(LINES)][0].names[-1] == b"referer"


def test_orders_that_come_seldom_get_no_pattern() -> None:
    for number in range(3000):
        read(head_of([b"Host: a", b"X-%d: 1" % (number % 700)]))
    assert not shapes()


def test_what_an_unknown_order_costs_does_not_grow_with_what_came_before() -> None:
    """Counted in lines of Python that run, so that no machine is too slow for it."""

    def lines_run(block: bytes) -> int:
        count = 0

        def trace(_: FrameType, event: str, __: Any) -> Any:
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            read(block)
        finally:
            sys.settrace(before)
        return count

    first = lines_run(head_of([b"Host: a", b"X-New-0: 1"]))
    for number in range(600):
        read(head_of([b"Host: a", b"X-%d: 1" % number]))
    assert lines_run(head_of([b"Host: a", b"X-New-1: 1"])) <= first + 1
