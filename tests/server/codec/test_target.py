"""The request line on its own, and what the two switches let pass."""

import pytest

from penstock.codec.errors import ProtocolError
from penstock.codec.target import parse_request_line


def refused(line: bytes, **switches: bool) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        parse_request_line(line, **switches)
    return caught.value.status, caught.value.clause


def test_a_request_line_is_method_path_query_version_and_authority() -> None:
    assert parse_request_line(b"GET /a?b HTTP/1.1") == ("GET", b"/a", b"b", "1.1", None)
    assert parse_request_line(b"GET http://h:1/a?b HTTP/1.0") == ("GET", b"/a", b"b", "1.0", b"h:1")
    assert parse_request_line(b"OPTIONS * HTTP/1.1") == ("OPTIONS", b"*", b"", "1.1", None)


def test_a_lenient_server_takes_lower_case_methods_and_raw_octets_in_targets() -> None:
    assert parse_request_line(b"get /\xc3\xa4?\xff HTTP/1.1", is_lenient=True) == ("GET", b"/\xc3\xa4", b"\xff", "1.1", None)
    assert refused(b"connect h:1 HTTP/1.1", is_lenient=True)[0] == 501
    assert refused(b"get / HTTP/1.1")[0] == 400 and refused(b"GET /\xc3\xa4 HTTP/1.1")[0] == 400


@pytest.mark.parametrize("line", [
    b"GET /a#b HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET /\0 HTTP/1.1", b"g\xc9t / HTTP/1.1", b"GET / http/1.1", b"GET  / HTTP/1.1", b"get a HTTP/1.1",
])
def test_a_lenient_server_takes_nothing_else(line: bytes) -> None:
    assert refused(line, is_lenient=True)[0] == 400


def test_an_https_target_is_for_a_secure_connection_only() -> None:
    assert parse_request_line(b"GET https://h/ HTTP/1.1", is_secure=True)[4] == b"h"
    assert refused(b"GET https://h/ HTTP/1.1") == (421, "RFC 9110 7.4")
    assert parse_request_line(b"GET http://h/ HTTP/1.1", is_secure=True)[4] == b"h"


def test_every_refusal_names_its_clause() -> None:
    for line in (b"", b"GET", b"G(T / HTTP/1.1", b"get / HTTP/1.1", b"GET x HTTP/1.1", b"GET /# HTTP/1.1", b"GET / HTTP/2.0",
                 b"CONNECT h:1 HTTP/1.1", b"CONNECT / HTTP/1.1", b"GET http://h:x/ HTTP/1.1", b"A" * 65 + b" / HTTP/1.1"):
        assert refused(line)[1].startswith("RFC 91")


def test_text_is_made_of_checked_ascii_only() -> None:
    method, path, query, version, _ = parse_request_line(b"X-METHOD /%ff?%fe HTTP/1.2")
    assert (method, path, query, version) == ("X-METHOD", b"/%ff", b"%fe", "1.1")
