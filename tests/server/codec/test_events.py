"""Events: values that compare by what they hold, and cost little to make."""

from penstock.codec.events import CHUNKED, BodyData, BodyEnd, RequestHead


def test_events_with_the_same_content_are_equal() -> None:
    head = RequestHead("GET", b"/", b"", "1.1", [(b"host", b"a")], 0, True, False, ())
    assert head == RequestHead("GET", b"/", b"", "1.1", [(b"host", b"a")], 0, True, False, ())
    assert head._replace(method="HEAD") != head


def test_pieces_and_ends_of_bodies_say_what_came() -> None:
    assert BodyData(b"x").octets == b"x" and BodyEnd([(b"a", b"b")]).trailers == [(b"a", b"b")]


def test_a_body_of_unknown_length_is_no_length() -> None:
    assert CHUNKED < 0
