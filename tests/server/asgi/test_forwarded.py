from types import SimpleNamespace
from typing import Any

import pytest

from penstock.asgi.forwarded import elements_of, forward_of, parse_host_port
from penstock.settings import Settings

PEER = ("127.0.0.1", 4000)


def seen(*fields: tuple[bytes, bytes], client: Any = PEER, kind: str = "http", path: str = "/p", **options: Any) -> Any:
    """The scope of a request with these fields, and the client that the log is told."""
    scope: dict[str, Any] = {
        "type": kind, "client": client, "server": ("10.0.0.9", 8000), "scheme": "http" if kind == "http" else "ws", "root_path": "",
        "path": path, "raw_path": path.encode(), "headers": [(b"host", b"inner:8000"), *fields],
    }  # fmt: skip
    exchange: Any = SimpleNamespace(forwarded_client=None)
    forward = forward_of(Settings(**options))
    assert forward is not None
    forward(scope, exchange)
    return SimpleNamespace(**scope, told=exchange.forwarded_client)


def xff(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"x-forwarded-for", value.encode("latin-1")) for value in values]


@pytest.mark.parametrize("trusted, values, client", [
    ("127.0.0.1", ["1.2.3.4"], ("1.2.3.4", 0)),
    ("127.0.0.1", ["1.2.3.4:5678"], ("1.2.3.4", 5678)),
    ("127.0.0.1", ["[2001:db8::1]:443"], ("2001:db8::1", 443)),
    ("127.0.0.1", ["2001:db8::1"], ("2001:db8::1", 0)),
    ("127.0.0.1", ["9.9.9.9, 1.2.3.4"], ("1.2.3.4", 0)),
    ("127.0.0.1,10.0.0.0/8", ["9.9.9.9, 1.2.3.4, 10.0.0.2"], ("1.2.3.4", 0)),
    ("127.0.0.1,10.0.0.0/8", ["9.9.9.9", "1.2.3.4", "10.0.0.2,10.0.0.3:99"], ("1.2.3.4", 0)),
    ("127.0.0.1,10.0.0.0/8", ["10.0.0.1, 10.0.0.2"], ("10.0.0.1", 0)),
    ("*", ["9.9.9.9, 1.2.3.4"], ("9.9.9.9", 0)),
    ("127.0.0.1", ["unknown"], ("unknown", 0)),
    ("127.0.0.1", [""], PEER),
    ("127.0.0.1", ["1.2.3.4,"], PEER),
    ("127.0.0.1,::1", ["::ffff:127.0.0.1, 1.2.3.4, ::1"], ("1.2.3.4", 0)),
    ("10.0.0.1", ["1.2.3.4"], PEER),
])
def test_the_client_is_the_first_from_the_right_that_is_not_trusted(trusted: str, values: list[str], client: Any) -> None:
    scope = seen(*xff(*values), forwarded_allow_ips=trusted)
    assert scope.client == client
    assert scope.told == (client if client is not PEER else None)


@pytest.mark.parametrize("kind, value, scheme", [
    ("http", b"https", "https"), ("http", b" https ", "https"), ("http", b"wss", "https"), ("http", b"gopher", "http"),
    ("http", b"https, http", "http"), ("websocket", b"https", "wss"), ("websocket", b"ws", "ws"), ("websocket", b"wss", "wss"),
])
def test_the_scheme_is_the_one_the_proxy_was_asked_by(kind: str, value: bytes, scheme: str) -> None:
    assert seen((b"x-forwarded-proto", value), kind=kind).scheme == scheme


def test_of_several_schemes_the_last_counts() -> None:
    assert seen((b"x-forwarded-proto", b"http"), (b"x-forwarded-proto", b"https")).scheme == "https"


def test_peers_by_a_unix_socket_are_believed_when_they_are_listed() -> None:
    assert seen(*xff("1.2.3.4"), client=None).client is None
    assert seen(*xff("1.2.3.4"), client=None, forwarded_allow_ips="unix").client == ("1.2.3.4", 0)


def test_an_ipv4_peer_on_an_ipv6_socket_is_believed() -> None:
    assert seen(*xff("1.2.3.4"), client=("::ffff:127.0.0.1", 1)).client == ("1.2.3.4", 0)


