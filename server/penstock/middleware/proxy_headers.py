"""X-Forwarded-For and -Proto for one application of several: what `--proxy-headers` does for the whole server."""

from typing import Any

from ..asgi.forwarded import FOR, PROTO, Reader
from ..connection.trust import Trust


class ProxyHeadersMiddleware:
    """Believes the peers in `trusted_hosts`, a list or a text with commas."""

    def __init__(self, app: Any, trusted_hosts: list[str] | str = "127.0.0.1") -> None:
        self.app = app
        self._trust = Trust(trusted_hosts if isinstance(trusted_hosts, str) else ",".join(trusted_hosts))
        self._reader = Reader(self._trust, {FOR, PROTO})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            client = scope.get("client")
            if (client[0] if client else None) in self._trust:
                scope.setdefault("client", None)
                self._reader.read(scope)
        await self.app(scope, receive, send)
