import base64
import hashlib

import pytest

from penstock.codec.errors import ProtocolError, ResponseError
from penstock.codec.events import Field, RequestHead
from penstock.codec.handshake import Handshake, encode_accept, read_handshake
from penstock.codec.http1 import Http1Codec, Limits
from penstock.codec.response import Defaults

NONE = Defaults(b"", b"", b"")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
USUAL = {"Host": "example.test", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13"}


USUAL_LINE = "GET /chat HTTP/1.1"


def handshake(line: str = USUAL_LINE, more: str = "", **changes: str | None) -> Handshake | None:
    """What comes of a request whose fields differ from the usual ones; None for one that is left out."""
    fields: dict[str, str | None] = {**USUAL, **changes}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    codec = Http1Codec(Limits(65536, 100))
    codec.feed(f"{line}\r\n{lines}{more}\r\n".encode())
    head = codec.next_event()
    assert isinstance(head, RequestHead)
    return read_handshake(head)


def asked(**changes: str | None) -> Handshake:
    found = handshake(USUAL_LINE, "", **changes)
    assert found is not None
    return found


def refusal(*arguments: str, **changes: str | None) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        handshake(*arguments, **changes)  # type: ignore[arg-type]  # keywords are fields
    return caught.value


# -- requests


def test_a_request_as_the_rfc_shows_it_is_a_handshake() -> None:
    assert asked() == Handshake(KEY.encode(), [], [])


@pytest.mark.parametrize("changes", [
    {"Upgrade": "WebSocket"}, {"Upgrade": "WEBSOCKET"}, {"Upgrade": "foo/1, websocket"}, {"Connection": "keep-alive, Upgrade"},
    {"Connection": "upgrade"}, {"Sec-WebSocket-Key": "  " + KEY + " \t"}, {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="},
])
def test_tokens_may_be_in_any_case_and_lists_may_have_other_members(changes: dict[str, str]) -> None:
    assert asked(**changes) is not None


def test_lists_may_stand_on_several_lines() -> None:
    assert handshake("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", Connection="keep-alive", Upgrade="h2c") is not None


@pytest.mark.parametrize("line, changes", [
    ("GET / HTTP/1.1", {"Upgrade": None}), ("GET / HTTP/1.1", {"Upgrade": "h2c"}), ("GET / HTTP/1.1", {"Connection": "keep-alive"}),
    ("GET / HTTP/1.1", {"Connection": None}), ("GET / HTTP/1.0", {}), ("POST / HTTP/1.1", {"Upgrade": "h2c", "Content-Length": "0"}),
])
def test_another_request_is_none(line: str, changes: dict[str, str | None]) -> None:
    assert handshake(line, "", **changes) is None


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS"])
def test_only_get_asks_for_a_websocket(method: str) -> None:
    assert refusal(f"{method} / HTTP/1.1").status == 400


def test_a_body_is_not_read_as_frames() -> None:
    assert refusal(**{"Content-Length": "5"}).status == 400
    assert refusal(**{"Transfer-Encoding": "chunked"}).status == 400
    assert asked(**{"Content-Length": "0"}) is not None


@pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "13, 8", "13.0"])
def test_another_version_is_told_which_one_is_spoken(version: str | None) -> None:
    error = refusal(**{"Sec-WebSocket-Version": version})
    assert error.status == 426
    octets = Http1Codec(Limits(65536, 100)).encode_refusal(error.status, error.reason, NONE)
    assert octets.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    for line in (b"sec-websocket-version: 13", b"upgrade: websocket", b"connection: upgrade", b"connection: close"):
        assert b"\r\n" + line + b"\r\n" in octets


def test_two_versions_are_none() -> None:
    assert refusal("GET / HTTP/1.1", "Sec-WebSocket-Version: 8\r\n").status == 426


@pytest.mark.parametrize("key", [None, "", "abc", KEY[:-1], KEY + "A", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZQ-_",
                                 "dGhlIHNhbX sZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZXg="])
def test_a_key_that_is_not_16_octets_in_base64_is_refused(key: str | None) -> None:
    error = refusal(**{"Sec-WebSocket-Key": key})
    assert error.status == 400 and "Sec-WebSocket-Key" in error.reason


def test_two_keys_are_refused() -> None:
    assert refusal("GET / HTTP/1.1", f"Sec-WebSocket-Key: {KEY}\r\n").status == 400


