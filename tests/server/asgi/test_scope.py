from collections.abc import Callable, Iterator
from typing import Any

import pytest
from penstock_reactor import EventLoop
from support.client import request
from support.wire import Wire

from penstock.asgi.scope import http_scope
from penstock.connection.exchange import Exchange

Scope = dict[str, Any]


@pytest.fixture
def scope_of() -> Iterator[Callable[..., Scope]]:
    """The scope of a request, given as octets."""
    loop = EventLoop()
    wires: list[Wire] = []

    def make(octets: bytes, root_path: str = "", state: dict[str, Any] | None = None) -> Scope:
        found: list[Scope] = []

        async def keep(exchange: Exchange) -> None:
            found.append(http_scope(exchange, root_path, state))
            exchange.start(200, [])
            exchange.write(b"", True)

        wires.append(Wire(loop, keep))
        wires[-1].say(octets)
        return found[0]

    yield make
    for wire in wires:
        wire.close()
    loop.close()


def test_every_key_of_the_specification_is_there(scope_of: Callable[..., Scope]) -> None:
    scope = scope_of(b"GET /a%20b?x=%20 HTTP/1.1\r\nHost: Test\r\nX-Two: 1\r\nx-two: 2\r\n\r\n")
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "server": ("192.0.2.2", 80),
        "client": ("192.0.2.1", 5000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "query_string": b"x=%20",
        "headers": [(b"host", b"Test"), (b"x-two", b"1"), (b"x-two", b"2")],
        "extensions": {name: {} for name in (
            "http.response.trailers", "http.response.early_hint", "http.response.pathsend", "http.response.zerocopysend",
        )},
    }
    assert type(scope) is dict and type(scope["client"][1]) is int


@pytest.mark.parametrize("target, path", [
    ("/", "/"), ("/%E2%82%AC", "/€"), ("/%ff", "/\ufffd"), ("/%2F%2e", "//."), ("/%", "/%"), ("/%zz", "/%zz"), ("//double", "//double"),
])
def test_the_path_is_decoded_and_the_raw_one_kept(scope_of: Callable[..., Scope], target: str, path: str) -> None:
    scope = scope_of(request(target))
    assert (scope["path"], scope["raw_path"]) == (path, target.encode())


def test_an_old_client_has_its_version_with_a_point(scope_of: Callable[..., Scope]) -> None:
    assert scope_of(request(version="1.0"))["http_version"] == "1.0"
    assert scope_of(request(version="1.2"))["http_version"] == "1.1"


def test_an_old_client_is_offered_only_what_can_reach_it(scope_of: Callable[..., Scope]) -> None:
    assert set(scope_of(request(version="1.0"))["extensions"]) == {"http.response.pathsend", "http.response.zerocopysend"}


def test_what_an_app_makes_of_its_scope_is_not_in_the_next_one(scope_of: Callable[..., Scope]) -> None:
    scope = scope_of(request())
    scope["extensions"]["mine"] = {}
    scope["headers"].clear()
    scope["asgi"]["mine"] = True
    scope.clear()
    fresh = scope_of(request())
    assert "mine" not in fresh["extensions"] and fresh["headers"] and "mine" not in fresh["asgi"]


def test_the_root_path_stands_before_the_path(scope_of: Callable[..., Scope]) -> None:
    scope = scope_of(request("/x"), root_path="/api")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/x", b"/api/x")


def test_the_server_itself_stands_below_no_root_path(scope_of: Callable[..., Scope]) -> None:
    scope = scope_of(request("*", "OPTIONS"), root_path="/api")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "*", b"*")


def test_each_request_has_a_copy_of_the_lifespans_state(scope_of: Callable[..., Scope]) -> None:
    state: dict[str, Any] = {"pool": object()}
    first, second = scope_of(request(), state=state), scope_of(request(), state=state)
    assert first["state"] == state and first["state"]["pool"] is state["pool"]
    first["state"]["mine"] = 1
    assert "mine" not in second["state"] and "mine" not in state
    assert "state" not in scope_of(request())


def test_a_target_with_its_authority_moves_it_to_the_host(scope_of: Callable[..., Scope]) -> None:
    scope = scope_of(b"GET http://other:81/p?q HTTP/1.1\r\nHost: test\r\n\r\n")
    assert (scope["path"], scope["query_string"], scope["headers"]) == ("/p", b"q", [(b"host", b"other:81")])


def test_scopes_share_nothing_an_app_may_change(scope_of: Callable[..., Scope]) -> None:
    first, second = scope_of(request()), scope_of(request())
    first["headers"].append((b"x", b"y"))
    first["asgi"]["version"] = "9"
    assert second["headers"] == [(b"host", b"test")] and second["asgi"]["version"] == "3.0"
