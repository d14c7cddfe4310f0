import asyncio
import json
import re
from typing import Any

import pytest

from penstock.welcome import app
from support.asgi import ask, http_scope

EVIL = '<script>alert("1")</script>&{{server}}'


def test_the_page_shows_the_request_as_the_server_saw_it() -> None:
    answer = ask(app, "GET", "/?q=a%20b", headers=[(b"host", b"example.test"), (b"x-colour", b"green")])
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert "GET /?q=a%20b HTTP/1.1" in answer.text
    assert "<tr><th>x-colour</th><td>green</td></tr>" in answer.text
    assert "192.0.2.1:50000" in answer.text and "192.0.2.2:8000" in answer.text
    assert "{{" not in answer.text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = ask(app).text
    assert not re.findall(r"""(?:src|href|action)=["'](?!data:|/)|@import|url\(""", text)
    assert "default-src 'none'" in ask(app).headers["content-security-policy"]


@pytest.mark.parametrize("changes", [
    {"headers": [(EVIL.encode(), EVIL.encode())]},
    {"query_string": EVIL.encode()},
    {"raw_path": b"/" + EVIL.encode()},
    {"method": "GET", "http_version": EVIL},
    {"client": (EVIL, 1)},
])
def test_what_a_client_sends_stays_text(changes: dict[str, object]) -> None:
    text = ask(app, **changes).text  # type: ignore[arg-type]  # keywords of many kinds
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "{{server}}" in text


def test_addresses_that_are_not_known_are_said_to_be_so() -> None:
    text = ask(app, client=None, server=("/run/penstock.sock", None)).text
    assert "<td>not known</td>" in text and "<td>/run/penstock.sock</td>" in text
    assert "[::1]:5" in ask(app, client=("::1", 5)).text


def test_a_form_comes_back_in_the_page() -> None:
    answer = ask(app, "POST", "/echo", body=[b"text=caf", b"%C3%A9+", EVIL.replace("&", "%26").encode()])
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "and read: café &lt;script&gt;" in answer.text
    assert "<script>alert" not in answer.text


def test_a_script_gets_json() -> None:
    answer = ask(app, "POST", "/echo", body=b"text=hi", headers=[(b"accept", b"application/json")])
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == {"text": "hi", "answer": "The server got 7 bytes and read: hi"}


def test_a_form_without_the_field_is_an_empty_text() -> None:
    answer = ask(app, "POST", "/echo", body=b"\xff\x00", headers=[(b"accept", b"application/json")])
    assert json.loads(answer.body)["text"] == ""


def test_a_form_that_is_too_large_is_refused() -> None:
    assert ask(app, "POST", "/echo", body=[b"text=", b"x" * 70_000, b"more"]).status == 413


def test_the_clock_ticks_until_the_client_leaves() -> None:
    answer = ask(app, "GET", "/clock", leave_after=3)
    assert answer.headers["content-type"] == "text/event-stream"
    assert re.fullmatch(r"(data: \d\d:\d\d:\d\d\n\n){2}", answer.text)
    assert answer.messages[-1].get("more_body", False) is False


def test_the_clock_ends_quietly_when_sending_finds_the_client_gone() -> None:
    async def receive() -> dict[str, object]:
        await asyncio.Event().wait()
        return {}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    async def tick() -> set[asyncio.Task[object]]:
        await asyncio.wait_for(app(http_scope(path="/clock"), receive, send), 5)
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(tick()) == set()


def test_head_of_the_clock_ends_at_once() -> None:
    answer = ask(app, "HEAD", "/clock")
    assert (answer.status, answer.body) == (200, b"")


def test_a_path_that_is_not_there_is_404() -> None:
    assert ask(app, "GET", "/favicon.ico").status == 404


@pytest.mark.parametrize("method, path, allowed", [
    ("POST", "/", "GET, HEAD"), ("DELETE", "/clock", "GET, HEAD"), ("GET", "/echo", "POST"),
])
def test_a_wrong_method_is_405_and_names_the_right_ones(method: str, path: str, allowed: str) -> None:
    answer = ask(app, method, path)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


def test_behind_a_proxy_the_links_carry_the_prefix() -> None:
    answer = ask(app, "GET", "/tools/", root_path="/tools")
    assert answer.status == 200
    assert 'action="/tools/echo"' in answer.text


@pytest.mark.parametrize("age, shown", [(5, "5 s"), (65, "1 min 5 s"), (3660, "1 h 1 min")])
def test_the_page_says_how_long_the_server_is_up(age: int, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 1000.0 + age)
    from penstock.welcome import _page

    assert f"up for {shown}" in _page(http_scope(state={"started": 1000.0}))


def test_lifespan_leaves_the_start_time_in_the_state() -> None:
    scope = {"type": "lifespan", "state": {}}
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive() -> dict[str, object]:
        return dict(messages.pop(0))

    async def send(message: dict[str, object]) -> None:
        sent.append(message["type"])

    asyncio.run(app(scope, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "started" in scope["state"]


def test_what_it_does_not_know_it_refuses() -> None:
    with pytest.raises(ValueError, match="carrier pigeon"):
        ask(app, type="carrier pigeon")


def talk(path: str, *messages: dict[str, Any], root_path: str = "") -> list[dict[str, Any]]:
    """What the application says to a WebSocket that says these and leaves."""
    sent: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = [{"type": "websocket.connect"}, *messages, {"type": "websocket.disconnect", "code": 1000}]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        if message.get("text") == "The server heard 4 characters: gone":
            raise OSError
        sent.append(message)

    asyncio.run(app({"type": "websocket", "path": root_path + path, "root_path": root_path}, receive, send))
    return sent


def test_a_websocket_hears_back_what_it_says() -> None:
    said: list[dict[str, Any]] = [{"type": "websocket.receive", "text": "h\u00e9"}, {"type": "websocket.receive", "bytes": b"\0"}, {"type": "websocket.receive", "text": "gone"}]
    assert talk("/socket", *said, root_path="/under") == [
        {"type": "websocket.accept"}, {"type": "websocket.send", "text": "The server heard 2 characters: h\u00e9"},
        {"type": "websocket.send", "bytes": b"\0"},
    ]


def test_a_websocket_elsewhere_is_not_wanted() -> None:
    assert talk("/clock") == [{"type": "websocket.close"}]
