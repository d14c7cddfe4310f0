from collections.abc import Iterable
from typing import Any

from support.client import ask, request

import penstock
from penstock.middleware.wsgi import WSGIMiddleware


def hello(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from ", environ["PATH_INFO"].encode()]


def test_a_wsgi_application_is_a_part_of_an_asgi_one() -> None:
    inner = WSGIMiddleware(hello)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await inner(scope, receive, send)

    with penstock.serve_in_thread(app, port=0) as server:
        answer = ask(("127.0.0.1", server.port), request("/there"))
        assert (answer.status, answer.body) == (200, b"hello from /there")
