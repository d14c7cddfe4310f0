"""The codec's own part: exchanges one after another, how responses are framed, and what each step costs at most.

What comes of raw requests is in tests/cases, run by test_corpus.py.
"""

import random
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import pytest

from penstock.codec.buffer import Buffer
from penstock.codec.errors import ProtocolError, ResponseError
from penstock.codec.events import BodyData, BodyEnd, Event, RequestHead
from penstock.codec.http1 import CONTINUE, MAX_SKIPPED_BODY, Http1Codec, Limits
from penstock.codec.response import Defaults
from support.replay import NO_DEFAULTS
from support.responses import Response, read_responses

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
OLD_ALIVE = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
CLOSING = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
LIMITS = Limits(65536, 100)
BOTH = Defaults(b"date: D\r\n", b"server: S\r\n", b"date: D\r\nserver: S\r\n")

Fields = Iterable[tuple[bytes, bytes]]


def fed(octets: bytes, codec: Http1Codec | None = None) -> Http1Codec:
    """A codec that has read all events of the octets."""
    codec = codec or Http1Codec(LIMITS)
    codec.feed(octets)
    while codec.next_event() is not None:
        pass
    return codec


def events(codec: Http1Codec) -> list[Event]:
    found = []
    while (event := codec.next_event()) is not None:
        found.append(event)
    return found


def send(codec: Http1Codec, status: int, fields: Fields, *pieces: bytes) -> bytes:
    """A response in the given pieces, the last one being the last."""
    codec.encode_head(status, fields, NO_DEFAULTS)
    sent = b""
    for number, piece in enumerate(pieces, 1):
        sent += b"".join(codec.encode_body(piece, number == len(pieces)))
    return sent


def response_to(request: bytes, status: int, fields: Fields, *pieces: bytes) -> tuple[Response, Http1Codec]:
    codec = fed(request)
    method = request.split(b" ")[0].decode()
    (response,) = read_responses(send(codec, status, fields, *pieces), [method])
    return response, codec


# ── requests ──


def test_a_request_is_a_head_and_its_body() -> None:
    codec = Http1Codec(LIMITS)
    codec.feed(POST)
    head, data, end = events(codec)
    assert isinstance(head, RequestHead) and (head.method, head.body_length) == ("POST", 3)
    assert (data, end) == (BodyData(b"abc"), BodyEnd([]))


def test_the_next_request_is_read_when_this_one_is_answered() -> None:
    codec = fed(GET + GET)
    assert codec.next_event() is None and codec.buffer.size == len(GET)
    send(codec, 200, [], b"")
    assert isinstance(codec.next_event(), RequestHead)


def test_an_unread_body_is_read_before_the_next_request() -> None:
    codec = Http1Codec(LIMITS)
    codec.feed(POST[:-3])
    assert isinstance(codec.next_event(), RequestHead)
    send(codec, 200, [], b"")
    codec.feed(b"abc" + GET)
    assert [type(each) for each in events(codec)] == [BodyData, BodyEnd, RequestHead]


def test_after_a_refusal_nothing_is_read_any_more() -> None:
    codec = Http1Codec(LIMITS)
    codec.feed(b"nonsense\r\n\r\n" + GET)
    with pytest.raises(ProtocolError):
        codec.next_event()
    assert codec.buffer.size == 0 and codec.wants_close
    codec.feed(GET)
    assert codec.next_event() is None and codec.buffer.size == 0


def test_names_with_underscores_pass_unless_they_are_to_be_dropped() -> None:
    octets = b"GET / HTTP/1.1\r\nHost: a\r\nX_A: b\r\nX-A: c\r\n\r\n" * 2
    for drops, fields in ((False, [(b"host", b"a"), (b"x_a", b"b"), (b"x-a", b"c")]), (True, [(b"host", b"a"), (b"x-a", b"c")])):
        codec = Http1Codec(LIMITS._replace(drops_underscores=drops))
        codec.feed(octets)
        for _ in range(2):
            head = codec.next_event()
            assert isinstance(head, RequestHead) and head.fields == fields
            send(codec, 200, [], b"")


def test_a_connection_is_quiet_when_its_last_request_was_read() -> None:
    assert fed(CLOSING).is_quiet and fed(OLD).is_quiet
    assert not fed(GET).is_quiet and not fed(CLOSING + b"x").is_quiet and not Http1Codec(LIMITS).is_quiet
    assert not fed(CLOSING.replace(b"Host", b"Content-Length: 3\r\nHost")).is_quiet


