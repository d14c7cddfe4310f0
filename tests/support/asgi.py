"""An ASGI application called in this process, without a server: its messages in, its messages out.

    answer = ask(app, "POST", "/echo", body=b"text=hello")
    assert answer.status == 200

Every call runs on a loop of its own and is bounded: an application that never ends fails its test.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
App = Callable[[dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[Any]]

PATIENCE = 10.0


@dataclass
class Answer:
    """What an application answered, and every message of it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    messages: list[Message] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.body.decode()

    def add(self, message: Message) -> None:
        self.messages.append(message)
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode("latin-1") for name, value in message.get("headers", ())}
        else:
            self.body += message.get("body", b"")


def http_scope(method: str = "GET", path: str = "/", **changes: Any) -> dict[str, Any]:
    """The scope of a request, complete, with `changes` over it."""
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"example.test")],
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", 8000),
    }
    return {**scope, **changes}


def ask(
    app: App,
    method: str = "GET",
    path: str = "/",
    *,
    body: Iterable[bytes] | bytes = b"",
    leave_after: int | None = None,
    **changes: Any,
) -> Answer:
    """The answer to one request. The client leaves after `leave_after` messages, or when it has all of them."""
    parts = [body] if isinstance(body, bytes) else list(body)
    scope = http_scope(method, path, **changes)
    return asyncio.run(asyncio.wait_for(_exchange(app, scope, parts, leave_after), PATIENCE))


async def _exchange(app: App, scope: dict[str, Any], parts: list[bytes], leave_after: int | None) -> Answer:
    answer, left = Answer(), asyncio.Event()

    async def receive() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.add(message)
        if len(answer.messages) == leave_after or not message.get("more_body", message["type"].endswith("start")):
            left.set()

    await app(scope, receive, send)
    return answer