def test_subprotocols_are_a_list_over_one_line_or_several() -> None:
    found = handshake("GET / HTTP/1.1", "Sec-WebSocket-Protocol: c\r\n", **{"Sec-WebSocket-Protocol": "a, b,,"})
    assert found is not None and found.subprotocols == ["a", "b", "c"]


@pytest.mark.parametrize("value", ["a b", "a, b/c", "a;b", '"a"', "a, a"])
def test_subprotocols_that_are_no_different_tokens_are_refused(value: str) -> None:
    assert refusal(**{"Sec-WebSocket-Protocol": value}).status == 400


@pytest.mark.parametrize("value, offers", [
    ("a", [(b"a", [])]),
    ("a, b", [(b"a", []), (b"b", [])]),
    (" ,a , ,b, ", [(b"a", []), (b"b", [])]),
    ("a; x; y=1", [(b"a", [(b"x", None), (b"y", b"1")])]),
    ('a ;x = "1" ; y="a\\b"', [(b"a", [(b"x", b"1"), (b"y", b"ab")])]),
    ('a; x="permessage-deflate", b', [(b"a", [(b"x", b"permessage-deflate")]), (b"b", [])]),
    ("", []),
])
def test_extensions_are_read_with_their_parameters(value: str, offers: object) -> None:
    assert asked(**{"Sec-WebSocket-Extensions": value}).offers == offers


@pytest.mark.parametrize("value", ["a;", "a; =1", "a; x=", 'a; x="', 'a; x="1, b', 'a; x="a b"', 'a; x=""', "a b", "a; x=1=2", "a; x y", 'a; x="\\"', "(a)"])
def test_extensions_that_break_the_grammar_are_refused(value: str) -> None:
    error = refusal(**{"Sec-WebSocket-Extensions": value})
    assert error.status == 400 and "Extensions" in error.reason


def test_a_hostile_list_of_extensions_is_read_in_one_pass() -> None:
    assert refusal(**{"Sec-WebSocket-Extensions": "a" + "; x" * 10_000 + '; y="'}).status == 400
    assert len(asked(**{"Sec-WebSocket-Extensions": "a, " * 10_000}).offers) == 10_000


# -- answers


def accept(subprotocol: str | None = None, fields: list[Field] | None = None, extension: bytes = b"", offered: list[str] | None = None) -> bytes:
    return encode_accept(Handshake(KEY.encode(), offered or [], []), subprotocol, extension, fields or [], NONE)


def test_the_answer_is_the_one_of_the_rfc() -> None:
    wanted = base64.b64encode(hashlib.sha1((KEY + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
    assert wanted == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accept() == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: " + wanted + b"\r\n\r\n"
    )


def test_a_subprotocol_and_an_extension_are_named_and_the_apps_fields_sent_as_they_are() -> None:
    octets = accept("b", [(b"set-cookie", b"a=\xe9"), (b"x-a", b"1")], b"permessage-deflate", ["a", "b"])
    for line in (b"sec-websocket-protocol: b", b"sec-websocket-extensions: permessage-deflate", b"set-cookie: a=\xe9", b"x-a: 1"):
        assert octets.count(b"\r\n" + line + b"\r\n") == 1


def test_no_body_is_announced() -> None:
    octets = accept(fields=[(b"transfer-encoding", b"chunked")]).lower()
    assert b"content-length" not in octets and b"transfer-encoding" not in octets


def test_a_subprotocol_that_was_not_offered_is_not_answered() -> None:
    with pytest.raises(ResponseError, match="'c' was not offered.*a, b"):
        accept("c", offered=["a", "b"])
    with pytest.raises(ResponseError, match="offered none"):
        accept("c")


@pytest.mark.parametrize("field", [
    (b"Sec-WebSocket-Protocol", b"a"), (b"sec-websocket-accept", b"x"), (b"sec-websocket-extensions", b"x"), (b"upgrade", b"h2c"),
    (b"content-length", b"5"), (b"x", b"a\r\nb: c"), (b"x\r\n", b"a"), (b"x y", b"a"), ("x", b"a"), (b"x", "a"), (b"x",), 5,
])
def test_a_field_that_an_app_may_not_send_is_a_mistake(field: object) -> None:
    with pytest.raises(ResponseError):
        accept(fields=[field])  # type: ignore[list-item]