def test_behind_a_body_an_empty_line_may_come_so_it_is_never_quiet() -> None:
    """RFC 9112 2.2: some old clients send one that nobody asked for."""
    for body in (b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"):
        codec = fed(CLOSING.replace(b"\r\n\r\n", b"\r\n" + body))
        assert not codec.buffer.size and not codec.is_quiet


# ── how a response is framed ──


def test_a_response_in_one_piece_gets_its_length() -> None:
    response, codec = response_to(GET, 200, [], b"hello")
    assert (response.body, response.get(b"content-length"), response.all(b"connection")) == (b"hello", b"5", [])
    assert not codec.wants_close


def test_a_response_in_pieces_is_chunked() -> None:
    response, codec = response_to(GET, 200, [], b"hel", b"", b"lo", b"")
    assert (response.body, response.get(b"transfer-encoding"), response.all(b"content-length")) == (b"hello", b"chunked", [])
    assert not codec.wants_close


def test_an_empty_piece_does_not_end_a_chunked_body() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    assert codec.encode_body(b"", False)[0].endswith(b"\r\n\r\n")
    assert codec.encode_body(b"", False) == []
    assert codec.encode_body(b"a", False) == [b"1\r\na\r\n"]
    assert codec.encode_body(b"", True) == [b"0\r\n\r\n"]


def test_a_response_of_a_length_the_app_gave_is_not_chunked() -> None:
    response, codec = response_to(GET, 200, [(b"content-length", b"5")], b"hel", b"lo", b"")
    assert (response.body, response.get(b"content-length"), response.all(b"transfer-encoding")) == (b"hello", b"5", [])
    assert not codec.wants_close


def test_the_apps_transfer_encoding_is_ignored() -> None:
    response, _ = response_to(GET, 200, [(b"transfer-encoding", b"gzip, chunked")], b"hello")
    assert (response.body, response.all(b"transfer-encoding")) == (b"hello", [])
    response, _ = response_to(GET, 200, [(b"transfer-encoding", b"x"), (b"content-length", b"5")], b"hello", b"")
    assert (response.body, response.all(b"transfer-encoding")) == (b"hello", [])


def test_a_client_of_http_1_0_gets_no_chunks_but_the_end_of_the_connection() -> None:
    for request in (OLD, OLD_ALIVE):
        response, codec = response_to(request, 200, [], b"hel", b"lo", b"")
        assert (response.body, response.all(b"transfer-encoding"), response.all(b"content-length")) == (b"hello", [], [])
        assert codec.wants_close and response.get(b"connection") == b"close"


def test_a_client_of_http_1_0_may_keep_the_connection() -> None:
    response, codec = response_to(OLD_ALIVE, 200, [], b"hello")
    assert (response.body, response.get(b"connection"), codec.wants_close) == (b"hello", b"keep-alive", False)
    response, codec = response_to(OLD, 200, [], b"hello")
    assert (response.body, response.get(b"connection"), codec.wants_close) == (b"hello", b"close", True)


@pytest.mark.parametrize("status", [204, 205, 304])
@pytest.mark.parametrize("request_octets", [GET, HEAD, OLD_ALIVE])
@pytest.mark.parametrize("pieces", [(b"hello",), (b"hel", b"lo"), (b"hel", b""), (b"", b"lo"), (b"",)])
def test_some_statuses_never_have_a_body(status: int, request_octets: bytes, pieces: tuple[bytes, ...]) -> None:
    codec = fed(request_octets)
    sent = send(codec, status, [], *pieces)
    assert sent.endswith(b"\r\n\r\n") and sent.count(b"\r\n\r\n") == 1 and b"hel" not in sent and b"transfer-encoding" not in sent
    # A 205 says that there is nothing, for a client would wait for a body otherwise (RFC 9110 15.3.6).
    assert (b"content-length: 0\r\n" in sent) == (status == 205)
    assert not codec.wants_close and isinstance(events(fed(GET, codec)), list)


def test_no_response_204_has_a_length_but_a_304_may() -> None:
    fields = [(b"content-length", b"5")]
    assert b"content-length" not in send(fed(GET), 204, fields, b"hello")
    assert b"content-length: 5\r\n" in send(fed(GET), 304, fields, b"")


@pytest.mark.parametrize("pieces", [(b"hello",), (b"hel", b"lo"), (b"hel", b"lo", b"")])
def test_a_response_to_head_has_no_body(pieces: tuple[bytes, ...]) -> None:
    response, codec = response_to(HEAD, 200, [], *pieces)
    assert not codec.wants_close and response.all(b"transfer-encoding") == []
    assert response.all(b"content-length") == ([b"5"] if len(pieces) == 1 else [])
    response, codec = response_to(HEAD, 200, [(b"content-length", b"7")], *pieces)
    assert response.get(b"content-length") == b"7" and not codec.wants_close


@pytest.mark.parametrize("length, pieces", [
    (b"5", (b"hello!",)), (b"5", (b"hell",)), (b"5", (b"hel", b"lo!")), (b"5", (b"hel", b"l")), (b"0", (b"a",)), (b"5", (b"",)), (b"5", (b"hello", b"!", b"")),
])
def test_a_body_that_does_not_fit_its_length_is_refused_to_the_app(length: bytes, pieces: tuple[bytes, ...]) -> None:
    codec = fed(GET)
    codec.encode_head(200, [(b"content-length", length)], NO_DEFAULTS)
    sent = b""
    with pytest.raises(ResponseError, match=r"octets (longer|shorter) than its content-length"):
        for number, piece in enumerate(pieces, 1):
            sent += b"".join(codec.encode_body(piece, number == len(pieces)))
    assert len(sent.partition(b"\r\n\r\n")[2]) <= int(length)


def test_a_body_refused_at_its_first_piece_leaves_room_for_another_response() -> None:
    codec = fed(GET)
    codec.encode_head(200, [(b"content-length", b"1")], NO_DEFAULTS)
    with pytest.raises(ResponseError):
        codec.encode_body(b"too long", True)
    assert not codec.is_response_begun
    codec.drop_head()
    assert send(codec, 500, [], b"").startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("status", [0, 99, 100, 101, 103, 199, 1000, -200, True, "200", None])
def test_a_final_status_is_a_number_from_200_to_999(status: Any) -> None:
    codec = fed(GET)
    with pytest.raises(ResponseError, match="from 200 to 999"):
        codec.encode_head(status, [], NO_DEFAULTS)
    assert send(codec, 599, [], b"").startswith(b"HTTP/1.1 599 \r\n")


def test_a_status_may_come_from_an_enumeration() -> None:
    assert send(fed(GET), HTTPStatus.CREATED, [], b"").startswith(b"HTTP/1.1 201 Created\r\n")


def test_date_and_server_are_there_once() -> None:
    codec = fed(GET)
    codec.encode_head(200, [(b"server", b"mine")], BOTH)
    (response,) = read_responses(b"".join(codec.encode_body(b"", True)))
    assert (response.get(b"date"), response.get(b"server")) == (b"D", b"mine")


def test_a_large_piece_is_not_copied() -> None:
    large = b"x" * 100_000
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    parts = codec.encode_body(large, False)
    assert parts[1] is large and len(parts) == 3
    (response,) = read_responses(b"".join(parts) + b"".join(codec.encode_body(large, True)))
    assert response.body == large * 2


def test_small_parts_leave_together() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    assert len(codec.encode_body(b"hello", False)) == 1 and len(codec.encode_body(b"hello", True)) == 1


def test_a_response_comes_in_order() -> None:
    codec = fed(GET)
    with pytest.raises(ResponseError):
        codec.encode_body(b"", True)
    codec.encode_head(200, [], NO_DEFAULTS)
    with pytest.raises(ResponseError, match="already"):
        codec.encode_head(200, [], NO_DEFAULTS)
    codec.encode_body(b"", True)
    with pytest.raises(ResponseError):
        codec.encode_body(b"", True)


def test_a_held_head_can_be_dropped_and_a_sent_one_not() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    assert not codec.is_response_begun
    codec.drop_head()
    codec.encode_head(500, [], NO_DEFAULTS)
    assert codec.encode_body(b"", False)[0].startswith(b"HTTP/1.1 500 ")
    codec.drop_head()
    assert codec.is_response_begun


def test_a_head_refused_to_the_app_is_not_held() -> None:
    codec = fed(GET)
    with pytest.raises(ResponseError):
        codec.encode_head(200, [(b"a", b"\r\n")], NO_DEFAULTS)
    codec.encode_head(500, [], NO_DEFAULTS)


FIELDS = [(b"x-a", b"b"), (b"content-type", b"text/plain"), (b"set-cookie", b"c"), (b"content-length", b"5"), (b"content-length", b"0"),
          (b"transfer-encoding", b"chunked"), (b"connection", b"close"), (b"connection", b"keep-alive"), (b"date", b"X"), (b"bad name", b"b"), (b"x", b"a\r\nb: c")]
PIECES = [b"", b"a", b"hello", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 20_000]


def answered(codec: Http1Codec, chance: random.Random, said: list[bytes]) -> tuple[bytes, bool]:
    """Whatever an app may do; what went out, and whether the app was told of a mistake."""
    sent = b""
    try:
        codec.encode_head(chance.choice([200, 204, 205, 304, 404, 599, 100]), chance.sample(FIELDS, chance.randrange(4)), BOTH)
        for number in range(count := chance.randrange(1, 4)):
            said.append(chance.choice(PIECES))
            sent += b"".join(codec.encode_body(said[-1], number == count - 1))
    except ResponseError:
        if not codec.is_response_begun:
            codec.drop_head()
            said[:] = [b"failed"]
            codec.encode_head(500, [], BOTH)
            return sent + b"".join(codec.encode_body(b"failed", True)), False
        return sent, True
    return sent, False


def test_whatever_an_app_does_a_client_reads_what_it_said_or_sees_a_cut() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        codec, request = Http1Codec(LIMITS), chance.choice([GET, HEAD, OLD, OLD_ALIVE, CLOSING, POST, EXPECTING])
        wire, methods = b"", list[str]()
        while not codec.wants_close and len(methods) < 4:
            fed(request, codec)
            said: list[bytes] = []
            sent, is_cut = answered(codec, chance, said)
            if is_cut:
                with pytest.raises(AssertionError):
                    assert read_responses(sent, [request.split()[0].decode()])[0].get(b"content-length") == b""
                break
            wire, methods = wire + sent, [*methods, request.split()[0].decode()]
            last = read_responses(wire, methods)
            assert len(last) == len(methods)
            is_silent = methods[-1] == "HEAD" or last[-1].status in (204, 205, 304)
            assert last[-1].body == (b"" if is_silent else b"".join(said))
            assert last[-1].get(b"server") == b"S" and last[-1].get(b"date")
            request = chance.choice([GET, HEAD, OLD_ALIVE])


# ── trailers ──


def last_trailers(codec: Http1Codec, fields: list[tuple[bytes, bytes]]) -> list[bytes]:
    codec.hold_trailers(fields)
    return codec.encode_body(b"", True)


def test_trailers_end_a_chunked_body() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    sent = b"".join(codec.encode_body(b"hello", False) + last_trailers(codec, [(b"x-sum", b"5")]))
    (response,) = read_responses(sent)
    assert (response.body, response.get(b"trailer x-sum")) == (b"hello", b"5")
    assert isinstance(events(fed(GET, codec)), list)


@pytest.mark.parametrize("request_octets, fields", [(OLD_ALIVE, []), (GET, [(b"content-length", b"5")]), (HEAD, [])])
def test_trailers_have_no_place_in_other_framings(request_octets: bytes, fields: list[tuple[bytes, bytes]]) -> None:
    codec = fed(request_octets)
    codec.encode_head(200, fields, NO_DEFAULTS)
    sent = b"".join(codec.encode_body(b"hello", False) + last_trailers(codec, [(b"x-sum", b"5")]))
    assert b"x-sum" not in sent


def test_trailers_may_follow_a_head_at_once() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    (response,) = read_responses(b"".join(last_trailers(codec, [(b"x-sum", b"5")])))
    assert (response.body, response.get(b"trailer x-sum")) == (b"", b"5")


def test_trailers_that_are_refused_leave_the_response_unfinished() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    codec.encode_body(b"hello", False)
    with pytest.raises(ResponseError):
        last_trailers(codec, [(b"x", b"\r\n")])
    assert b"".join(last_trailers(codec, [])) == b"0\r\n\r\n"


def test_trailers_are_those_of_one_response_alone() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    last_trailers(codec, [(b"x-sum", b"5")])
    fed(GET, codec).encode_head(200, [], NO_DEFAULTS)
    assert codec.encode_body(b"hello", False) and codec.encode_body(b"", True) == [b"0\r\n\r\n"]


# ── a body that somebody else sends ──


@pytest.mark.parametrize("request_octets, fields, is_last, framing, around", [
    (GET, [], True, b"content-length: 5\r\n", [b"hello"]),
    (GET, [], False, b"transfer-encoding: chunked\r\n", [b"5\r\nhello\r\n", b"0\r\n\r\n"]),
    (GET, [(b"content-length", b"5")], False, b"content-length: 5\r\n", [b"hello"]),
    (OLD, [], False, b"connection: close\r\n", [b"hello"]),
])
def test_what_goes_around_a_piece_of_another_is_what_goes_around_ones_own(
    request_octets: bytes, fields: list[tuple[bytes, bytes]], is_last: bool, framing: bytes, around: list[bytes]
) -> None:
    codec = fed(request_octets)
    codec.encode_head(200, fields, NO_DEFAULTS)
    start, end = codec.encode_frame(5, is_last)
    assert codec.is_response_begun and not codec.is_bodiless
    last = codec.encode_body(b"", True)
    head, _, body = (start + b"hello" + end + b"".join(last)).partition(b"\r\n\r\n")
    assert framing in head + b"\r\n" and body == b"".join(around)


def test_a_piece_of_another_is_not_to_be_sent_to_head() -> None:
    codec = fed(HEAD)
    codec.encode_head(200, [], NO_DEFAULTS)
    assert codec.encode_frame(5, True) == (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", b"") and codec.is_bodiless


@pytest.mark.parametrize("size, is_last", [(6, False), (4, True)])
def test_a_piece_of_another_has_to_fit_the_length_too(size: int, is_last: bool) -> None:
    codec = fed(GET)
    codec.encode_head(200, [(b"content-length", b"5")], NO_DEFAULTS)
    with pytest.raises(ResponseError, match="1 octets"):
        codec.encode_frame(size, is_last)
    assert not codec.is_response_begun


# ── the connection ──


@pytest.mark.parametrize("request_octets, closes", [
    (GET, False), (CLOSING, True), (OLD, True), (OLD_ALIVE, False), (POST, False), (EXPECTING, True), (POST[:-3], False),
    (POST.replace(b": 3", b": 65536")[:-3], False), (POST.replace(b": 3", b": 65537")[:-3], True),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", False),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n", True),
])
def test_a_response_says_whether_the_connection_ends(request_octets: bytes, closes: bool) -> None:
    response, codec = response_to(request_octets, 200, [], b"hello")
    assert codec.wants_close is closes and (response.all(b"connection") == [b"close"]) is closes
    assert MAX_SKIPPED_BODY == 65536


def test_an_app_or_a_server_may_end_the_connection() -> None:
    response, codec = response_to(GET, 200, [(b"connection", b"close")], b"hello")
    assert codec.wants_close and response.get(b"connection") == b"close"
    codec = fed(GET)
    codec.wants_close = True
    assert b"connection: close\r\n" in send(codec, 200, [], b"")


def test_after_the_last_response_nothing_more_is_read() -> None:
    codec = fed(CLOSING + GET)
    send(codec, 200, [], b"")
    assert codec.next_event() is None and codec.buffer.size == len(GET)


# ── 100 Continue ──


def test_a_waiting_client_is_told_to_continue_once() -> None:
    codec = fed(EXPECTING)
    assert codec.confirm_continue() == CONTINUE and codec.confirm_continue() == b""
    assert [type(each) for each in events(codec)] == []
    fed(b"abc", codec)
    assert b"connection: close" not in send(codec, 200, [], b"")


def test_a_client_that_does_not_wait_is_told_nothing() -> None:
    assert fed(POST[:-3]).confirm_continue() == b"" and Http1Codec(LIMITS).confirm_continue() == b""
    assert fed(EXPECTING.replace(b"1.1", b"1.0")).confirm_continue() == b""
    codec = Http1Codec(LIMITS)
    codec.feed(EXPECTING + b"abc")
    codec.next_event()
    assert codec.confirm_continue() == b""


def test_no_one_is_told_to_continue_once_the_response_has_begun() -> None:
    codec = fed(EXPECTING)
    codec.encode_head(200, [], NO_DEFAULTS)
    codec.encode_body(b"a", False)
    assert codec.confirm_continue() == b""


# ── other interim responses ──


def test_an_interim_response_goes_before_the_response() -> None:
    codec = fed(GET)
    codec.encode_head(200, [], NO_DEFAULTS)
    sent = codec.encode_interim(103, [(b"link", b"</a>")])
    assert sent == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    sent += b"".join(codec.encode_body(b"a", False))
    assert codec.encode_interim(103, []) == b""
    (response,) = read_responses(sent + b"".join(codec.encode_body(b"b", True)))
    assert (response.interim, response.body) == ([103], b"ab")


def test_an_interim_response_is_checked_and_not_for_everybody() -> None:
    assert fed(OLD).encode_interim(103, []) == b"" and Http1Codec(LIMITS).encode_interim(103, []) == b""
    for status in (100, 101, 200):
        with pytest.raises(ResponseError):
            fed(GET).encode_interim(status, [])
    with pytest.raises(ResponseError):
        fed(GET).encode_interim(103, [(b"link", b"\n")])


# ── refusals ──


@pytest.mark.parametrize("status", [400, 408, 413, 414, 417, 421, 431, 501, 503, 505])
def test_a_refusal_is_whole_short_plain_and_the_last(status: int) -> None:
    codec = Http1Codec(LIMITS)
    (response,) = read_responses(codec.encode_refusal(status, "because", BOTH))
    assert (response.status, response.body, response.get(b"connection")) == (status, b"because\n", b"close")
    assert response.get(b"content-type") == b"text/plain; charset=utf-8" and response.get(b"date") == b"D" and codec.wants_close


def test_a_refusal_takes_the_place_of_a_held_head_and_honours_head() -> None:
    codec = fed(HEAD)
    codec.encode_head(200, [(b"x-a", b"b")], NO_DEFAULTS)
    sent = codec.encode_refusal(503, "because", BOTH)
    assert b"x-a" not in sent and sent.endswith(b"\r\n\r\n")


def test_a_refusal_tells_when_to_come_again_or_what_is_allowed() -> None:
    assert b"retry-after: " in Http1Codec(LIMITS).encode_refusal(503, "because", BOTH)
    assert b"allow: " in Http1Codec(LIMITS).encode_refusal(501, "because", BOTH)


# ── what it costs: nobody can make a step dearer than what he sent for it ──


class Counting(Buffer):
    """Counts the octets that are looked at, whoever does it."""

    looked = 0

    def take_until(self, delimiter: bytes) -> bytes | None:
        start = max(self._position, self._searched)
        found = super().take_until(delimiter)
        Counting.looked += len(self._octets) - start if found is None else len(found) + len(delimiter)
        return found

    def peek(self, start: int, end: int | None = None) -> bytes:
        octets = super().peek(start, end)
        Counting.looked += len(octets)
        return octets

    def take(self, most: int) -> bytes:
        octets = super().take(most)
        Counting.looked += len(octets)
        return octets


def looked_at(pieces: Iterable[bytes]) -> int:
    codec = Http1Codec(LIMITS)
    codec.buffer = Counting()
    Counting.looked = 0
    try:
        for piece in pieces:
            fed(piece, codec)
    except ProtocolError:
        pass
    return Counting.looked


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("octets", [
    b"GET /" + b"a" * 65000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 64000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a:b\r\n" * 10000 + b"\r\n",
    b"\r\n" + b"GET / HTTP/1.1\r\n" + b"\r" * 100,
    CHUNKED + b"1\r\nx\r\n" * 10000 + b"0\r\n\r\n",
    CHUNKED + b"1;" + b"a" * 4000 + b"\r\nx\r\n0\r\n\r\n",
    CHUNKED + b"0\r\nA: " + b"b" * 60000 + b"\r\n\r\n",
    CHUNKED + b"0\r\n" + b"A: b\r\n" * 90 + b"\r\n",
    CHUNKED + b"ffff\r\n" + b"x" * 65535 + b"\r\n0\r\n\r\n",
], ids=["line", "field", "fields", "crs", "chunks", "extension", "trailer", "trailers", "chunk"])
def test_a_drip_costs_no_more_than_a_few_looks_at_each_octet(octets: bytes) -> None:
    drip = looked_at(octets[at : at + 1] for at in range(len(octets)))
    # Each new octet is searched for a delimiter, looked at for faults, taken: a constant, however many came before.
    assert drip <= 12 * len(octets)
    assert looked_at([octets]) <= 12 * len(octets)


def test_a_hundred_thousand_tiny_chunks_cost_as_much_each_as_a_thousand() -> None:
    small, large = (looked_at([CHUNKED + b"1\r\nx\r\n" * count]) for count in (1000, 100_000))
    assert large <= 101 * small
