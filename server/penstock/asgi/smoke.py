"""Requests on trial: the application is asked for some paths before it is let at real clients (`--smoke`).

Its ASGI call is made as for any request, but there is no connection: the request has no body, and of the response
only the status is looked at. Below 500 is well, for the application lives and decides; all else, a response that is
not complete, and one that takes too long mean that this code is not to be served.
"""

import asyncio
from typing import Any
from urllib.parse import unquote

from ..settings import Settings
from .http import Application
from .messages import Message
from .stack import user_traceback, waiting_at

_LAST_TURN = 1.0
"""Seconds a cancelled app gets to clean up."""


class SmokeFailed(Exception):
    """The application did not stand its trial; the text is what the user is to read."""


async def smoke(app: Application, settings: Settings, state: dict[str, Any] | None) -> None:
    """Ask for each path of `settings.smoke`, one after the other, each for at most `timeout_startup`. Raises SmokeFailed."""
    for target in settings.smoke:
        task = asyncio.ensure_future(_ask(app, target, settings.root_path, state))
        try:
            await asyncio.wait([task], timeout=settings.timeout_startup)
            trouble = _judge(task)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=_LAST_TURN)
            if task.done() and not task.cancelled():
                # Looked at, whether anybody still wants to know or not: asyncio complains otherwise.
                task.exception()
        if trouble:
            raise SmokeFailed(f"The request on trial for {target} (--smoke) {trouble}")


def _judge(task: "asyncio.Task[int]") -> str:
    """What is wrong with the response; empty when nothing is."""
    if not task.done():
        return f"was not answered in time (--timeout-startup). It waits here:\n{waiting_at(task)}"
    error = None if task.cancelled() else task.exception()
    if task.cancelled() or error is not None:
        return "failed." if error is None else f"failed.\n{user_traceback(error)}"
    status = task.result()
    return f"was answered with {status}." if status >= 500 else "" if status else "was not answered."


async def _ask(app: Application, target: str, root_path: str, state: dict[str, Any] | None) -> int:
    """The status of a complete response; 0 when there was none."""
    path, _, query = target.partition("?")
    status, over = 0, asyncio.Event()
    body: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if body:
            return body.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            over.set()

    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.5"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "root_path": root_path, "path": root_path + unquote(path),
        "raw_path": (root_path + path).encode(), "query_string": query.encode(), "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 80), "headers": [(b"host", b"localhost"), (b"user-agent", b"penstock")],
    }  # fmt: skip
    if state is not None:
        scope["state"] = state.copy()
    await app(scope, receive, send)
    return status if over.is_set() else 0