def test_a_request_without_such_fields_is_left_alone() -> None:
    scope = seen((b"accept", b"*/*"))
    assert (scope.client, scope.scheme, scope.told) == (PEER, "http", None)


def test_the_other_fields_count_only_when_they_are_chosen() -> None:
    fields = ((b"x-forwarded-host", b"evil"), (b"x-forwarded-port", b"1"), (b"x-forwarded-prefix", b"/e"), (b"forwarded", b"for=9.9.9.9"))
    scope = seen(*fields)
    assert (scope.client, scope.server, scope.path, scope.headers[0]) == (PEER, ("10.0.0.9", 8000), "/p", (b"host", b"inner:8000"))


@pytest.mark.parametrize("fields, host, server", [
    ({"host": b"example.com"}, b"example.com", ("example.com", 443)),
    ({"host": b"example.com:8443"}, b"example.com:8443", ("example.com", 8443)),
    ({"host": b"first, example.com"}, b"example.com", ("example.com", 443)),
    ({"host": b"example.com", "port": b"443"}, b"example.com", ("example.com", 443)),
    ({"host": b"example.com", "port": b"8443"}, b"example.com:8443", ("example.com", 8443)),
    ({"host": b"example.com:1", "port": b"8443"}, b"example.com:8443", ("example.com", 8443)),
    ({"host": b"[::1]:5", "port": b"8443"}, b"[::1]:8443", ("::1", 8443)),
    ({"port": b"8443"}, b"inner:8443", ("inner", 8443)),
    ({"host": b"[2001:db8::1]"}, b"[2001:db8::1]", ("2001:db8::1", 443)),
    ({"host": b"a b"}, b"inner:8000", ("10.0.0.9", 8000)),
    ({"host": b"a/b"}, b"inner:8000", ("10.0.0.9", 8000)),
    ({"host": b"caf\xe9"}, b"inner:8000", ("10.0.0.9", 8000)),
    ({"host": b""}, b"inner:8000", ("10.0.0.9", 8000)),
    ({"host": b"example.com", "port": b"99999"}, b"example.com", ("example.com", 443)),
    ({"port": b"99999"}, b"inner:8000", ("10.0.0.9", 8000)),
    ({"port": b"0"}, b"inner:8000", ("10.0.0.9", 8000)),
    ({"port": b"abc"}, b"inner:8000", ("10.0.0.9", 8000)),
])
def test_host_and_port_are_those_the_client_called(fields: dict[str, bytes], host: bytes, server: Any) -> None:
    given = [(f"x-forwarded-{name}".encode(), value) for name, value in fields.items()]
    scope = seen(*given, (b"x-forwarded-proto", b"https"), forwarded_headers="host,port")
    assert [value for name, value in scope.headers if name == b"host"] == [host]
    assert scope.server == server


@pytest.mark.parametrize("value, prefix", [
    (b"/api", "/api"), (b"/api/v1/", "/api/v1"), (b"/", ""), (b"api", ""), (b"//evil", ""), (b"/a//b", ""), (b"/a/../b", ""),
    (b"/..", ""), (b"/.well-known", "/.well-known"), (b"/a%2e", ""), (b"/a?b", ""), (b"/a\\b", ""),
])
def test_a_prefix_stands_before_the_path_unless_it_could_lead_elsewhere(value: bytes, prefix: str) -> None:
    scope = seen((b"x-forwarded-prefix", value), forwarded_headers="prefix")
    assert (scope.root_path, scope.path, scope.raw_path) == (prefix, prefix + "/p", prefix.encode() + b"/p")


def test_no_prefix_stands_before_the_server_itself() -> None:
    scope = seen((b"x-forwarded-prefix", b"/api"), path="*", forwarded_headers="prefix")
    assert (scope.root_path, scope.path, scope.raw_path) == ("/api", "*", b"*")


FORWARDED = {"forwarded_headers": "rfc7239", "forwarded_allow_ips": "127.0.0.1,10.0.0.0/8"}


