"""The readers of bodies on their own: pieces as they come, an end, or nothing yet."""

import pytest

from penstock.codec.body import ChunkedReader, LengthReader
from penstock.codec.buffer import Buffer
from penstock.codec.errors import ProtocolError
from penstock.codec.events import BodyData, BodyEnd

Event = BodyData | BodyEnd | None


def events(reader: LengthReader | ChunkedReader, *pieces: bytes) -> list[Event]:
    """Everything that comes of the pieces, fed one after another, None between them."""
    buffer, found = Buffer(), list[Event]()
    for piece in pieces:
        buffer.feed(piece)
        while True:
            found.append(reader.read(buffer))
            if found[-1] is None or isinstance(found[-1], BodyEnd):
                break
    return found


def chunked() -> ChunkedReader:
    return ChunkedReader(1024, 20)


def body_of(found: list[Event]) -> bytes:
    return b"".join(each.octets for each in found if isinstance(each, BodyData))


def test_a_body_of_known_length_comes_as_it_came() -> None:
    assert events(LengthReader(5), b"ab", b"cde") == [BodyData(b"ab"), None, BodyData(b"cde"), BodyEnd([])]


def test_what_follows_a_body_stays_in_the_buffer() -> None:
    buffer = Buffer()
    buffer.feed(b"abcGET")
    reader = LengthReader(3)
    assert (reader.read(buffer), reader.read(buffer)) == (BodyData(b"abc"), BodyEnd([]))
    assert buffer.take(9) == b"GET"


def test_a_large_piece_is_not_copied() -> None:
    piece = b"x" * 100_000
    found = events(LengthReader(200_000), piece)[0]
    assert isinstance(found, BodyData) and found.octets is piece


def test_chunks_come_without_their_sizes() -> None:
    found = events(chunked(), b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n")
    assert body_of(found) == b"abcde" and found[-1] == BodyEnd([(b"a", b"b")])


def test_a_chunk_need_not_be_whole_to_be_handed_on() -> None:
    found = events(chunked(), b"ffff\r\nabc", b"def")
    assert body_of(found) == b"abcdef" and found[-1] is None


def test_a_reader_tells_how_much_of_a_chunk_is_missing() -> None:
    reader = chunked()
    events(reader, b"ffff\r\nabc")
    assert reader.left == 0xFFFF - 3


def test_pieces_of_a_huge_chunk_are_bounded() -> None:
    found = events(chunked(), b"100000\r\n" + b"x" * 0x100000 + b"\r\n")
    assert max(len(each.octets) for each in found if isinstance(each, BodyData)) <= 65536
    assert len(body_of(found)) == 0x100000


@pytest.mark.parametrize("octets", [b"g\r\n", b"\r\n", b"-1\r\n", b"1\nx", b"1\r\nxy", b"0\r\nA\r\n", b"0\r\nA : b\r\n", b"0\r\n\nx", b"1;\r\n", b"1" * 16 + b"\r\n"])
def test_what_is_no_chunk_is_refused_with_its_clause(octets: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        events(chunked(), octets)
    assert caught.value.status == 400 and caught.value.clause.startswith("RFC 9")


@pytest.mark.parametrize("name", [
    b"Content-Length", b"transfer-encoding", b"HOST", b"Authorization", b"Content-Type", b"Set-Cookie", b"Trailer", b"X-Forwarded-For",
])
def test_trailers_that_would_route_or_frame_are_dropped(name: bytes) -> None:
    assert events(chunked(), b"0\r\n" + name + b": 1\r\nA: b\r\n\r\n")[-1] == BodyEnd([(b"a", b"b")])


def test_dropped_trailers_count_against_the_limit_too() -> None:
    with pytest.raises(ProtocolError) as caught:
        events(chunked(), b"0\r\n" + b"Host: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 100)
    assert caught.value.status == 431


def test_trailers_may_fill_their_limit() -> None:
    line = b"A: " + b"b" * (1024 - 3)
    assert events(chunked(), b"0\r\n" + line + b"\r\n", b"X")[-1] is None


def test_a_body_may_come_octet_by_octet() -> None:
    octets = b'3;a="b"\r\nabc\r\n0\r\nA: b\r\n\r\n'
    found = events(chunked(), *(octets[at : at + 1] for at in range(len(octets))))
    assert body_of(found) == b"abc" and found[-1] == BodyEnd([(b"a", b"b")])


@pytest.mark.parametrize("octets, status", [
    (b"1;" + b"a" * 4096, 400), (b"1;" + b"a" * 4096 + b"\r\n", 400), (b"1;a=" + b"b" * 4000 + b"\r\nx\r\n", None), ((b"1;a=" + b"b" * 4000 + b"\r\nx\r\n") * 5, 400),
    (b"0\r\n" + b"a:b\r\n" * 21, 431), (b"0\r\nA: " + b"b" * 1100, 431), (b"0\r\nA: " + b"b" * 1100 + b"\r\n", 431), (b"1;a=b c\r\n", 400), (b"1;a\rb\r\n", 400), (b"1;a\rb", 400),
])
def test_lines_and_trailers_have_limits_however_they_come(octets: bytes, status: int | None) -> None:
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        if status is None:
            assert events(chunked(), *pieces)[-1] is None
        else:
            with pytest.raises(ProtocolError) as caught:
                events(chunked(), *pieces)
            assert caught.value.status == status
