"""The welcome application, `penstock.welcome:app`: shows a person that the server works.

Plain ASGI, no dependency: the page (its text is `welcome.html`) shows the request as the server saw it,
`/clock` is a stream of Server-Sent Events, `/echo` takes a form and answers as a page or, to a script, as
JSON, `/socket` is a WebSocket that says everything back. Everything that came from a client is escaped on its way into the page.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from html import escape
from pkgutil import get_data
from typing import Any
from urllib.parse import parse_qs

from . import __version__

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_MOST_BYTES = 65536  # of a form

_HTML = b"text/html; charset=utf-8"
_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"

# The page may use what is in it and talk to its own server, nothing else.
_POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:;"
    b" connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application."""
    if scope["type"] == "lifespan":
        await _live(scope, receive, send)
    elif scope["type"] == "http":
        await _answer(scope, receive, send)
    elif scope["type"] == "websocket":
        await _talk(scope, receive, send)
    else:
        raise ValueError(f"the welcome application knows nothing of {scope['type']}")


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    if "state" in scope:
        scope["state"]["started"] = time.monotonic()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    method, path = scope["method"], scope["path"].removeprefix(scope.get("root_path", ""))
    methods = {"/": ("GET", "HEAD"), "/clock": ("GET", "HEAD"), "/echo": ("POST",)}.get(path)
    if methods is None:
        await _send(send, 404, _TEXT, "There is nothing here. The page is at /.\n")
    elif method not in methods:
        allow = (b"allow", ", ".join(methods).encode())
        await _send(send, 405, _TEXT, f"Only {' and '.join(methods)} here.\n", allow)
    elif path == "/":
        await _send(send, 200, _HTML, _page(scope), (b"content-security-policy", _POLICY))
    elif path == "/clock":
        await _tick(method, receive, send)
    else:
        await _echo(scope, receive, send)


async def _tick(method: str, receive: Receive, send: Send) -> None:
    """The time, once a second, until the client or the server goes."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if method == "HEAD":
        await send({"type": "http.response.body"})
        return
    gone = asyncio.ensure_future(_wait_gone(receive))
    try:
        while not gone.done():
            event = f"data: {_now()}\n\n".encode()
            await send({"type": "http.response.body", "body": event, "more_body": True})
            # Just behind the next full second, so that none is skipped.
            await asyncio.wait((gone,), timeout=1.001 - time.time() % 1)
        await send({"type": "http.response.body"})
    except OSError:
        pass  # the client left between two ticks
    finally:
        gone.cancel()


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _talk(scope: Scope, receive: Receive, send: Send) -> None:
    """What a WebSocket says comes back: text with how much it was, octets as they are."""
    await receive()
    if scope["path"].removeprefix(scope.get("root_path", "")) != "/socket":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    try:
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            answer = {"bytes": message.get("bytes")} if text is None else {"text": f"The server heard {len(text)} characters: {text}"}
            await send({"type": "websocket.send", **answer})
    except OSError:
        pass  # the client left under the answer


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    wants_json = any(name == b"accept" and _JSON in value for name, value in scope["headers"])
    body = await _read(receive)
    if body is None:
        status, text, answer = 413, "", f"That is too much: at most {_MOST_BYTES} bytes, please."
    else:
        text = parse_qs(body.decode("utf-8", "replace")).get("text", [""])[0]
        status, answer = 200, f"The server got {len(body)} bytes and read: {text}"
    if wants_json:
        await _send(send, status, _JSON, json.dumps({"text": text, "answer": answer}))
    else:
        page = _page(scope, text, answer)
        await _send(send, status, _HTML, page, (b"content-security-policy", _POLICY))


async def _read(receive: Receive) -> bytes | None:
    """The body; None when it is too large or never came whole."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if message["type"] == "http.disconnect" or len(body) > _MOST_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _page(scope: Scope, text: str = "Hello, penstock", answer: str = "") -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    target = scope.get("raw_path", scope["path"].encode()).decode("latin-1") + ("?" + query if query else "")
    facts = [("client", _address(scope.get("client"))), ("server", _address(scope.get("server")))]
    facts += [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    places = {
        "server": _describe_server(scope),
        "now": _now(),
        "request": f"{scope['method']} {target} HTTP/{scope['http_version']}",
        "root": scope.get("root_path", ""),
        "text": text,
        "answer": answer,
        # A checkout is run by its module, for there is no command without an installation.
        "command": "penstock" if os.path.basename(sys.argv[0]).startswith("penstock") else "python -m penstock",
    }
    page = (get_data(__package__, "welcome.html") or b"").decode()
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts)
    # In one pass, or text from a client could name a place itself.
    pieces = page.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled.append((rows if name == "rows" else escape(places[name])) + rest)
    return "".join(filled)


def _describe_server(scope: Scope) -> str:
    python = ".".join(map(str, sys.version_info[:3]))
    text = f"penstock {__version__} on Python {python}, {sys.platform}"
    started = scope.get("state", {}).get("started")
    return text if started is None else f"{text}, up for {_duration(time.monotonic() - started)}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _address(pair: Any) -> str:
    if not pair:
        return "not known"
    host, port = pair
    return host if port is None else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _now() -> str:
    # Without the second argument strftime takes a coarser clock, which may still be in the last second.
    return time.strftime("%H:%M:%S", time.localtime(time.time()))


async def _send(send: Send, status: int, kind: bytes, text: str, *more: tuple[bytes, bytes]) -> None:
    body = text.encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
