"""Applications of older kinds, as they are and through asgiref's adapters and ours."""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.compatibility import guarantee_single_callable
from asgiref.sync import sync_to_async
from asgiref.wsgi import WsgiToAsgi
from penstock import WSGIMiddleware
from starlette.applications import Starlette
from starlette.routing import Mount

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Double:
    """An ASGI 2 application: called twice."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope

    async def __call__(self, receive: Callable[[], Awaitable[dict[str, Any]]], send: Send) -> None:
        if self.scope["type"] != "http":
            raise NotImplementedError
        text = await sync_to_async(lambda: self.scope["path"].encode())()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text})


single = guarantee_single_callable(Double)


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    where = f"{environ['REQUEST_METHOD']} {environ['SCRIPT_NAME']}:{environ['PATH_INFO']} "
    return [where.encode(), environ["wsgi.input"].read()]


wrapped = WsgiToAsgi(plain)
mounted = Starlette(routes=[Mount("/old", WSGIMiddleware(plain))])
