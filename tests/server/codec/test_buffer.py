"""The buffer: what is fed comes out once, in order, and nothing is looked at again and again."""

import random

from penstock.codec.buffer import Buffer


def fed(*pieces: bytes) -> Buffer:
    buffer = Buffer()
    for piece in pieces:
        buffer.feed(piece)
    return buffer


def test_what_was_fed_is_taken_in_order() -> None:
    buffer = fed(b"abc", b"", b"def")
    assert [buffer.take(2), buffer.take(3), buffer.take(9), buffer.take(9)] == [b"ab", b"cde", b"f", b""]
    assert buffer.size == 0


def test_a_piece_that_came_alone_is_kept_as_it_is() -> None:
    piece = bytes(range(256)) * 10
    assert fed(piece).take(len(piece)) is piece


def test_a_delimiter_is_taken_with_what_stands_before_it() -> None:
    buffer = fed(b"ab\r\ncd\r\n")
    assert buffer.take_until(b"\r\n") == b"ab" and buffer.take_until(b"\r\n") == b"cd"
    assert buffer.take_until(b"\r\n") is None and buffer.size == 0


def test_a_delimiter_may_come_in_pieces() -> None:
    buffer = fed(b"ab\r")
    assert buffer.take_until(b"\r\n\r\n") is None
    for octet in (b"\n", b"\r"):
        buffer.feed(octet)
        assert buffer.take_until(b"\r\n\r\n") is None
    buffer.feed(b"\nx")
    assert buffer.take_until(b"\r\n\r\n") == b"ab" and buffer.take(9) == b"x"


def test_how_far_was_searched_leaves_room_for_a_cut_delimiter() -> None:
    buffer = fed(b"abcde")
    assert buffer.searched == 0 and buffer.take_until(b"\r\n") is None
    assert buffer.searched == 4
    buffer.take(2)
    assert buffer.searched == 3 or buffer.searched == 0


def test_peeking_takes_nothing() -> None:
    buffer = fed(b"abc", b"def")
    assert buffer.peek(0, 2) == b"ab" and buffer.peek(4) == b"ef" and buffer.peek(9) == b"" and buffer.size == 6


def test_what_was_skipped_is_gone() -> None:
    buffer = fed(b"\r\nabc\r\n")
    buffer.skip(2)
    assert buffer.size == 5 and buffer.take_until(b"\r\n") == b"abc"


def test_what_is_put_back_comes_first() -> None:
    buffer = fed(b"abcdef")
    buffer.take(4)
    buffer.put_back(b"XY")
    assert buffer.size == 4 and buffer.take(9) == b"XYef"


def test_a_cleared_buffer_is_empty_and_can_be_fed() -> None:
    buffer = fed(b"abc", b"def")
    buffer.clear()
    assert buffer.size == 0 and buffer.take(9) == b"" and buffer.peek(0) == b""
    buffer.feed(b"x")
    assert buffer.take(9) == b"x"


def test_everything_comes_out_as_it_went_in_however_it_is_used() -> None:
    chance = random.Random(7)
    for _ in range(300):
        text = bytes(chance.choices(b"ab\r\n", k=chance.randrange(200)))
        buffer, taken, at = Buffer(), b"", 0
        while at < len(text) or buffer.size:
            step = chance.randrange(1, 9)
            buffer.feed(text[at : at + step])
            at += step
            what = chance.randrange(4)
            if what == 0:
                taken += buffer.take(chance.randrange(1, 9))
            elif what == 1 and (found := buffer.take_until(b"\r\n")) is not None:
                taken += found + b"\r\n"
            elif what == 2:
                assert (taken + buffer.peek(0)) == text[: min(at, len(text))]
            elif at >= len(text):
                taken += buffer.take(buffer.size)
        assert taken == text


def test_an_empty_buffer_keeps_nothing_of_what_went_through() -> None:
    buffer = fed(b"x" * 65536)
    buffer.take(65536)
    assert buffer._octets == b""
    buffer = fed(b"x" * 65536 + b"\r\n")
    buffer.take_until(b"\r\n")
    assert buffer._octets == b""
