"""The states of one exchange's two sides, and of a WebSocket, and every move between them that there is.

The tables are what the diagrams in docs/http.md and docs/websocket.md are drawn from. Looking a move up would cost each request a
microsecond, so the codec does not: the tests watch it, and a move that is not here fails them.
"""

from enum import Enum


class Request(Enum):
    """How far the request was read."""

    HEAD = "head"
    BODY = "body"
    COMPLETE = "complete"
    FAILED = "failed"


class Response(Enum):
    """How far the response was written."""

    NONE = "none"
    HELD = "held"
    BODY = "body"
    COMPLETE = "complete"


class HeadPart(Enum):
    """What has come of a head that is not whole."""

    NOTHING = "nothing"
    EMPTY_LINE = "empty line"
    REQUEST_LINE = "request line"


class Framing(Enum):
    """How the end of a response's body is told (RFC 9112 6.3)."""

    NO_BODY = "no body"
    LENGTH = "content-length"
    CHUNKS = "chunks"
    UNTIL_CLOSE = "until close"


REQUEST_MOVES = {
    Request.HEAD: {Request.BODY: "a head that announces a body", Request.COMPLETE: "any other head", Request.FAILED: "a fault"},
    Request.BODY: {Request.COMPLETE: "the body's end", Request.FAILED: "a fault"},
    Request.COMPLETE: {Request.HEAD: "the response is complete too, and nobody wants to close"},
    Request.FAILED: {},
}

RESPONSE_MOVES = {
    Response.NONE: {Response.HELD: "encode_head"},
    Response.HELD: {Response.BODY: "encode_body", Response.NONE: "drop_head, or a whole response at once"},
    Response.BODY: {Response.COMPLETE: "the last piece"},
    Response.COMPLETE: {Response.NONE: "the request is complete too, and nobody wants to close"},
}


class WebSocketState(Enum):
    """How far a WebSocket has got (RFC 6455 7.1)."""

    OPEN = "open"
    CLOSE_SENT = "close sent"
    CLOSE_RECEIVED = "close received"
    FAILED = "failed"
    CLOSED = "closed"


WEBSOCKET_MOVES = {
    WebSocketState.OPEN: {
        WebSocketState.CLOSE_SENT: "our Close",
        WebSocketState.CLOSE_RECEIVED: "the client's Close",
        WebSocketState.FAILED: "a fault of the client",
    },
    WebSocketState.CLOSE_SENT: {WebSocketState.CLOSED: "the client's Close, or a fault"},
    WebSocketState.CLOSE_RECEIVED: {WebSocketState.CLOSED: "our Close"},
    WebSocketState.FAILED: {WebSocketState.CLOSED: "our Close"},
    WebSocketState.CLOSED: {},
}