@pytest.mark.parametrize("lines, client, scheme, host", [
    ([b"for=192.0.2.60;proto=https;by=203.0.113.43"], ("192.0.2.60", 0), "https", b"inner:8000"),
    ([b'For="[2001:db8:cafe::17]:4711"'], ("2001:db8:cafe::17", 4711), "http", b"inner:8000"),
    ([b'for="1.2.3.4:80";host="example.com:8080"'], ("1.2.3.4", 80), "http", b"example.com:8080"),
    ([b"for=9.9.9.9;proto=gopher, for=1.2.3.4;proto=https, for=10.0.0.2;proto=http"], ("1.2.3.4", 0), "https", b"inner:8000"),
    ([b"for=9.9.9.9", b"for=1.2.3.4 ; proto=HTTPS , for=10.0.0.2"], ("1.2.3.4", 0), "https", b"inner:8000"),
    ([b"for=_hidden"], ("_hidden", 0), "http", b"inner:8000"),
    ([b"for=unknown"], ("unknown", 0), "http", b"inner:8000"),
    ([b'for="_a\\"b"'], ('_a"b', 0), "http", b"inner:8000"),
    ([b"for=10.0.0.1, for=10.0.0.2"], ("10.0.0.1", 0), "http", b"inner:8000"),
    ([b"proto=https"], PEER, "https", b"inner:8000"),
    ([b'for="9.9.9.9, for=1.2.3.4'], PEER, "http", b"inner:8000"),
    ([b'for="9.9.9.9', b"for=10.0.0.2;proto=https"], ("10.0.0.2", 0), "https", b"inner:8000"),
    ([b"for=1.2.3.4:80"], PEER, "http", b"inner:8000"),
    ([b"for=1.2.3.4;for=5.6.7.8"], PEER, "http", b"inner:8000"),
    ([b",;, for=1.2.3.4;,"], ("1.2.3.4", 0), "http", b"inner:8000"),
    ([b""], PEER, "http", b"inner:8000"),
    ([b"nonsense"], PEER, "http", b"inner:8000"),
])
def test_forwarded_is_read_as_rfc_7239_has_it(lines: list[bytes], client: Any, scheme: str, host: bytes) -> None:
    scope = seen(*[(b"forwarded", line) for line in lines], *xff("6.6.6.6"), **FORWARDED)
    assert (scope.client, scope.scheme, scope.headers[0]) == (client, scheme, (b"host", host))


def test_an_empty_host_says_nothing_of_the_server() -> None:
    assert seen((b"forwarded", b'for=1.2.3.4;host=""'), **FORWARDED).server == ("10.0.0.9", 8000)


def test_elements_are_taken_apart_to_the_last() -> None:
    assert list(elements_of(b'a=b;C="d;e,f" , , g=h;')) == [{"a": "b", "c": "d;e,f"}, {"g": "h"}]
    assert list(elements_of(b"a=b, c")) == [{"a": "b"}, {}]


def test_a_forged_field_of_a_stranger_is_ignored_or_dropped() -> None:
    fields = (*xff("1.2.3.4"), (b"forwarded", b"for=1.2.3.4"), (b"x-forwarded-host", b"evil"), (b"accept", b"*/*"))
    stranger = ("203.0.113.5", 1)
    assert seen(*fields, client=stranger).client == stranger
    dropped = seen(*fields, client=stranger, drop_untrusted_forwarded=True)
    assert dropped.client == stranger and dropped.headers == [(b"host", b"inner:8000"), (b"accept", b"*/*")]
    assert len(seen(*fields, drop_untrusted_forwarded=True).headers) == 5


def test_nobody_is_asked_when_nobody_is_believed() -> None:
    assert forward_of(Settings(proxy_headers=False)) is None
    assert forward_of(Settings(forwarded_allow_ips="")) is None
    assert forward_of(Settings(proxy_headers=False, forwarded_headers="host")) is not None


@pytest.mark.parametrize("text, parsed", [
    ("1.2.3.4", ("1.2.3.4", 0)), ("1.2.3.4:0", ("1.2.3.4", 0)), ("1.2.3.4:99999", ("1.2.3.4", 0)), ("1.2.3.4:x", ("1.2.3.4:x", 0)),
    ("[::1]", ("::1", 0)), ("[::1]:x", ("::1", 0)), ("[::1]x", ("[::1]x", 0)), ("[::1", ("[::1", 0)), ("::1", ("::1", 0)), ("", ("", 0)),
    (":80", ("", 80)),
])
def test_an_address_and_its_port(text: str, parsed: tuple[str, int]) -> None:
    assert parse_host_port(text) == parsed
