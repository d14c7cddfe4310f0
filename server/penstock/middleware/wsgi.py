"""`penstock.middleware.wsgi`: a WSGI application as a part of an ASGI one, such as a mount of Starlette's."""

from collections.abc import Callable, Iterable
from typing import Any

from ..asgi.scope import Scope
from ..asgi.wsgi import Wsgi


class WSGIMiddleware:
    """Runs `app` (PEP 3333) in at most `workers` threads at once."""

    def __init__(self, app: Callable[..., Iterable[bytes]], workers: int = 10) -> None:
        self._app = Wsgi(app, workers)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
