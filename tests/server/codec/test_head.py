"""Heads as one block: the tables that answer for what repeats change no answer, and stay bounded."""

import random
from itertools import combinations, pairwise

import pytest

from penstock.codec import fields, head, usual
from penstock.codec.buffer import Buffer
from penstock.codec.errors import ProtocolError
from penstock.codec.events import CHUNKED, RequestHead
from penstock.codec.head import HeadReader
from support.cases import load

BLOCKS = [b"GET / HTTP/1.1\r\nHost: a", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3"]


def read(block: bytes, reader: HeadReader | None = None) -> RequestHead | tuple[int, str]:
    try:
        return (reader or HeadReader(65536, 20)).read_block(block)
    except ProtocolError as error:
        return error.status, error.reason


def head_of(block: bytes) -> RequestHead:
    return HeadReader(65536, 20).read_block(block)


def corpus_blocks() -> list[bytes]:
    return [case.octets.partition(b"\r\n\r\n")[0] for case in load() if b"\r\n\r\n" in case.octets]


def test_a_head_says_all_that_matters_about_the_connection() -> None:
    assert head_of(b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: upgrade, close\r\nUpgrade: X") == (
        "POST", b"/a", b"b", "1.1",
        [(b"host", b"h"), (b"content-length", b"3"), (b"expect", b"100-continue"), (b"connection", b"upgrade, close"), (b"upgrade", b"X")],
        3, False, True, (b"x",), False,
    )
    assert head_of(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked").body_length == CHUNKED


def test_a_reader_gives_the_same_for_a_head_whatever_it_has_read_before() -> None:
    blocks = corpus_blocks()
    reader = HeadReader(65536, 20)
    for block in blocks:
        fresh = read(block)
        for before in BLOCKS:
            read(before, reader)
            assert read(block, reader) == fresh
            assert read(block, reader) == fresh


@pytest.mark.parametrize("line", [
    b"Content-Length: 4", b"Transfer-Encoding: chunked", b"Connection: close", b"Host: b c", b"Host: b", b"X-A : b", b" X-A: b", b"X-A", b"X-A: \0",
    b"X-A: b\r", b"X-A: b\n", b"x-a:c", b"X-B: b", b": b", b"Expect: y", b"Upgrade: y", b"X-A:\x0b3",
])
def test_a_line_in_the_place_of_another_is_read_as_if_nothing_was_before(line: bytes) -> None:
    reader = HeadReader(65536, 20)
    read(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\nX-C: d", reader)
    for lines in ((b"Host: a", line, b"X-C: d"), (line, b"X-A: b", b"X-C: d"), (b"Host: a", b"X-A: b", line), (b"Host: a", line)):
        block = b"\r\n".join((b"GET / HTTP/1.1", *lines))
        assert read(block, reader) == read(block)


def test_whatever_others_have_sent_changes_nothing() -> None:
    fresh = [read(block) for block in BLOCKS]
    for number in range(5000):
        read(b"GET / HTTP/1.1\r\nHost: h%d\r\nX-%d: a\r\nUser-Agent: %d" % (number, number, number))
    assert [read(block) for block in BLOCKS] == fresh
    assert read(b"GET / HTTP/1.1\r\nHost: a\r\nX-New-Name : b") == (400, "white space before a header's colon")


def test_nothing_of_a_value_but_hosts_stays_in_what_connections_share() -> None:
    read(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\nAuthorization: secret\r\nX-Api-Key: secret\r\nReferer: secret")
    shared = [value for room in (head, usual, fields) for value in vars(room).values() if isinstance(value, dict | set | list)]
    assert b"secret" not in repr(shared).encode()


def test_a_long_head_is_not_kept() -> None:
    reader = HeadReader(65536, 20)
    reader.read_block(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + b"u" * 5000 + b"\r\n" + b"n" * 100 + b": v")
    assert reader._octets == b""
    reader.read_block(BLOCKS[1])
    reader.read_block(b"GET /" + b"t" * 5000 + b" HTTP/1.1\r\nHost: a\r\nX-A: c")
    assert len(reader._octets) < 5000


def test_only_as_many_fields_as_allowed() -> None:
    block = b"GET / HTTP/1.1\r\nHost: a" + b"\r\nA: b" * 3
    assert HeadReader(65536, 4).read_block(block).fields[3] == (b"a", b"b")
    assert read(block, HeadReader(65536, 3)) == (431, "more than 3 header fields")


def read_in_pieces(*pieces: bytes, limit: int = 100) -> RequestHead | None:
    reader, buffer = HeadReader(limit, 20), Buffer()
    found = None
    for piece in pieces:
        assert found is None
        buffer.feed(piece)
        found = reader.read(buffer)
    return found


def test_a_head_is_read_when_all_of_it_has_come() -> None:
    octets = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert read_in_pieces(octets[:-1]) is None and read_in_pieces(b"\r\n") is None and read_in_pieces(octets[:10]) is None
    assert read_in_pieces(octets) == read_in_pieces(*(octets[at : at + 1] for at in range(len(octets))))


def test_an_empty_line_before_each_of_several_heads_is_ignored_however_they_are_cut() -> None:
    octets = (b"\r\n" + BLOCKS[0] + b"\r\n\r\n") * 2
    for cuts in combinations(range(1, len(octets)), 3):
        reader, buffer, found = HeadReader(100, 20), Buffer(), []
        for start, end in pairwise((0, *cuts, len(octets))):
            buffer.feed(octets[start:end])
            while buffer.size and (each := reader.read(buffer)) is not None:
                found.append(each)
        assert found == [head_of(BLOCKS[0])] * 2, cuts


@pytest.mark.parametrize("octets, status", [
    (b"\x16\x03", 400), (b"SSH-2.0\r\n", 400), (b"GET / HTTP/3.0\r\n", 505), (b"GET /\0", 400), (b"GET / HTTP/1.1\n", 400), (b"GET / HTTP/1.1\r\r", 400),
    (b"\r\n\r\n", 400), (b"GET /" + b"a" * 100, 414), (b"GET / HTTP/1.1\r\nX: " + b"a" * 100, 431), (b"GET / HTTP/1.1\r\nX: \n", 400),
])
def test_a_head_that_cannot_become_a_good_one_is_not_waited_for(octets: bytes, status: int) -> None:
    for pieces in ([octets], [octets[at : at + 1] for at in range(len(octets))]):
        with pytest.raises(ProtocolError) as caught:
            read_in_pieces(*pieces)
        assert caught.value.status == status


@pytest.mark.parametrize("octets, status, reason", [
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 80 + b"\r\n\r\n", 431, "a request head over 100 octets"),
    (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "a request line over 100 octets"),
    (b"GET / HTTP/2.0\r\nA: \0\r\n\r\n", 505, "an HTTP version other than 1.0 and 1.1"), (b"GET /\0 HTTP/2.0\r\nA: b\r\n\r\n", 400, "a NUL in the request"),
    (b"GET / HTTP/1.1\r\nHost: a b\r\nA: \0\r\n\r\n", 400, "a NUL in the request"), (b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", 400, "a bare CR in the request"),
])
def test_of_several_faults_the_first_counts(octets: bytes, status: int, reason: str) -> None:
    for pieces in ([octets], [octets[:30], octets[30:]], [octets[at : at + 1] for at in range(len(octets))]):
        with pytest.raises(ProtocolError) as caught:
            for at in range(len(pieces)):
                read_in_pieces(*pieces[: at + 1])
        assert (caught.value.status, caught.value.reason) == (status, reason)


def test_what_follows_a_head_stays_in_the_buffer_and_a_pipelined_head_is_read_next() -> None:
    reader, buffer = HeadReader(100, 20), Buffer()
    buffer.feed((BLOCKS[0] + b"\r\n\r\n") * 2 + b"rest")
    first, second = reader.read(buffer), reader.read(buffer)
    assert first == second and buffer.peek(0) == b"rest"


def test_names_with_underscores_can_be_left_out() -> None:
    buffer = Buffer()
    buffer.feed(BLOCKS[0] + b"\r\nX_A: b\r\n\r\n")
    head_read = HeadReader(100, 20, drops_underscores=True).read(buffer)
    assert head_read is not None and head_read.fields == [(b"host", b"a")]


def test_the_same_fields_behind_another_target_are_read_the_same() -> None:
    reader = HeadReader(65536, 20)
    first = reader.read_block(BLOCKS[1])
    assert reader.read_block(BLOCKS[1].replace(b"GET /", b"PUT /other")) == first._replace(method="PUT", path=b"/other")


VALUES = [b" a", b" b", b"c", b" d \t", b"", b" x: y", b" \xff", b" close", b" \0", b" a\rb", b" a\nb", b" a\r", b" 3", b" chunked", b"\r\nX-A: c", b" 100-continue"]
NAMES = [b"X-A", b"x-a", b"X-B", b"Cookie", b"Host", b"Connection", b"Content-Length", b"Accept", b"X-A ", b" X-A", b"Upgrade", b"X A", b""]


def varied(lines: list[bytes], chance: random.Random) -> list[bytes]:
    """The lines with a few of them changed: mostly a value, sometimes a name, a line more or a line less."""
    lines = list(lines)
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        at, how = chance.randrange(len(lines)), chance.random()
        if how < 0.8:
            lines[at] = lines[at].partition(b":")[0] + b":" + chance.choice(VALUES[: chance.choice((3, 7, 99))])
        elif how < 0.9:
            lines.insert(at, chance.choice(NAMES) + b":" + chance.choice(VALUES))
        elif len(lines) > 1:
            lines.pop(at)
    return lines


def test_in_a_long_conversation_each_head_is_read_as_if_it_were_the_first() -> None:
    chance, alike = random.Random(11), 0
    for _ in range(300):
        reader, lines = HeadReader(65536, 20), [b"Host: h", b"X-A: a", b"X-B: b", b"Cookie: c", b"Accept: d"]
        for _ in range(60):
            tried = varied(lines, chance)
            block = b"\r\n".join((chance.choice((b"GET / HTTP/1.1", b"GET /other HTTP/1.1", b"GET / HTTP/1.0")), *tried))
            before = reader._pattern, reader._misses
            got, alone = read(block, reader), read(block)
            assert got == alone, block
            alike += before[0] is not None and before == (reader._pattern, reader._misses) and isinstance(got, RequestHead)
            if isinstance(alone, RequestHead) and len(tried) < 9:
                lines = tried
    # It was worth it: the short way was taken often enough to be tried.
    assert alike > 1000
