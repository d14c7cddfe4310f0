"""The ASGI scope of a request, made of its head (ASGI HTTP spec 2.5, "HTTP Connection Scope").

Text where the spec says text: the path is percent-decoded and read as UTF-8, octets that are not UTF-8 become U+FFFD
(the path as it came is in `raw_path`). Everything else stays bytes as the client sent it.
"""

from typing import Any
from urllib.parse import unquote_to_bytes

from ..connection.exchange import Exchange
from ..connection.session import Session
from .extensions import OFFERED
from .forwarded import Forward
from .forwarded import Scope as Scope
from .tls import add_tls

# As a number: `b"%" in octets` first tries whether b"%" is one, and raises and catches an error inside, in each request.
_PERCENT = ord("%")


def http_scope(exchange: Exchange, root_path: str, state: dict[str, Any] | None, forward: Forward | None = None) -> Scope:
    """A fresh scope; `state` is the lifespan's, of which each request gets a copy of its own, or None.

    `forward` knows what proxies say.
    """
    connection = exchange.connection
    # Taken apart at once: a look at each by its name costs four times as much.
    method, raw_path, query, version, fields = exchange.head[:5]
    path = (unquote_to_bytes(raw_path) if _PERCENT in raw_path else raw_path).decode("utf-8", "replace")
    # RFC 9110 9.3.7: "*" is the server itself, which has no place below a prefix.
    if root_path and raw_path != b"*":
        path, raw_path = root_path + path, root_path.encode() + raw_path
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": version,
        "server": connection.server,
        "client": connection.client,
        "scheme": connection.scheme,
        "method": method,
        "root_path": root_path,
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": fields.copy(),
        "extensions": OFFERED[version].copy(),
    }
    if connection.is_secure:
        add_tls(scope["extensions"], connection)
    if state is not None:
        scope["state"] = state.copy()
    if forward is not None and exchange.head.is_forwarded:
        forward(scope, exchange)
    return scope


def websocket_scope(session: Session, root_path: str, state: dict[str, Any] | None, forward: Forward | None = None) -> Scope:
    """The scope of a WebSocket: that of its request, and what the client offers ("WebSocket Connection Scope")."""
    scope = http_scope(session, root_path, state, forward)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
    scope["subprotocols"] = session.handshake.subprotocols.copy()
    tls = {name: value for name, value in scope.get("extensions", {}).items() if name == "tls"}
    scope["extensions"] = {"websocket.http.response": {}, **tls}
    return scope
