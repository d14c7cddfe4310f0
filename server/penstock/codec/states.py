"""The states of one exchange's two sides, and every move between them that there is.

The tables are what the diagram in docs/http.md is drawn from. Looking a move up would cost each request a
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
